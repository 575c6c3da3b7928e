//! UDP. Datagrams that are equally long and go to the same address leave in one call of the system where it takes them apart
//! (Linux: UDP GSO): a call costs more than a datagram.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::net::UdpSocket;

use crate::net::receive_time;

/// The most datagrams that leave in one call; older systems take no more (`UDP_MAX_SEGMENTS`).
const MAX_SEGMENTS: usize = 64;
/// The most bytes that leave in one call; with their headers they have room in one IP packet.
const MAX_BATCH_BYTES: usize = 65_000;
/// The longest datagram that is looked at; WebRTC's are shorter than an Ethernet frame.
pub(crate) const MAX_DATAGRAM_BYTES: usize = 2048;
/// Errors of a socket without a pause between them, after which it is read no more: it would keep the thread busy. It is
/// opened again when the interfaces are read next.
const MAX_ERRORS: usize = 64;

/// A datagram that has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) source: SocketAddr,
    /// The address of the socket that it came to.
    pub(crate) destination: SocketAddr,
    /// When the system received it, where the system says so; else when it was read.
    pub(crate) arrived_at: Instant,
    pub(crate) bytes: Vec<u8>,
}

/// Sockets that are served together.
pub(crate) struct Udp {
    sockets: Vec<Socket>,
    /// The index of the socket that is read next.
    next: usize,
    /// How many datagrams may leave in one call.
    max_segments: usize,
    batch: Batch,
    buffer: Box<[u8; MAX_DATAGRAM_BYTES]>,
}

struct Socket {
    /// The address that it is bound to.
    address: SocketAddr,
    inner: UdpSocket,
    /// Errors since it last had a datagram, or had none.
    errors: usize,
}

/// What leaves next: datagrams to one address, all equally long, but the last may be shorter.
struct Batch {
    /// The index of the socket.
    socket: usize,
    destination: SocketAddr,
    length: usize,
    bytes: Vec<u8>,
}

impl Udp {
    pub(crate) fn new(sockets: Vec<(SocketAddr, UdpSocket)>) -> Self {
        let nowhere = SocketAddr::from(([0; 4], 0));
        let mut udp = Self {
            sockets: Vec::new(),
            next: 0,
            max_segments: MAX_SEGMENTS,
            batch: Batch { socket: 0, destination: nowhere, length: 0, bytes: Vec::new() },
            buffer: Box::new([0; MAX_DATAGRAM_BYTES]),
        };
        for (address, socket) in sockets {
            udp.add(address, socket);
        }
        udp
    }

    /// Sends a datagram from the socket of that address, at the latest with the next [`flush`](Self::flush).
    pub(crate) fn send(&mut self, source: SocketAddr, destination: SocketAddr, datagram: &[u8]) {
        let Some(socket) = self.sockets.iter().position(|socket| socket.address == source) else { return };
        if !self.batch.takes(socket, destination, datagram, self.max_segments) {
            self.flush();
            (self.batch.socket, self.batch.destination, self.batch.length) = (socket, destination, datagram.len());
        }
        self.batch.bytes.extend_from_slice(datagram);
    }

    /// Sends what has not left yet at once or not at all: what does not fit into the system's queue is lost, as it may be
    /// on any network.
    pub(crate) fn flush(&mut self) {
        let Batch { socket, destination, length, bytes } = &mut self.batch;
        if bytes.is_empty() {
            return;
        }
        let Socket { inner: socket, .. } = &self.sockets[*socket];
        let one_by_one = bytes.len() == *length
            || offload::send(socket, *destination, bytes, *length)
                // They may still leave so: some drivers cannot take them apart, or they are too long for the way.
                .is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock);
        if one_by_one {
            for datagram in bytes.chunks(*length) {
                // Nobody can be told; what gets lost is asked for again.
                let _ = socket.try_send_to(datagram, *destination);
            }
        }
        bytes.clear();
    }

    /// Adds a socket with the address that it is bound to.
    pub(crate) fn add(&mut self, address: SocketAddr, socket: UdpSocket) {
        if !offload::is_known(&socket) {
            self.max_segments = 1;
        }
        receive_time::enable(&socket);
        self.sockets.push(Socket { address, inner: socket, errors: 0 });
    }

    /// Closes all sockets but those that are kept and work.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(SocketAddr) -> bool) {
        // What waits names its socket by index.
        self.flush();
        self.sockets.retain(|socket| socket.errors < MAX_ERRORS && is_kept(socket.address));
        self.next = 0;
    }

    /// The addresses of the sockets.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().map(|socket| socket.address)
    }

    /// Ready once a socket may have a datagram.
    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut working = self.sockets.iter().filter(|socket| socket.errors < MAX_ERRORS);
        if working.any(|socket| socket.inner.poll_recv_ready(context).is_ready()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// A datagram that has come already. The sockets take turns, so that none has to wait until another one is empty.
    pub(crate) fn receive(&mut self) -> Option<Datagram> {
        self.receive_by(receive_time::receive)
    }

    fn receive_by(
        &mut self,
        receive: impl Fn(&UdpSocket, &mut [u8]) -> io::Result<(usize, SocketAddr, Instant)>,
    ) -> Option<Datagram> {
        for _ in 0..self.sockets.len() {
            let index = self.next;
            self.next = (index + 1) % self.sockets.len();
            let Socket { address, inner, errors } = &mut self.sockets[index];
            if *errors >= MAX_ERRORS {
                continue;
            }
            match receive(inner, &mut *self.buffer) {
                Ok((length, source, arrived_at)) => {
                    *errors = 0;
                    let bytes = self.buffer[..length].to_vec();
                    return Some(Datagram { source, destination: *address, arrived_at, bytes });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => *errors = 0,
                // Usually about an earlier datagram (RFC 1122, section 4.1.3.3), and not about this socket.
                Err(_) => *errors += 1,
            }
        }
        None
    }
}

impl Batch {
    /// Whether a datagram can leave together with those that are in it.
    fn takes(&self, socket: usize, destination: SocketAddr, datagram: &[u8], max_segments: usize) -> bool {
        !self.bytes.is_empty()
            && (self.socket, self.destination) == (socket, destination)
            // A shorter one ends it.
            && self.bytes.len().is_multiple_of(self.length)
            && (1..=self.length).contains(&datagram.len())
            && self.bytes.len() / self.length < max_segments
            && self.bytes.len() + datagram.len() <= MAX_BATCH_BYTES
    }
}

#[cfg(target_os = "linux")]
mod offload {
    use std::io::{self, IoSlice};
    use std::net::SocketAddr;
    use std::os::fd::AsRawFd as _;

    use nix::sys::socket::sockopt::UdpGsoSegment;
    use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, getsockopt, sendmsg};
    use tokio::io::Interest;
    use tokio::net::UdpSocket;

    /// Linux before 4.18 does not know it, and would send all as one datagram.
    pub(crate) fn is_known(socket: &UdpSocket) -> bool {
        getsockopt(socket, UdpGsoSegment).is_ok()
    }

    /// Sends datagrams of that length, of which the last may be shorter.
    pub(crate) fn send(socket: &UdpSocket, to: SocketAddr, bytes: &[u8], length: usize) -> io::Result<()> {
        let length = u16::try_from(length).map_err(io::Error::other)?;
        let (parts, address) = ([IoSlice::new(bytes)], SockaddrStorage::from(to));
        let control = [ControlMessage::UdpGsoSegments(&length)];
        socket.try_io(Interest::WRITABLE, || {
            sendmsg(socket.as_raw_fd(), &parts, &control, MsgFlags::empty(), Some(&address))?;
            Ok(())
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod offload {
    use std::io;
    use std::net::SocketAddr;

    use tokio::net::UdpSocket;

    pub(crate) fn is_known(_: &UdpSocket) -> bool {
        false
    }

    pub(crate) fn send(_: &UdpSocket, _: SocketAddr, _: &[u8], _: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::future::poll_fn;
    use std::iter;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use socket2::SockRef;
    use tokio::runtime::{Builder, Runtime};
    use tokio::time::timeout;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(10);
    const ROOM_BYTES: usize = 1024 * 1024;
    const READ_DELAY: Duration = Duration::from_millis(100);
    const MAX_UNTIMED: usize = 50;
    const CLOCK_TOLERANCE: Duration = Duration::from_millis(20);

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    async fn sockets(count: usize) -> (Udp, Vec<SocketAddr>) {
        let mut sockets = Vec::new();
        for _ in 0..count {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            // Some systems have room for less than a test sends.
            let _ = SockRef::from(&socket).set_recv_buffer_size(ROOM_BYTES);
            // Before that nothing is sent.
            socket.writable().await.unwrap();
            sockets.push((socket.local_addr().unwrap(), socket));
        }
        let addresses = sockets.iter().map(|(address, _)| *address).collect();
        (Udp::new(sockets), addresses)
    }

    /// Can be told from others, and is as long as wanted.
    fn datagram(index: usize, length: usize) -> Vec<u8> {
        index.to_le_bytes().into_iter().cycle().take(length).collect()
    }

    async fn receive(udp: &mut Udp, count: usize) -> Vec<Datagram> {
        let mut received = Vec::new();
        while received.len() < count {
            let next = timeout(LONGEST, poll_fn(|context| udp.poll_readable(context))).await;
            next.unwrap_or_else(|_| panic!("{} of {count} have come", received.len()));
            received.extend(iter::from_fn(|| udp.receive()));
        }
        received
    }

    /// What goes from one address to another, in that order.
    type CandidateFilter = HashMap<(SocketAddr, SocketAddr), Vec<Vec<u8>>>;

    fn note(candidate_filter: &mut CandidateFilter, Datagram { source, destination, bytes, .. }: Datagram) {
        candidate_filter.entry((source, destination)).or_default().push(bytes);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn datagrams_arrive_as_they_were_sent(
            all in vec((0..2_usize, 0..2_usize, prop_oneof![Just(1000_usize), 8..1500_usize]), 1..40),
        ) {
            runtime().block_on(async {
                let (mut here, sources) = sockets(2).await;
                let (mut there, destinations) = sockets(2).await;
                let (mut sent, mut arrived) = (CandidateFilter::new(), CandidateFilter::new());
                for (index, &(source, destination, length)) in all.iter().enumerate() {
                    let (source, destination, bytes) = (sources[source], destinations[destination], datagram(index, length));
                    here.send(source, destination, &bytes);
                    sent.entry((source, destination)).or_default().push(bytes);
                }
                here.flush();
                for datagram in receive(&mut there, all.len()).await {
                    note(&mut arrived, datagram);
                }
                assert_eq!(arrived, sent);
                assert_eq!(there.receive(), None);
            });
        }
    }

    #[test]
    fn what_is_equally_long_leaves_together_and_a_shorter_one_ends_it() {
        runtime().block_on(async {
            let (mut here, sources) = sockets(1).await;
            let (mut there, destinations) = sockets(2).await;
            here.max_segments = MAX_SEGMENTS;
            let mut waiting_bytes = |to: usize, length: usize| {
                here.send(sources[0], destinations[to], &datagram(0, length));
                here.batch.bytes.len()
            };
            assert_eq!(waiting_bytes(0, 900), 900);
            assert_eq!(waiting_bytes(0, 900), 1800);
            assert_eq!(waiting_bytes(0, 500), 2300);
            assert_eq!(waiting_bytes(0, 500), 500, "after a shorter one");
            assert_eq!(waiting_bytes(0, 900), 900, "a longer one");
            assert_eq!(waiting_bytes(1, 900), 900, "to somebody else");
            here.flush();
            assert_eq!(receive(&mut there, 6).await.iter().map(|datagram| datagram.bytes.len()).sum::<usize>(), 4600);
        });
    }

    /// Sends so many, and sees them arrive; how many of them were still waiting at last.
    async fn send_all((count, length): (usize, usize), max_segments: usize) -> usize {
        let (mut here, sources) = sockets(1).await;
        let (mut there, destinations) = sockets(1).await;
        here.max_segments = max_segments;
        let sent: Vec<_> = (0..count).map(|index| datagram(index, length)).collect();
        for datagram in &sent {
            here.send(sources[0], destinations[0], datagram);
        }
        let waiting = here.batch.bytes.len() / length;
        here.flush();
        let arrived: Vec<_> = receive(&mut there, count).await.into_iter().map(|datagram| datagram.bytes).collect();
        assert_eq!(arrived, sent);
        waiting
    }

    #[test]
    fn no_more_leave_together_than_the_system_takes() {
        runtime().block_on(async {
            assert_eq!(send_all((80, 20), MAX_SEGMENTS).await, 80 - MAX_SEGMENTS);
            assert_eq!(send_all((50, 1400), MAX_SEGMENTS).await, 50 - MAX_BATCH_BYTES / 1400);
        });
    }

    #[test]
    fn what_the_system_does_not_take_apart_leaves_one_by_one() {
        // More than any Linux takes.
        assert_eq!(runtime().block_on(send_all((150, 20), usize::MAX)), 150);
    }

    #[test]
    fn an_empty_datagram_is_nothing() {
        runtime().block_on(async {
            let (mut here, sources) = sockets(1).await;
            let (mut there, destinations) = sockets(1).await;
            for length in [8, 0, 8] {
                here.send(sources[0], destinations[0], &datagram(0, length));
            }
            here.flush();
            let arrived = receive(&mut there, 2).await;
            assert!(arrived.iter().all(|arrived| arrived.bytes == datagram(0, 8)));
        });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_datagram_that_is_read_late_has_the_time_at_which_it_was_received() {
        runtime().block_on(async {
            let (mut here, sources) = sockets(1).await;
            let (mut there, destinations) = sockets(1).await;
            // Linux turns the times on a moment after the first socket asks for them.
            for _ in 0..MAX_UNTIMED {
                let before = Instant::now();
                here.send(sources[0], destinations[0], &datagram(0, 8));
                here.flush();
                let after = Instant::now();
                std::thread::sleep(READ_DELAY);
                let arrived_at = receive(&mut there, 1).await[0].arrived_at;
                // The system's clock and the monotonic one are read one after the other.
                assert!(arrived_at + CLOCK_TOLERANCE >= before, "too early");
                if arrived_at <= after + CLOCK_TOLERANCE {
                    return;
                }
            }
            panic!("too late");
        });
    }

    #[test]
    fn a_socket_is_read_though_another_one_always_has_datagrams() {
        runtime().block_on(async {
            let (mut here, sources) = sockets(1).await;
            let (mut there, destinations) = sockets(2).await;
            for index in 0..20 {
                here.send(sources[0], destinations[0], &datagram(index, 8));
            }
            here.send(sources[0], destinations[1], &datagram(0, 8));
            here.flush();
            poll_fn(|context| there.poll_readable(context)).await;
            there.sockets[1].inner.readable().await.unwrap();
            let first_two: Vec<_> =
                (0..2).filter_map(|_| there.receive()).map(|datagram| datagram.destination).collect();
            assert!(first_two.contains(&destinations[1]), "{first_two:?}");
        });
    }

    #[test]
    fn a_socket_that_only_fails_is_given_up_and_the_others_are_read() {
        runtime().block_on(async {
            let (mut here, sources) = sockets(1).await;
            let (mut there, destinations) = sockets(2).await;
            let broken = destinations[0].port();
            let fails = |socket: &UdpSocket, buffer: &mut [u8]| {
                if socket.local_addr()?.port() == broken {
                    Err(io::ErrorKind::NotConnected.into())
                } else {
                    receive_time::receive(socket, buffer)
                }
            };
            for destination in &destinations {
                here.send(sources[0], *destination, &datagram(0, 8));
                here.flush();
            }
            there.sockets[0].inner.readable().await.unwrap();
            there.sockets[1].inner.readable().await.unwrap();
            let received: Vec<_> = (0..=MAX_ERRORS).filter_map(|_| there.receive_by(fails)).collect();
            assert_eq!(received.len(), 1);
            let is_ready = poll_fn(|context| Poll::Ready(there.poll_readable(context).is_ready())).await;
            assert!(!is_ready, "the broken one keeps nobody busy");
            there.retain(|_| true);
            assert_eq!(there.addresses().collect::<Vec<_>>(), [destinations[1]]);
        });
    }
}

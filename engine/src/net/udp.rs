//! UDP sockets. On Linux, datagrams of equal length to the same address are sent in one system call (UDP GSO), because a call
//! costs more than a datagram.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::net::UdpSocket;
use tracing::debug;

use crate::net::receive_time;

/// Maximum number of datagrams in one call, the limit of older kernels (`UDP_MAX_SEGMENTS`). More are sent in further calls.
const MAX_SEGMENTS: usize = 64;
/// Maximum bytes in one call, which fit into one IP packet with their headers. More are sent in further calls.
const MAX_BATCH_BYTES: usize = 65_000;
/// Maximum bytes of a received datagram; a longer one is cut off and thus invalid. WebRTC's fit into an Ethernet frame.
pub(crate) const MAX_DATAGRAM_BYTES: usize = 2048;
/// Maximum number of consecutive errors of a socket. Past it, the socket is not read, because it would keep the thread busy,
/// until it is opened again with the next check of the interfaces.
const MAX_ERRORS: usize = 64;

/// A received datagram.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) source: SocketAddr,
    /// The address of the socket that received it.
    pub(crate) destination: SocketAddr,
    /// When the system received it, or when it was read if the system has no timestamp.
    pub(crate) arrived_at: Instant,
    pub(crate) bytes: Vec<u8>,
}

/// The UDP sockets of an engine.
pub(crate) struct Udp {
    sockets: Vec<Socket>,
    /// Index of the socket to read next.
    next: usize,
    /// Maximum number of datagrams in one call; 1 without GSO.
    max_segments: usize,
    batch: Batch,
    buffer: Box<[u8; MAX_DATAGRAM_BYTES]>,
}

struct Socket {
    /// The address that the socket is bound to.
    address: SocketAddr,
    inner: UdpSocket,
    /// Consecutive errors.
    errors: usize,
}

/// Datagrams to send in the next call: to one address and of one length, except that the last may be shorter.
struct Batch {
    /// Index of the socket.
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

    /// Queues a datagram to send from the socket with address `source`. It is sent by the next [`flush`](Self::flush) at the
    /// latest.
    pub(crate) fn send(&mut self, source: SocketAddr, destination: SocketAddr, datagram: &[u8]) {
        let Some(socket) = self.sockets.iter().position(|socket| socket.address == source) else { return };
        if !self.batch.accepts(socket, destination, datagram, self.max_segments) {
            self.flush();
            (self.batch.socket, self.batch.destination, self.batch.length) = (socket, destination, datagram.len());
        }
        self.batch.bytes.extend_from_slice(datagram);
    }

    /// Sends queued datagrams. Datagrams that do not fit into the system's queue are dropped, as on a congested network.
    pub(crate) fn flush(&mut self) {
        let Batch { socket, destination, length, bytes } = &mut self.batch;
        if bytes.is_empty() {
            return;
        }
        let Socket { inner: socket, .. } = &self.sockets[*socket];
        let one_by_one = bytes.len() == *length
            || offload::send(socket, *destination, bytes, *length)
                // Some drivers do not support GSO, and datagrams may exceed the path MTU; single ones may still be sent.
                .is_err_and(|error| {
                    let is_full = error.kind() == io::ErrorKind::WouldBlock;
                    if is_full {
                        debug!(bytes = bytes.len(), reason = "socket buffer full", "packet dropped");
                    }
                    !is_full
                });
        if one_by_one {
            for datagram in bytes.chunks(*length) {
                // A lost datagram is retransmitted at the recipient's request.
                if let Err(error) = socket.try_send_to(datagram, *destination) {
                    debug!(bytes = datagram.len(), reason = %error, "packet dropped");
                }
            }
        }
        bytes.clear();
    }

    /// Adds a socket that is bound to `address`.
    pub(crate) fn add(&mut self, address: SocketAddr, socket: UdpSocket) {
        if !offload::is_supported(&socket) {
            self.max_segments = 1;
        }
        receive_time::enable(&socket);
        self.sockets.push(Socket { address, inner: socket, errors: 0 });
    }

    /// Closes the sockets for which `is_kept` is false, and those with too many errors.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(SocketAddr) -> bool) {
        // The batch refers to its socket by index.
        self.flush();
        self.sockets.retain(|socket| socket.errors < MAX_ERRORS && is_kept(socket.address));
        self.next = 0;
    }

    /// The addresses of the sockets.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().map(|socket| socket.address)
    }

    /// Ready when a socket may have a datagram.
    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut working = self.sockets.iter().filter(|socket| socket.errors < MAX_ERRORS);
        if working.any(|socket| socket.inner.poll_recv_ready(context).is_ready()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Takes a received datagram, without waiting. Sockets are read in turn, so that a busy one does not delay the others.
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
                // Usually an ICMP error for a datagram sent earlier (RFC 1122, section 4.1.3.3).
                Err(_) => *errors += 1,
            }
        }
        None
    }
}

impl Batch {
    /// Whether a datagram can be sent in the same call as the batch.
    fn accepts(&self, socket: usize, destination: SocketAddr, datagram: &[u8], max_segments: usize) -> bool {
        !self.bytes.is_empty()
            && (self.socket, self.destination) == (socket, destination)
            // A shorter datagram must be the last one.
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

    /// Whether the system supports GSO. Linux before 4.18 would send a batch as one datagram.
    pub(crate) fn is_supported(socket: &UdpSocket) -> bool {
        getsockopt(socket, UdpGsoSegment).is_ok()
    }

    /// Sends datagrams of `length` bytes each, except that the last may be shorter.
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

    pub(crate) fn is_supported(_: &UdpSocket) -> bool {
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
            // Some systems' default is less than a test sends.
            let _ = SockRef::from(&socket).set_recv_buffer_size(ROOM_BYTES);
            // tokio sends nothing before.
            socket.writable().await.unwrap();
            sockets.push((socket.local_addr().unwrap(), socket));
        }
        let addresses = sockets.iter().map(|(address, _)| *address).collect();
        (Udp::new(sockets), addresses)
    }

    /// A datagram of `length` bytes that starts with its index.
    fn datagram(index: usize, length: usize) -> Vec<u8> {
        index.to_le_bytes().into_iter().cycle().take(length).collect()
    }

    async fn receive(udp: &mut Udp, count: usize) -> Vec<Datagram> {
        let mut received = Vec::new();
        while received.len() < count {
            let next = timeout(LONGEST, poll_fn(|context| udp.poll_readable(context))).await;
            next.unwrap_or_else(|_| panic!("received {} of {count}", received.len()));
            received.extend(iter::from_fn(|| udp.receive()));
        }
        received
    }

    /// Datagrams by source and destination, in order.
    type Flows = HashMap<(SocketAddr, SocketAddr), Vec<Vec<u8>>>;

    fn record(flows: &mut Flows, Datagram { source, destination, bytes, .. }: Datagram) {
        flows.entry((source, destination)).or_default().push(bytes);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn datagrams_arrive_unchanged_and_in_order(
            all in vec((0..2_usize, 0..2_usize, prop_oneof![Just(1000_usize), 8..1500_usize]), 1..40),
        ) {
            runtime().block_on(async {
                let (mut here, sources) = sockets(2).await;
                let (mut there, destinations) = sockets(2).await;
                let (mut sent, mut arrived) = (Flows::new(), Flows::new());
                for (index, &(source, destination, length)) in all.iter().enumerate() {
                    let (source, destination, bytes) = (sources[source], destinations[destination], datagram(index, length));
                    here.send(source, destination, &bytes);
                    sent.entry((source, destination)).or_default().push(bytes);
                }
                here.flush();
                for datagram in receive(&mut there, all.len()).await {
                    record(&mut arrived, datagram);
                }
                assert_eq!(arrived, sent);
                assert_eq!(there.receive(), None);
            });
        }
    }

    #[test]
    fn batches_datagrams_of_equal_length_up_to_a_shorter_one() {
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
            assert_eq!(waiting_bytes(0, 500), 500, "a new batch after a shorter datagram");
            assert_eq!(waiting_bytes(0, 900), 900, "a longer one");
            assert_eq!(waiting_bytes(1, 900), 900, "to somebody else");
            here.flush();
            assert_eq!(receive(&mut there, 6).await.iter().map(|datagram| datagram.bytes.len()).sum::<usize>(), 4600);
        });
    }

    /// Sends `count` datagrams and checks that they arrive. Returns how many were in the batch before the flush.
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
    fn limits_a_batch_in_datagrams_and_bytes() {
        runtime().block_on(async {
            assert_eq!(send_all((80, 20), MAX_SEGMENTS).await, 80 - MAX_SEGMENTS);
            assert_eq!(send_all((50, 1400), MAX_SEGMENTS).await, 50 - MAX_BATCH_BYTES / 1400);
        });
    }

    #[test]
    fn sends_datagrams_one_by_one_if_the_system_rejects_the_batch() {
        // More than any Linux accepts.
        assert_eq!(runtime().block_on(send_all((150, 20), usize::MAX)), 150);
    }

    #[test]
    fn ignores_empty_datagrams() {
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
    fn a_datagram_read_late_has_its_receive_time() {
        runtime().block_on(async {
            let (mut here, sources) = sockets(1).await;
            let (mut there, destinations) = sockets(1).await;
            // Linux enables timestamps shortly after the first socket requests them.
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
    fn reads_a_socket_while_another_one_always_has_datagrams() {
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
    fn stops_reading_a_socket_with_too_many_errors() {
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
            assert!(!is_ready, "the broken socket is not polled");
            there.retain(|_| true);
            assert_eq!(there.addresses().collect::<Vec<_>>(), [destinations[1]]);
        });
    }
}

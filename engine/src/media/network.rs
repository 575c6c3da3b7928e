//! The sockets that media comes and goes by: one port, on each of the machine's addresses, over UDP and over TCP.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;
use str0m::Candidate;
use str0m::net::{Protocol, TcpType, Transmit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::udp::{Datagram, Udp};

/// The most addresses that are offered: machines with many bridges would make clients try them all.
const MOST_ADDRESSES: usize = 8;
/// How often all addresses are tried with another port before those are left out on which it is taken.
const TRIES: usize = 16;
/// What a socket holds while this thread waits for the processor, as far as the system allows it: a second of video.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// The most TCP connections at once.
const MOST_CONNECTIONS: usize = 512;
/// The most frames that wait on one TCP connection, each way.
const MOST_FRAMES: usize = 512;
/// A TCP connection that says nothing for so long is closed. Clients check theirs every few seconds.
const IDLE: Duration = Duration::from_secs(30);

/// What has come from somewhere.
pub(super) struct Received {
    pub(super) protocol: Protocol,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

impl From<Datagram> for Received {
    fn from(Datagram { source, destination, bytes }: Datagram) -> Self {
        Self { protocol: Protocol::Udp, source, destination, bytes }
    }
}

enum Tcp {
    Opened { source: SocketAddr, frames: mpsc::Sender<Vec<u8>> },
    Frame(Received),
    Closed { source: SocketAddr },
}

/// All sockets. Dropped, they are closed.
pub(super) struct Network {
    udp: Udp,
    tcp: mpsc::Receiver<Tcp>,
    connections: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>,
    candidates: Vec<Candidate>,
    /// Accepts connections and serves them; they end with it.
    _tasks: JoinSet<()>,
}

impl Network {
    /// Opens a socket on each of the machine's addresses, all on one port that is free.
    ///
    /// # Errors
    /// If not a single one can be opened.
    pub(super) async fn open() -> io::Result<Self> {
        Self::open_on(&addresses()).await
    }

    async fn open_on(addresses: &[IpAddr]) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for _ in 0..TRIES {
            sockets = bind(addresses, 0).await?;
            if is_whole(&sockets, addresses) {
                break;
            }
        }
        let (events, tcp) = mpsc::channel(MOST_FRAMES);
        let mut tasks = JoinSet::new();
        let mut candidates = Vec::new();
        let mut udp = Vec::new();
        for Socket { address, udp: socket, listener } in sockets {
            candidates.extend(Candidate::host(address, "udp").ok());
            if let Some(listener) = listener {
                candidates.extend(Candidate::builder().tcp().host(address).tcptype(TcpType::Passive).build().ok());
                tasks.spawn(accept(listener, address, events.clone()));
            }
            udp.push((address, socket));
        }
        Ok(Self { udp: Udp::new(udp), tcp, connections: HashMap::new(), candidates, _tasks: tasks })
    }

    /// What clients are told to connect to.
    pub(super) fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Sends at once or not at all, but what goes over UDP with the next [`flush`](Self::flush) at the latest.
    pub(super) fn send(&mut self, transmit: &Transmit) {
        if transmit.proto == Protocol::Udp {
            self.udp.send(transmit.source, transmit.destination, &transmit.contents);
        } else if let Some(frames) = self.connections.get(&transmit.destination) {
            // Nobody can be told; what gets lost is asked for again.
            let _ = frames.try_send(transmit.contents.to_vec());
        }
    }

    /// Sends what waits for more that goes the same way.
    pub(super) fn flush(&mut self) {
        self.udp.flush();
    }

    /// The next datagram or frame. It may be dropped before it resolves: nothing is lost.
    pub(super) async fn receive(&mut self) -> Received {
        loop {
            let Self { udp, tcp, .. } = self;
            let received = poll_fn(|context| {
                if let Poll::Ready(datagram) = udp.poll_receive(context) {
                    return Poll::Ready(Tcp::Frame(datagram.into()));
                }
                match tcp.poll_recv(context) {
                    Poll::Ready(Some(event)) => Poll::Ready(event),
                    // Without a listener there is no connection, ever.
                    Poll::Ready(None) | Poll::Pending => Poll::Pending,
                }
            });
            if let Some(received) = Self::note(&mut self.connections, received.await) {
                return received;
            }
        }
    }

    /// What has come already, without waiting.
    pub(super) fn received(&mut self) -> Option<Received> {
        self.udp.received().map(Received::from)
    }

    fn note(connections: &mut HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>, event: Tcp) -> Option<Received> {
        match event {
            Tcp::Frame(received) => return Some(received),
            Tcp::Opened { source, frames } if connections.len() < MOST_CONNECTIONS => {
                connections.insert(source, frames);
            }
            // Its sender is dropped, and so it ends.
            Tcp::Opened { .. } => (),
            Tcp::Closed { source } => drop(connections.remove(&source)),
        }
        None
    }
}

struct Socket {
    address: SocketAddr,
    udp: UdpSocket,
    listener: Option<TcpListener>,
}

/// Whether each address has its socket, and its listener where it is to have one. TCP connections of others take ports, too.
fn is_whole(sockets: &[Socket], addresses: &[IpAddr]) -> bool {
    let listens = |socket: &Socket| socket.listener.is_some() || !takes_tcp(socket.address.ip(), addresses);
    sockets.len() == addresses.len() && sockets.iter().all(listens)
}

/// Opens what can be opened, all on one port: that one, or one that is free where it is 0.
async fn bind(addresses: &[IpAddr], port: u16) -> io::Result<Vec<Socket>> {
    let mut sockets: Vec<Socket> = Vec::new();
    let mut failure = io::ErrorKind::AddrNotAvailable.into();
    for address in addresses {
        let port = sockets.first().map_or(port, |first| first.address.port());
        match UdpSocket::bind((*address, port)).await.and_then(|socket| Ok((socket.local_addr()?, socket))) {
            Ok((address, socket)) => {
                let system = SockRef::from(&socket);
                // With smaller ones it works, too, and loses more.
                let _ = system.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
                let _ = system.set_send_buffer_size(SOCKET_BUFFER_BYTES);
                let listener =
                    if takes_tcp(address.ip(), addresses) { TcpListener::bind(address).await.ok() } else { None };
                sockets.push(Socket { address, udp: socket, listener });
            }
            Err(error) => failure = error,
        }
    }
    if sockets.is_empty() { Err(failure) } else { Ok(sockets) }
}

/// The machine's own addresses, loopback last: a client on the same machine reaches them all, and Firefox uses no other.
fn addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut addresses: Vec<IpAddr> = interfaces.iter().map(if_addrs::Interface::ip).filter(is_usable).collect();
    addresses.sort_by_key(|address| (address.is_loopback(), address.is_ipv6()));
    addresses.dedup();
    addresses.truncate(MOST_ADDRESSES - 1);
    let loopback = IpAddr::from([127, 0, 0, 1]);
    if !addresses.contains(&loopback) {
        addresses.push(loopback);
    }
    addresses
}

/// Addresses that need their interface's name beside them cannot stand in a candidate. Whoever reaches `::1` reaches
/// `127.0.0.1`, too; clients try each pair of addresses, and those that they try for nothing cost them time.
fn is_usable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_link_local() && !address.is_unspecified(),
        IpAddr::V6(address) => !address.is_unicast_link_local() && !address.is_unspecified() && !address.is_loopback(),
    }
}

/// TCP is for those whom UDP does not reach: one family of addresses will do.
fn takes_tcp(address: IpAddr, addresses: &[IpAddr]) -> bool {
    address.is_ipv4() || !addresses.iter().any(|other| other.is_ipv4() && !other.is_loopback())
}

async fn accept(listener: TcpListener, address: SocketAddr, events: mpsc::Sender<Tcp>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, source)) if connections.len() < MOST_CONNECTIONS => {
                    connections.spawn(attend(stream, source, address, events.clone()));
                }
                Ok(_) => (),
                // Such as too many open files: to ask again at once would only burn time.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next() => (),
        }
    }
}

/// Carries frames of RFC 4571: two bytes of length, then a datagram.
async fn attend(mut stream: TcpStream, source: SocketAddr, destination: SocketAddr, events: mpsc::Sender<Tcp>) {
    let (frames, mut outgoing) = mpsc::channel::<Vec<u8>>(MOST_FRAMES);
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = stream.split();
    if events.send(Tcp::Opened { source, frames }).await.is_err() {
        return;
    }
    let read = async {
        while let Ok(Ok(length)) = timeout(IDLE, reader.read_u16()).await {
            let mut bytes = vec![0; usize::from(length)];
            if !matches!(timeout(IDLE, reader.read_exact(&mut bytes)).await, Ok(Ok(_))) {
                break;
            }
            let frame = Received { protocol: Protocol::Tcp, source, destination, bytes };
            if events.send(Tcp::Frame(frame)).await.is_err() {
                break;
            }
        }
    };
    let write = async {
        while let Some(frame) = outgoing.recv().await {
            let Ok(length) = u16::try_from(frame.len()) else { continue };
            let whole = [&length.to_be_bytes()[..], &frame].concat();
            if !matches!(timeout(IDLE, writer.write_all(&whole)).await, Ok(Ok(()))) {
                break;
            }
        }
    };
    tokio::select! {
        () = read => (),
        () = write => (),
    }
    let _ = events.send(Tcp::Closed { source }).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn no_address_is_offered_that_is_tried_for_nothing() {
        let offered = ["127.0.0.1", "10.0.0.1", "fd00::1"].map(ip);
        let not_offered = ["::1", "fe80::1", "::", "169.254.0.1", "0.0.0.0"].map(ip);
        assert_eq!(offered.iter().filter(|address| is_usable(address)).count(), offered.len());
        assert_eq!(not_offered.iter().filter(|address| is_usable(address)).count(), 0);
    }

    #[tokio::test]
    async fn a_port_that_somebody_else_has_for_tcp_is_not_good_enough() {
        let loopback = [ip("127.0.0.1")];
        let mut free = bind(&loopback, 0).await.unwrap();
        assert!(is_whole(&free, &loopback));
        let Socket { address, udp, listener } = free.remove(0);
        drop(udp);
        let taken = bind(&loopback, address.port()).await.unwrap();
        assert_eq!((taken.len(), is_whole(&taken, &loopback)), (1, false));
        drop(listener);
    }

    #[test]
    fn tcp_is_offered_by_ipv6_only_where_nobody_else_is_reached_by_ipv4() {
        let both = ["10.0.0.1", "fd00::1", "127.0.0.1"].map(ip);
        assert_eq!(both.map(|address| takes_tcp(address, &both)), [true, false, true]);
        let ipv6 = ["fd00::1", "127.0.0.1"].map(ip);
        assert_eq!(ipv6.map(|address| takes_tcp(address, &ipv6)), [true, true]);
    }
}

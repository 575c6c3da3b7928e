//! The sockets for media: one UDP and TCP port on each of the machine's addresses.

use std::collections::HashSet;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::task::Poll;

use socket2::SockRef;
use str0m::Candidate;
use str0m::net::{Protocol, TcpType, Transmit};

use crate::config::RtcConfig;
use crate::ids::SessionId;
use crate::net::datagram::ReceivedDatagram;
use crate::net::interfaces::{LocalAddresses, accepts_tcp, media_addresses};
use crate::net::tcp::Tcp;
use crate::net::udp::Udp;

/// Maximum number of random ports to try. Past it, addresses on which the port is taken are left out.
const BIND_ATTEMPTS: usize = 16;
/// Bytes of a socket's buffers, as far as the system allows: about a second of video while the media thread waits for a CPU.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Maximum number of datagrams from other machines to drop at once. Past it, other work is done first.
const MAX_FOREIGN: usize = 64;

/// The sockets of an engine. Dropping it closes them.
pub(crate) struct Network {
    udp: Udp,
    tcp: Tcp,
    config: RtcConfig,
    port: u16,
    /// The machine's addresses.
    own: LocalAddresses,
    candidates: Vec<Candidate>,
    /// Whether to read TCP before UDP next.
    tcp_is_next: bool,
}

/// Changes of the candidates since the last refresh.
#[derive(Debug, Default)]
pub(crate) struct CandidateChanges {
    pub(crate) added: Vec<Candidate>,
    pub(crate) removed: Vec<Candidate>,
}

impl CandidateChanges {
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

impl Network {
    /// Uses the sockets in `bound`, or opens one on each of the machine's addresses.
    ///
    /// # Errors
    /// If no socket can be opened.
    pub(crate) fn open(config: RtcConfig, bound: Option<Vec<Socket>>) -> io::Result<Self> {
        let own = LocalAddresses::read()?;
        let sockets = bound.map_or_else(|| bind(&config, &own), Ok)?;
        let port = sockets.first().map_or(0, |socket| socket.address.port());
        let mut network = Self {
            udp: Udp::new(Vec::new()),
            tcp: Tcp::new(),
            config,
            port,
            own,
            candidates: Vec::new(),
            tcp_is_next: false,
        };
        for socket in sockets {
            network.add(socket)?;
        }
        network.candidates = network.list_candidates();
        Ok(network)
    }

    /// Opens sockets on new addresses, and closes the sockets on removed ones.
    pub(crate) fn refresh(&mut self) -> CandidateChanges {
        // On failure, keeps the sockets.
        let Ok(own) = LocalAddresses::read() else { return CandidateChanges::default() };
        self.own = own;
        let addresses = media_addresses(&self.own, self.config.local_only);
        self.udp.retain(|socket| addresses.contains(&socket.ip()));
        let open: HashSet<SocketAddr> = self.udp.addresses().collect();
        self.tcp.retain(|listener| open.contains(&listener));
        for address in &addresses {
            if !open.contains(&(*address, self.port).into())
                // If the port is taken on this address, clients use the others.
                && let Ok(socket) = bind_one(*address, self.port, accepts_tcp(*address, &addresses, self.config.local_only))
            {
                // If the runtime cannot poll the socket, it is left out.
                let _ = self.add(socket);
            }
        }
        let now = self.list_candidates();
        let before = std::mem::replace(&mut self.candidates, now);
        let is_in = |candidates: &[Candidate], candidate: &&Candidate| {
            candidates.iter().any(|other| (other.proto(), other.addr()) == (candidate.proto(), candidate.addr()))
        };
        CandidateChanges {
            added: self.candidates.iter().filter(|candidate| !is_in(&before, candidate)).cloned().collect(),
            removed: before.iter().filter(|candidate| !is_in(&self.candidates, candidate)).cloned().collect(),
        }
    }

    /// The candidates for the sockets' addresses.
    pub(crate) fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Replaces the candidates in a session description by those of the configured addresses, if any.
    pub(crate) fn advertise(&self, sdp: String) -> String {
        if self.config.addresses.is_empty() {
            return sdp;
        }
        let candidates = self.config.addresses.iter().flat_map(|address| {
            let address = SocketAddr::new(*address, self.port);
            let udp = Candidate::host(address, "udp").ok();
            let tcp = Candidate::builder().tcp().host(address).tcptype(TcpType::Passive).build().ok();
            [udp, tcp]
        });
        let candidates: Vec<_> = candidates.flatten().map(|candidate| format!("a={candidate}\r\n")).collect();
        let candidates = candidates.concat();
        let mut out = String::with_capacity(sdp.len() + candidates.len());
        let mut is_first = true;
        for line in sdp.split_inclusive('\n') {
            if !line.starts_with("a=candidate:") {
                is_first = true;
                out.push_str(line);
            } else if std::mem::take(&mut is_first) {
                out.push_str(&candidates);
            }
        }
        out
    }

    /// Sends a datagram without waiting, and drops it if that is not possible. Over UDP, it is sent by the next
    /// [`flush`](Self::flush) at the latest.
    pub(crate) fn send(&mut self, transmit: &Transmit) {
        if transmit.proto == Protocol::Udp {
            self.udp.send(transmit.source, transmit.destination, &transmit.contents);
        } else {
            self.tcp.send((transmit.source, transmit.destination), &transmit.contents);
        }
    }

    /// Sends the datagrams that wait to form a batch.
    pub(crate) fn flush(&mut self) {
        self.udp.flush();
    }

    /// Resolves when [`receive`](Self::receive) may return a datagram.
    pub(crate) async fn readable(&mut self) {
        poll_fn(|context| {
            // Polls both, so that both register the waker.
            let is_ready = [self.udp.poll_readable(context), self.tcp.poll_readable(context)];
            if is_ready.iter().any(Poll::is_ready) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Takes a received datagram, without waiting. Reads UDP and TCP in turn.
    pub(crate) fn receive(&mut self) -> Option<ReceivedDatagram> {
        for _ in 0..MAX_FOREIGN {
            let tcp_is_next = self.tcp_is_next;
            self.tcp_is_next = !tcp_is_next;
            let first = if tcp_is_next { self.tcp.receive() } else { self.udp.receive().map(ReceivedDatagram::from) };
            let other = |this: &mut Self| {
                if tcp_is_next { this.udp.receive().map(ReceivedDatagram::from) } else { this.tcp.receive() }
            };
            let received = first.or_else(|| other(self))?;
            let ip = received.source.ip();
            if !self.config.local_only || ip.is_loopback() || self.own.contains(ip) {
                return Some(received);
            }
        }
        None
    }

    /// Assigns the TCP connection that a datagram came from to the participant that it authenticates.
    pub(crate) fn authenticate(&mut self, received: &ReceivedDatagram, participant: SessionId) {
        if received.protocol == Protocol::Tcp {
            self.tcp.authenticate((received.destination, received.source), participant);
        }
    }

    /// Closes the TCP connections of a participant.
    pub(crate) fn remove(&mut self, participant: SessionId) {
        self.tcp.remove(participant);
    }

    fn add(&mut self, Socket { address, udp, listener }: Socket) -> io::Result<()> {
        self.udp.add(address, tokio::net::UdpSocket::from_std(udp)?);
        if let Some(listener) = listener {
            self.tcp.listen(address, tokio::net::TcpListener::from_std(listener)?);
        }
        Ok(())
    }

    fn list_candidates(&self) -> Vec<Candidate> {
        let candidates = self.udp.addresses().flat_map(|address| {
            let passive = || Candidate::builder().tcp().host(address).tcptype(TcpType::Passive).build().ok();
            let tcp = self.tcp.listens(address).then(passive);
            [Candidate::host(address, "udp").ok(), tcp.flatten()]
        });
        candidates.flatten().collect()
    }
}

/// Bound sockets of one address that are not polled yet.
#[derive(Debug)]
pub(crate) struct Socket {
    address: SocketAddr,
    udp: UdpSocket,
    listener: Option<TcpListener>,
}

/// Binds sockets on all media addresses, on the configured port or a free one.
///
/// # Errors
/// If no socket can be bound, or the configured port is taken.
pub(crate) fn bind_configured(config: &RtcConfig) -> io::Result<Vec<Socket>> {
    bind(config, &LocalAddresses::read()?)
}

fn bind(config: &RtcConfig, own: &LocalAddresses) -> io::Result<Vec<Socket>> {
    let addresses = media_addresses(own, config.local_only);
    let accepts_tcp = |address: IpAddr| accepts_tcp(address, &addresses, config.local_only);
    if let Some(port) = config.port {
        let sockets = addresses.iter().map(|address| bind_one(*address, port, accepts_tcp(*address)));
        // An address may have been removed meanwhile.
        return sockets
            .filter(|bound| !bound.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable))
            .collect();
    }
    let mut best: Vec<Socket> = Vec::new();
    let mut failure = io::ErrorKind::AddrNotAvailable.into();
    for _ in 0..BIND_ATTEMPTS {
        let mut sockets: Vec<Socket> = Vec::new();
        for address in &addresses {
            let port = sockets.first().map_or(0, |first| first.address.port());
            match bind_one(*address, port, accepts_tcp(*address)) {
                Ok(socket) => sockets.push(socket),
                Err(error) => failure = error,
            }
        }
        if sockets.len() == addresses.len() {
            return Ok(sockets);
        }
        if sockets.len() > best.len() {
            best = sockets;
        }
    }
    if best.is_empty() { Err(failure) } else { Ok(best) }
}

/// Binds a UDP port, and the TCP port of the same number if `accepts_tcp`.
fn bind_one(address: IpAddr, port: u16, accepts_tcp: bool) -> io::Result<Socket> {
    let udp = UdpSocket::bind((address, port))?;
    let address = udp.local_addr()?;
    let system = SockRef::from(&udp);
    // Smaller buffers work too, but lose more packets.
    let _ = system.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = system.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    udp.set_nonblocking(true)?;
    let listener = accepts_tcp.then(|| TcpListener::bind(address)).transpose()?;
    if let Some(listener) = &listener {
        listener.set_nonblocking(true)?;
    }
    Ok(Socket { address, udp, listener })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: RtcConfig = RtcConfig { port: None, addresses: Vec::new(), local_only: true };

    fn loopback() -> LocalAddresses {
        LocalAddresses::default()
    }

    #[test]
    fn fails_if_the_configured_port_is_taken() {
        let free = bind(&LOCAL, &loopback()).unwrap().remove(0);
        let fixed = RtcConfig { port: Some(free.address.port()), ..LOCAL };
        let Socket { udp, listener, .. } = free;
        let refused = |fixed: &RtcConfig| bind(fixed, &loopback()).unwrap_err().kind();
        assert_eq!(refused(&fixed), io::ErrorKind::AddrInUse);
        drop(udp);
        assert_eq!(refused(&fixed), io::ErrorKind::AddrInUse, "the TCP port is taken");
        drop(listener);
        assert_eq!(bind(&fixed, &loopback()).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn advertises_configured_addresses_instead_of_the_sockets_own() {
        let addresses = vec![[192, 0, 2, 7].into(), "2001:db8::7".parse().unwrap()];
        let network = Network::open(RtcConfig { addresses, ..LOCAL }, None).unwrap();
        let port = network.port;
        let own = "a=candidate:1 1 udp 2130706175 10.0.0.1 4000 typ host\r\na=candidate:2 1 tcp 1 10.0.0.1 4000 typ host tcptype passive\r\n";
        let sdp = format!("v=0\r\nm=audio 9 RTP/AVP 0\r\n{own}a=end-of-candidates\r\nm=video 9 RTP/AVP 0\r\n{own}");
        let advertised = network.advertise(sdp);
        assert!(!advertised.contains("10.0.0.1"), "{advertised}");
        for line in [format!(" 192.0.2.7 {port} typ host"), format!(" 2001:db8::7 {port} typ host tcptype passive")] {
            assert_eq!(advertised.matches(&line).count(), if line.contains("passive") { 2 } else { 4 }, "{advertised}");
        }
        assert_eq!(advertised.lines().count(), 4 + 2 * 4);
    }

    #[tokio::test]
    async fn drops_datagrams_of_other_machines_if_local_only() {
        let mut network = Network::open(LOCAL, None).unwrap();
        let Some(address) = network.udp.addresses().find(|address| !address.ip().is_loopback()) else { return };
        let other = UdpSocket::bind((address.ip(), 0)).unwrap();
        // Treats the address as another machine's.
        let own = std::mem::take(&mut network.own);
        let send = |datagram: &[u8], network: &mut Network| {
            other.send_to(datagram, address).unwrap();
            network.tcp_is_next = false;
        };
        send(b"foreign", &mut network);
        network.readable().await;
        assert!(network.receive().is_none());
        network.own = own;
        send(b"own", &mut network);
        network.readable().await;
        assert_eq!(network.receive().map(|received| received.bytes), Some(b"own".to_vec()));
    }
}

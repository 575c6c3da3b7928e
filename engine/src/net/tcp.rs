//! TCP connections for media (RFC 6544), framed as in RFC 4571: two bytes of length, then a datagram.
//!
//! Any client can open a connection. Until it has sent a STUN request with valid message integrity, for which it has a few
//! seconds, it may send only small STUN messages. Then it belongs to a participant, which may have several.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use str0m::net::Protocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{timeout, timeout_at};
use tracing::debug;

use crate::ids::SessionId;
use crate::net::datagram::ReceivedDatagram;
use crate::net::stun::is_stun;
use crate::net::udp::MAX_DATAGRAM_BYTES;

/// Maximum number of TCP connections for media. Past it, the least recently used unauthenticated one is closed; if there is
/// none, the least recently used one of the participant with the most connections.
const MAX_CONNECTIONS: usize = 1024;
/// Maximum number of unauthenticated TCP connections. Past it, the least recently used one of them is closed.
const MAX_UNAUTHENTICATED: usize = 256;
/// Maximum number of TCP connections of one participant. Past it, its least recently used one is closed.
const MAX_PER_PARTICIPANT: usize = 8;
/// Time to receive a STUN request with valid message integrity. Past it, the connection is closed.
const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(5);
/// Time without received bytes after which an authenticated connection is closed; clients send checks every few seconds. Also
/// the maximum time of one write.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum bytes of a frame on an unauthenticated connection. Past it, the connection is closed.
const MAX_UNAUTHENTICATED_FRAME_BYTES: usize = 1024;
/// Maximum bytes that wait to be sent on one connection. Past it, datagrams are dropped.
const MAX_QUEUED_BYTES: usize = 256 * 1024;
/// Maximum bytes that wait to be sent on all connections. Past it, datagrams are dropped.
const MAX_TOTAL_QUEUED_BYTES: usize = 32 * 1024 * 1024;
/// Maximum number of frames and new connections that wait for the media thread. Past it, connections are not read.
const MAX_EVENTS: usize = 64;
/// Pause after accepting a connection failed, such as without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The local and the remote address of a connection.
type AddressPair = (SocketAddr, SocketAddr);

pub(crate) struct Tcp {
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    /// An event that `poll_readable` received.
    pending: Option<Event>,
    connections: HashMap<AddressPair, Connection>,
    listeners: HashMap<SocketAddr, AbortHandle>,
    queued: Arc<AtomicUsize>,
    next_id: u64,
}

enum Event {
    Accepted(TcpStream, AddressPair),
    Frame(u64, AddressPair, Vec<u8>),
    Closed(u64, AddressPair),
}

/// A connection. Dropping it closes it.
struct Connection {
    id: u64,
    frames: mpsc::UnboundedSender<Queued>,
    queued: Arc<AtomicUsize>,
    participant: Option<SessionId>,
    is_authenticated: Arc<AtomicBool>,
    last_used: Instant,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A datagram that waits to be sent. Its bytes count until it is dropped.
struct Queued {
    bytes: Vec<u8>,
    counters: [Arc<AtomicUsize>; 2],
}

impl Drop for Queued {
    fn drop(&mut self) {
        for counter in &self.counters {
            counter.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        }
    }
}

impl Tcp {
    pub(crate) fn new() -> Self {
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        Self {
            events,
            sender,
            pending: None,
            connections: HashMap::new(),
            listeners: HashMap::new(),
            queued: Arc::default(),
            next_id: 0,
        }
    }

    /// Accepts connections on an address.
    pub(crate) fn listen(&mut self, address: SocketAddr, listener: TcpListener) {
        let task = tokio::spawn(accept(listener, address, self.sender.clone()));
        self.listeners.insert(address, task.abort_handle());
    }

    pub(crate) fn listens(&self, address: SocketAddr) -> bool {
        self.listeners.contains_key(&address)
    }

    /// Closes the listeners for which `is_kept` is false.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(SocketAddr) -> bool) {
        self.listeners.retain(|address, task| {
            let is_kept = is_kept(*address);
            if !is_kept {
                task.abort();
            }
            is_kept
        });
    }

    /// Ready when [`receive`](Self::receive) may return a frame.
    pub(crate) fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.pending.is_none() {
            let Poll::Ready(event) = self.events.poll_recv(context) else { return Poll::Pending };
            self.pending = event;
        }
        Poll::Ready(())
    }

    /// Takes a received frame, without waiting.
    pub(crate) fn receive(&mut self) -> Option<ReceivedDatagram> {
        // Terminates, because the tasks that send events do not run meanwhile.
        while let Some(event) = self.pending.take().or_else(|| self.events.try_recv().ok()) {
            match event {
                Event::Accepted(stream, addresses) => self.admit(stream, addresses, Instant::now()),
                Event::Closed(id, addresses) => {
                    if self.connections.get(&addresses).is_some_and(|connection| connection.id == id) {
                        self.connections.remove(&addresses);
                    }
                }
                Event::Frame(id, addresses, bytes) => {
                    let known = self.connections.get_mut(&addresses).filter(|connection| connection.id == id);
                    let Some(connection) = known else { continue };
                    connection.last_used = Instant::now();
                    let (destination, source) = addresses;
                    let arrived_at = Instant::now();
                    return Some(ReceivedDatagram { protocol: Protocol::Tcp, source, destination, arrived_at, bytes });
                }
            }
        }
        None
    }

    /// Queues a datagram. Drops it if the queue is full; the recipient then requests a retransmission.
    pub(crate) fn send(&mut self, addresses: AddressPair, datagram: &[u8]) {
        let Some(connection) = self.connections.get(&addresses) else { return };
        let counters = [connection.queued.clone(), self.queued.clone()];
        let fits = |counter: &AtomicUsize, max| counter.load(Ordering::Relaxed) + datagram.len() <= max;
        if !fits(&counters[0], MAX_QUEUED_BYTES) || !fits(&counters[1], MAX_TOTAL_QUEUED_BYTES) {
            let (session, bytes) = (connection.participant, datagram.len());
            debug!(session, bytes, reason = "TCP queue full", "packet dropped");
            return;
        }
        for counter in &counters {
            counter.fetch_add(datagram.len(), Ordering::Relaxed);
        }
        // If the connection has ended meanwhile, the datagram is dropped.
        let _ = connection.frames.send(Queued { bytes: datagram.to_vec(), counters });
    }

    /// Assigns a connection to the participant that authenticated on it.
    pub(crate) fn authenticate(&mut self, addresses: AddressPair, participant: SessionId) {
        let own = Some(participant);
        let Some(connection) = self.connections.get_mut(&addresses).filter(|connection| connection.participant != own)
        else {
            return;
        };
        connection.participant = own;
        connection.is_authenticated.store(true, Ordering::Relaxed);
        if self.connections.values().filter(|connection| connection.participant == own).count() > MAX_PER_PARTICIPANT {
            self.close_least_recently_used(|connection| connection.participant == own);
        }
    }

    /// Closes the connections of a participant.
    pub(crate) fn remove(&mut self, participant: SessionId) {
        self.connections.retain(|_, connection| connection.participant != Some(participant));
    }

    fn admit(&mut self, stream: TcpStream, addresses: AddressPair, now: Instant) {
        let is_unauthenticated = |connection: &Connection| connection.participant.is_none();
        let unauthenticated = self.connections.values().filter(|connection| is_unauthenticated(connection)).count();
        if unauthenticated >= MAX_UNAUTHENTICATED || (self.connections.len() >= MAX_CONNECTIONS && unauthenticated > 0)
        {
            self.close_least_recently_used(is_unauthenticated);
        } else if self.connections.len() >= MAX_CONNECTIONS {
            let mut counts: HashMap<Option<SessionId>, usize> = HashMap::new();
            for connection in self.connections.values() {
                *counts.entry(connection.participant).or_default() += 1;
            }
            let busiest = counts.into_iter().max_by_key(|(_, count)| *count).map(|(participant, _)| participant);
            self.close_least_recently_used(|connection| Some(connection.participant) == busiest);
        }
        self.next_id += 1;
        let id = self.next_id;
        let (frames, outgoing) = mpsc::unbounded_channel();
        let is_authenticated = Arc::<AtomicBool>::default();
        let task = tokio::spawn(run(stream, (id, addresses), outgoing, is_authenticated.clone(), self.sender.clone()));
        let connection = Connection {
            id,
            frames,
            queued: Arc::default(),
            participant: None,
            is_authenticated,
            last_used: now,
            task: task.abort_handle(),
        };
        self.connections.insert(addresses, connection);
    }

    fn close_least_recently_used(&mut self, is_candidate: impl Fn(&Connection) -> bool) {
        let candidates = self.connections.iter().filter(|(_, connection)| is_candidate(connection));
        let oldest = candidates.min_by_key(|(_, connection)| connection.last_used).map(|(addresses, _)| *addresses);
        oldest.map(|addresses| self.connections.remove(&addresses));
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.listeners.values().for_each(AbortHandle::abort);
    }
}

async fn accept(listener: TcpListener, address: SocketAddr, events: mpsc::Sender<Event>) {
    loop {
        match listener.accept().await {
            Ok((stream, source)) => {
                if events.send(Event::Accepted(stream, (address, source))).await.is_err() {
                    return;
                }
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Exchanges frames until either side ends the connection.
async fn run(
    mut stream: TcpStream,
    (id, addresses): (u64, AddressPair),
    outgoing: mpsc::UnboundedReceiver<Queued>,
    is_authenticated: Arc<AtomicBool>,
    events: mpsc::Sender<Event>,
) {
    // Nagle's algorithm would delay small packets.
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.split();
    tokio::select! {
        () = read(reader, (id, addresses), &is_authenticated, &events) => (),
        () = write(writer, outgoing) => (),
    }
    let _ = events.send(Event::Closed(id, addresses)).await;
}

async fn read(
    mut reader: ReadHalf<'_>,
    (id, addresses): (u64, AddressPair),
    is_authenticated: &AtomicBool,
    events: &mpsc::Sender<Event>,
) {
    let opened = Instant::now();
    let mut buffer = Vec::new();
    let mut deadline = opened + AUTHENTICATION_TIMEOUT;
    loop {
        match timeout_at(deadline.into(), reader.read_buf(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(_)) => (),
            // The connection was authenticated during the wait.
            Err(_) if is_authenticated.load(Ordering::Relaxed) && deadline == opened + AUTHENTICATION_TIMEOUT => (),
            Err(_) => return,
        }
        loop {
            let is_authenticated = is_authenticated.load(Ordering::Relaxed);
            let max = if is_authenticated { MAX_DATAGRAM_BYTES } else { MAX_UNAUTHENTICATED_FRAME_BYTES };
            let Ok(frame) = take_frame(&mut buffer, max) else { return };
            let Some(frame) = frame else { break };
            if (!is_authenticated && !is_stun(&frame)) || events.send(Event::Frame(id, addresses, frame)).await.is_err()
            {
                return;
            }
        }
        if is_authenticated.load(Ordering::Relaxed) {
            deadline = Instant::now() + IDLE_TIMEOUT;
        }
    }
}

/// Takes the datagram of a complete frame; `None` if the frame is not complete.
///
/// # Errors
/// If the datagram is longer than `max` bytes.
fn take_frame(buffer: &mut Vec<u8>, max: usize) -> io::Result<Option<Vec<u8>>> {
    let Some(length) = buffer.first_chunk() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if buffer.len() < 2 + length {
        return Ok(None);
    }
    Ok(Some(buffer.drain(..2 + length).skip(2).collect()))
}

async fn write(mut writer: WriteHalf<'_>, mut outgoing: mpsc::UnboundedReceiver<Queued>) {
    while let Some(frame) = outgoing.recv().await {
        let Ok(length) = u16::try_from(frame.bytes.len()) else { continue };
        let whole = [&length.to_be_bytes()[..], &frame.bytes].concat();
        if !matches!(timeout(IDLE_TIMEOUT, writer.write_all(&whole)).await, Ok(Ok(()))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);
    /// A STUN message without attributes.
    const STUN: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    /// A server, and the address it listens on.
    async fn listen() -> (Tcp, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tcp = Tcp::new();
        tcp.listen(address, listener);
        (tcp, address)
    }

    fn framed(datagram: &[u8]) -> Vec<u8> {
        [&u16::try_from(datagram.len()).unwrap().to_be_bytes(), datagram].concat()
    }

    async fn next(tcp: &mut Tcp) -> ReceivedDatagram {
        let next = async {
            loop {
                poll_fn(|context| tcp.poll_readable(context)).await;
                if let Some(received) = tcp.receive() {
                    return received;
                }
            }
        };
        timeout(PATIENCE, next).await.unwrap()
    }

    /// A connection that has sent a STUN message.
    async fn connect(tcp: &mut Tcp, address: SocketAddr) -> (TcpStream, AddressPair) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&framed(&STUN)).await.unwrap();
        let received = next(tcp).await;
        assert_eq!(received.bytes, STUN);
        (stream, (received.destination, received.source))
    }

    async fn is_closed(tcp: &mut Tcp, stream: &mut TcpStream) {
        let serve = async {
            loop {
                poll_fn(|context| tcp.poll_readable(context)).await;
                assert!(tcp.receive().is_none());
            }
        };
        let closed = async { matches!(stream.read(&mut [0; 100]).await, Ok(0) | Err(_)) };
        tokio::select! {
            () = serve => (),
            closed = timeout(PATIENCE, closed) => assert_eq!(closed, Ok(true)),
        }
    }

    #[tokio::test]
    async fn closes_a_connection_whose_first_frame_is_not_a_small_stun_message() {
        let (mut tcp, address) = listen().await;
        let long = [&STUN[..], &[0; MAX_UNAUTHENTICATED_FRAME_BYTES]].concat();
        for datagram in [&[][..], b"something else, of twenty bytes", &long] {
            let start = Instant::now();
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&framed(datagram)).await.unwrap();
            is_closed(&mut tcp, &mut stream).await;
            assert!(start.elapsed() < AUTHENTICATION_TIMEOUT / 2);
        }
    }

    #[tokio::test]
    async fn closes_unauthenticated_connections_after_the_timeout() {
        let (mut tcp, address) = listen().await;
        let (mut owned, addresses) = connect(&mut tcp, address).await;
        tcp.authenticate(addresses, 1);
        let (mut unauthenticated, _) = connect(&mut tcp, address).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        is_closed(&mut tcp, &mut unauthenticated).await;
        is_closed(&mut tcp, &mut silent).await;
        owned.write_all(&framed(b"anything")).await.unwrap();
        assert_eq!(next(&mut tcp).await.bytes, b"anything");
        tcp.send(addresses, b"a reply");
        let mut reply = [0; 9];
        timeout(PATIENCE, owned.read_exact(&mut reply)).await.unwrap().unwrap();
        assert_eq!(reply[..], framed(b"a reply"));
        tcp.remove(1);
        is_closed(&mut tcp, &mut owned).await;
    }

    #[tokio::test]
    async fn too_many_unauthenticated_connections_close_the_least_recently_used_of_them() {
        let (mut tcp, address) = listen().await;
        let (mut owned, addresses) = connect(&mut tcp, address).await;
        tcp.authenticate(addresses, 1);
        let (mut first, _) = connect(&mut tcp, address).await;
        let mut others = Vec::new();
        for _ in 0..MAX_UNAUTHENTICATED {
            others.push(connect(&mut tcp, address).await);
        }
        is_closed(&mut tcp, &mut first).await;
        assert_eq!(tcp.connections.len(), MAX_UNAUTHENTICATED + 1);
        owned.write_all(&framed(b"anything")).await.unwrap();
        assert_eq!(next(&mut tcp).await.bytes, b"anything");
    }

    #[tokio::test]
    async fn a_participant_with_too_many_connections_loses_its_least_recently_used_one() {
        let (mut tcp, address) = listen().await;
        let (_others, addresses) = connect(&mut tcp, address).await;
        tcp.authenticate(addresses, 2);
        let (mut first, addresses) = connect(&mut tcp, address).await;
        tcp.authenticate(addresses, 1);
        let mut rest = Vec::new();
        for _ in 0..MAX_PER_PARTICIPANT {
            let (stream, addresses) = connect(&mut tcp, address).await;
            tcp.authenticate(addresses, 1);
            rest.push(stream);
        }
        is_closed(&mut tcp, &mut first).await;
        assert_eq!(tcp.connections.len(), MAX_PER_PARTICIPANT + 1);
    }

    #[tokio::test]
    async fn drops_datagrams_past_the_maximum_of_queued_bytes() {
        let (mut tcp, address) = listen().await;
        let (_stream, addresses) = connect(&mut tcp, address).await;
        tcp.authenticate(addresses, 1);
        for _ in 0..1000 {
            tcp.send(addresses, &[0; 1200]);
        }
        let queued = tcp.queued.load(Ordering::Relaxed);
        assert!((MAX_QUEUED_BYTES - 1200..=MAX_QUEUED_BYTES).contains(&queued), "{queued} bytes");
        tcp.remove(1);
        timeout(PATIENCE, async {
            while tcp.queued.load(Ordering::Relaxed) > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }

    #[test]
    fn takes_frames_as_they_become_complete() {
        let whole = [framed(b"one"), framed(b""), framed(b"three")].concat();
        let mut buffer = Vec::new();
        let mut frames = Vec::new();
        for byte in whole {
            buffer.push(byte);
            while let Some(frame) = take_frame(&mut buffer, 5).unwrap() {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [&b"one"[..], b"", b"three"]);
        assert!(take_frame(&mut vec![0, 6], 5).is_err());
    }
}

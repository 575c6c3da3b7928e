//! TCP connections for media (RFC 6544): frames of RFC 4571, two bytes of length and then a datagram.
//!
//! Anybody can open one. Until a connection has shown a STUN request with good integrity, it may send only small STUN
//! messages and has a few seconds for that; afterwards, it belongs to a participant, who can have a few.

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

use crate::ids::SessionId;
use crate::net::datagram::ReceivedDatagram;
use crate::net::stun::is_stun;
use crate::net::udp::MAX_DATAGRAM_BYTES;

/// TCP connections for media at once. Past it, the least recently used unauthenticated one is closed, or if there is none,
/// that of the participant who has the most.
const MAX_CONNECTIONS: usize = 1024;
/// Unauthenticated TCP connections at once. Past it, the least recently used one of them is closed.
const MAX_UNAUTHENTICATED: usize = 256;
/// TCP connections of one participant. Past it, its least recently used one is closed.
const MAX_PER_PARTICIPANT: usize = 8;
/// Time within which a connection must show a STUN request with good integrity. Past it, it is closed.
const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(5);
/// Time without a byte after which an authenticated connection is closed. Clients check theirs every few seconds. Also the
/// time within which a client must take what it is sent.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a frame of an unauthenticated connection. A longer one closes it.
const MAX_UNAUTHENTICATED_FRAME_BYTES: usize = 1024;
/// Bytes that wait to be sent on one connection. Past it, datagrams are dropped.
const MAX_QUEUED_BYTES: usize = 256 * 1024;
/// Bytes that wait to be sent on all connections. Past it, datagrams are dropped.
const MAX_TOTAL_QUEUED_BYTES: usize = 32 * 1024 * 1024;
/// Frames and new connections that wait for the media thread. Past it, the connections are not read.
const MAX_EVENTS: usize = 64;
/// Time without accepting connections after that failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The addresses of a connection's two ends, ours first.
type AddressPair = (SocketAddr, SocketAddr);

pub(crate) struct Tcp {
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    /// An event that was taken while waiting.
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

/// A connection. Dropped, it is closed.
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

/// A datagram that waits to be sent. It counts until it is dropped.
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

    /// Accepts connections at an address.
    pub(crate) fn listen(&mut self, address: SocketAddr, listener: TcpListener) {
        let task = tokio::spawn(accept(listener, address, self.sender.clone()));
        self.listeners.insert(address, task.abort_handle());
    }

    pub(crate) fn listens(&self, address: SocketAddr) -> bool {
        self.listeners.contains_key(&address)
    }

    /// Closes the listeners at addresses that are not kept.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(SocketAddr) -> bool) {
        self.listeners.retain(|address, task| {
            let is_kept = is_kept(*address);
            if !is_kept {
                task.abort();
            }
            is_kept
        });
    }

    /// Ready once something has come.
    pub(crate) fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.pending.is_none() {
            let Poll::Ready(event) = self.events.poll_recv(context) else { return Poll::Pending };
            self.pending = event;
        }
        Poll::Ready(())
    }

    /// A frame that has come already.
    pub(crate) fn receive(&mut self) -> Option<ReceivedDatagram> {
        // This ends: what comes is put there by other tasks, which do not run meanwhile.
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

    /// Sends a datagram, or drops it where too much waits already: what gets lost is asked for again.
    pub(crate) fn send(&mut self, addresses: AddressPair, datagram: &[u8]) {
        let Some(connection) = self.connections.get(&addresses) else { return };
        let counters = [connection.queued.clone(), self.queued.clone()];
        let fits = |counter: &AtomicUsize, max| counter.load(Ordering::Relaxed) + datagram.len() <= max;
        if !fits(&counters[0], MAX_QUEUED_BYTES) || !fits(&counters[1], MAX_TOTAL_QUEUED_BYTES) {
            return;
        }
        for counter in &counters {
            counter.fetch_add(datagram.len(), Ordering::Relaxed);
        }
        // Where the connection has ended meanwhile, it is lost.
        let _ = connection.frames.send(Queued { bytes: datagram.to_vec(), counters });
    }

    /// Notes that a participant has shown that a connection is its own.
    pub(crate) fn authenticate(&mut self, addresses: AddressPair, participant: SessionId) {
        let own = Some(participant);
        let Some(connection) = self.connections.get_mut(&addresses).filter(|connection| connection.participant != own)
        else {
            return;
        };
        connection.participant = own;
        connection.is_authenticated.store(true, Ordering::Relaxed);
        if self.connections.values().filter(|connection| connection.participant == own).count() > MAX_PER_PARTICIPANT {
            self.close_idlest(|connection| connection.participant == own);
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
            self.close_idlest(is_unauthenticated);
        } else if self.connections.len() >= MAX_CONNECTIONS {
            let mut counts: HashMap<Option<SessionId>, usize> = HashMap::new();
            for connection in self.connections.values() {
                *counts.entry(connection.participant).or_default() += 1;
            }
            let busiest = counts.into_iter().max_by_key(|(_, count)| *count).map(|(participant, _)| participant);
            self.close_idlest(|connection| Some(connection.participant) == busiest);
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

    fn close_idlest(&mut self, is_meant: impl Fn(&Connection) -> bool) {
        let meant = self.connections.iter().filter(|(_, connection)| is_meant(connection));
        let idlest = meant.min_by_key(|(_, connection)| connection.last_used).map(|(addresses, _)| *addresses);
        idlest.map(|addresses| self.connections.remove(&addresses));
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

/// Carries frames until either side has ended the connection.
async fn run(
    mut stream: TcpStream,
    (id, addresses): (u64, AddressPair),
    outgoing: mpsc::UnboundedReceiver<Queued>,
    is_authenticated: Arc<AtomicBool>,
    events: mpsc::Sender<Event>,
) {
    // Without it, small packets would wait for others.
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
            // It may have been authenticated while this has waited.
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

/// Takes a frame's datagram, once it is there as a whole.
///
/// # Errors
/// If it is longer than `max` bytes.
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
    /// The head of a STUN message without attributes.
    const STUN: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    /// The server's side, and where it listens.
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

    /// A connection that has shown a STUN message.
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
    async fn a_connection_that_sends_no_small_stun_messages_first_is_closed_at_once() {
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
    async fn a_connection_that_nobody_owns_is_closed_after_a_while_and_one_with_an_owner_is_not() {
        let (mut tcp, address) = listen().await;
        let (mut owned, addresses) = connect(&mut tcp, address).await;
        tcp.authenticate(addresses, 1);
        let (mut stranger, _) = connect(&mut tcp, address).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        is_closed(&mut tcp, &mut stranger).await;
        is_closed(&mut tcp, &mut silent).await;
        owned.write_all(&framed(b"anything")).await.unwrap();
        assert_eq!(next(&mut tcp).await.bytes, b"anything");
        tcp.send(addresses, b"an answer");
        let mut answer = [0; 11];
        timeout(PATIENCE, owned.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer[..], framed(b"an answer"));
        tcp.remove(1);
        is_closed(&mut tcp, &mut owned).await;
    }

    #[tokio::test]
    async fn many_connections_that_nobody_owns_close_the_idlest_of_them_and_no_other() {
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
    async fn a_participant_with_too_many_connections_loses_its_own_idlest() {
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
    async fn what_a_client_does_not_take_is_dropped_past_a_bound() {
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
    fn frames_come_out_as_they_are_complete() {
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

//! A client's socket: what it reads counts, who takes nothing of its answer is given up, and who still speaks is heard out
//! at the end.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::body::SMALL_BYTES;
use crate::shared::Shared;

/// The most bytes that are read at once. hyper would ask for more and more, and keep what it has asked for: so much for
/// each connection, idle or not.
const MAX_READ_BYTES: usize = 8 * 1024;

/// Maximum bytes that are read in one turn; then other connections get theirs.
const TURN_BYTES: usize = 64 * 1024;

/// State of a connection, shared by its socket, its request handler and the limit of open connections.
pub(super) struct Progress {
    /// Counts when a request's head has come, and again when it is answered.
    steps: AtomicU64,
    large: AtomicBool,
    upgraded: AtomicBool,
    authenticated: AtomicBool,
    /// The number of the last activity, among those of all connections.
    last_active: AtomicU64,
    activities: Arc<AtomicU64>,
}

impl Progress {
    /// `activities` counts those of all connections.
    pub(super) fn new(activities: Arc<AtomicU64>) -> Self {
        let last_active = activities.fetch_add(1, Ordering::Relaxed).into();
        Self {
            steps: AtomicU64::default(),
            large: AtomicBool::default(),
            upgraded: AtomicBool::default(),
            authenticated: AtomicBool::default(),
            last_active,
            activities,
        }
    }

    pub(super) fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.note_activity();
    }

    /// The client has sent something, or taken something of its answer.
    fn note_activity(&self) {
        self.last_active.store(self.activities.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The client has shown a good token.
    pub(super) fn authenticate(&self) {
        self.authenticated.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated.load(Ordering::Relaxed)
    }

    /// When something was last sent on the connection, either way, among the activities of all.
    pub(super) fn last_active(&self) -> u64 {
        self.last_active.load(Ordering::Relaxed)
    }

    /// What comes from now on are no requests.
    pub(super) fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    /// Whether there was a head whose memory is given back only with the connection.
    pub(super) fn is_large(&self) -> bool {
        self.large.load(Ordering::Relaxed)
    }
}

pub(super) struct Socket {
    stream: TcpStream,
    shared: Arc<Shared>,
    /// Runs while the client takes nothing.
    write_timeout: Option<Pin<Box<Sleep>>>,
    /// Runs once the last answer is sent.
    linger: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    stop: CancellationToken,
    progress: Arc<Progress>,
    /// How much was read since which step.
    read: (u64, usize),
    /// Whether those bytes contained a space; in a head, it ends the method.
    has_space: bool,
    /// How much was read in this turn.
    read_in_turn: usize,
    /// What large heads take of the memory for all.
    share: Option<OwnedSemaphorePermit>,
}

impl Socket {
    pub(super) fn new(
        stream: TcpStream,
        shared: Arc<Shared>,
        progress: Arc<Progress>,
        stop: CancellationToken,
    ) -> Self {
        // Without it, small answers wait for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            shared,
            write_timeout: None,
            linger: None,
            stop,
            progress,
            read: (0, 0),
            has_space: false,
            read_in_turn: 0,
            share: None,
        }
    }

    /// Counts the bytes read. A large head is charged to the shared memory; a body is charged by the code that keeps it. In a method
    /// of that length, an invalid byte is inserted: hyper then answers 400 instead of parsing it byte by byte.
    fn count(&mut self, part: &mut [u8]) -> io::Result<()> {
        if self.progress.upgraded.load(Ordering::Relaxed) {
            self.share = None;
            return Ok(());
        }
        let step = self.progress.steps.load(Ordering::Relaxed);
        let is_head = step.is_multiple_of(2);
        if self.read.0 != step {
            self.read = (step, 0);
            self.has_space = false;
        }
        let before = self.read.1;
        self.read.1 += part.len();
        self.has_space |= is_head && part.contains(&b' ');
        let large = self.read.1.saturating_sub(SMALL_BYTES.max(before));
        if large == 0 || !is_head {
            return Ok(());
        }
        if let (false, Some(first)) = (self.has_space, part.first_mut()) {
            *first = 0;
        }
        self.progress.large.store(true, Ordering::Relaxed);
        // What token it brings is not known yet.
        let more = self.shared.reserve(large, false).ok_or(io::ErrorKind::OutOfMemory)?;
        match &mut self.share {
            Some(share) => share.merge(more),
            None => self.share = Some(more),
        }
        Ok(())
    }

    fn watch<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timeout = None;
            self.progress.note_activity();
            return written;
        }
        let write_timeout = self.write_timeout.get_or_insert_with(|| Box::pin(sleep(self.shared.limits.write_timeout)));
        write_timeout.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read_in_turn >= TURN_BYTES {
            self.read_in_turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = into.remaining().min(MAX_READ_BYTES);
        let mut part = ReadBuf::new(into.initialize_unfilled_to(most));
        let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, &mut part) else {
            self.read_in_turn = 0;
            return Poll::Pending;
        };
        read?;
        let counted = self.count(part.filled_mut());
        let bytes = part.filled().len();
        into.advance(bytes);
        self.read_in_turn += bytes;
        self.progress.note_activity();
        Poll::Ready(counted)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watch(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Says that nothing more is said, and lets the client finish. Were the socket closed while something of the client's
    /// is unread, the system would take back the last answer, too.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            let (stop, most) = (self.stop.clone(), self.shared.limits.header_timeout);
            self.linger = Some(Box::pin(async move { drop(timeout(most, stop.cancelled()).await) }));
        }
        if self.linger.as_mut().is_none_or(|linger| linger.as_mut().poll(context).is_ready()) {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut scrap = [0; 4096];
            let mut scrap = ReadBuf::new(&mut scrap);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut scrap))?;
            if scrap.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

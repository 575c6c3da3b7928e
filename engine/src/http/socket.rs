//! A client's TCP stream with a read budget, a write timeout and a lingering close.

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

/// Maximum bytes of one read. hyper would grow its read buffer to fit larger reads, and keep it for each idle connection.
const MAX_READ_BYTES: usize = 8 * 1024;

/// Maximum bytes to read before the task yields to other connections.
const TURN_BYTES: usize = 64 * 1024;

/// State of a connection, shared by its socket, its request handler and the limit of open connections.
pub(super) struct Progress {
    /// Incremented when a request's head is complete, and when its response is ready. Even while a head is being read.
    steps: AtomicU64,
    large: AtomicBool,
    upgraded: AtomicBool,
    authenticated: AtomicBool,
    /// Sequence number of the last activity, among those of all connections.
    last_active: AtomicU64,
    activities: Arc<AtomicU64>,
}

impl Progress {
    /// `activities` is the counter of all connections.
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

    /// Marks the connection as active: bytes were read or written.
    fn note_activity(&self) {
        self.last_active.store(self.activities.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Marks the connection as authenticated by a valid token.
    pub(super) fn authenticate(&self) {
        self.authenticated.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated.load(Ordering::Relaxed)
    }

    /// Sequence number of the last activity. The longest idle connection has the lowest one.
    pub(super) fn last_active(&self) -> u64 {
        self.last_active.load(Ordering::Relaxed)
    }

    /// Marks the connection as upgraded: bytes read from now on are not requests.
    pub(super) fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    /// Whether a large head was read, whose memory hyper frees only with the connection.
    pub(super) fn is_large(&self) -> bool {
        self.large.load(Ordering::Relaxed)
    }
}

pub(super) struct Socket {
    stream: TcpStream,
    shared: Arc<Shared>,
    /// Runs while a write is pending.
    write_timeout: Option<Pin<Box<Sleep>>>,
    /// Runs after the last response was sent.
    linger: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    stop: CancellationToken,
    progress: Arc<Progress>,
    /// Current step, and the bytes read in it.
    read: (u64, usize),
    /// Whether these bytes contain a space, which ends the method.
    has_space: bool,
    /// Bytes read since the task last yielded.
    read_in_turn: usize,
    /// Reservation for a large head.
    share: Option<OwnedSemaphorePermit>,
}

impl Socket {
    pub(super) fn new(
        stream: TcpStream,
        shared: Arc<Shared>,
        progress: Arc<Progress>,
        stop: CancellationToken,
    ) -> Self {
        // Nagle's algorithm would delay small responses until the client's acknowledgement.
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

    /// Counts bytes that were read. Reserves shared memory for a large head; [`body`](super::body) does so for bodies. If the
    /// method alone is large, replaces a byte by an invalid one, so that hyper responds with 400 instead of parsing the method
    /// again with each read.
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
        // Without the budget of a token, which is unknown until the head is complete.
        let more = self.shared.reserve(large, false).ok_or(io::ErrorKind::OutOfMemory)?;
        match &mut self.share {
            Some(share) => share.merge(more),
            None => self.share = Some(more),
        }
        Ok(())
    }

    fn with_timeout<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
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
        let max_bytes = into.remaining().min(MAX_READ_BYTES);
        let mut part = ReadBuf::new(into.initialize_unfilled_to(max_bytes));
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
        self.with_timeout(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.with_timeout(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Shuts down the sending half, then reads until the client closes or the header timeout has passed. If the socket were
    /// closed with unread bytes, the system would reset the connection, and the client could lose the last response.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            let (stop, max_time) = (self.stop.clone(), self.shared.limits.header_timeout);
            self.linger = Some(Box::pin(async move { drop(timeout(max_time, stop.cancelled()).await) }));
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

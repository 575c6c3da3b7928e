use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use rand::Rng as _;
use rand::distr::Alphanumeric;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::token::Keys;
use crate::budget::Budget;
use crate::clock::Now;
use crate::config::{Config, Limits, Port, StartError};
use crate::http;
use crate::registry::rooms::Rooms;
use crate::session::{MediaEngine, OutgoingBudget};
use crate::work::{self, Work};

/// How many connections get a turn before sockets and the media thread's messages are looked at again. With tokio's 61, few
/// busy connections make all others wait for that many of their turns.
const TURNS_PER_POLL: u32 = 4;

/// A running server on a thread of its own. Dropped, it ends by itself.
#[derive(Debug)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    address: SocketAddr,
    stop: CancellationToken,
    /// Cancelled once nothing is left to wait for.
    ended: CancellationToken,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the handle and the server's thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    rooms: Mutex<Rooms>,
    pub(crate) media: MediaEngine,
    /// The clients' signalling connections.
    pub(crate) signalling: TaskTracker,
    pub(crate) keys: Keys,
    /// Whether one of the keys is known to everybody.
    pub(crate) has_well_known_key: bool,
    pub(crate) limits: Limits,
    /// A permit for each byte of the large requests of callers, and one for each of strangers.
    request_bytes: Arc<Semaphore>,
    unauthenticated_bytes: Arc<Semaphore>,
    /// The bytes of large answers that their clients have still to take.
    pub(crate) response_bytes: Arc<AtomicUsize>,
    /// Memory of clients' messages that are incomplete or not decoded yet.
    pub(crate) incomplete: Arc<Budget>,
    /// Memory of messages that wait for clients.
    pub(crate) outgoing: Arc<OutgoingBudget>,
    pub(crate) work: Work,
}

impl Shared {
    /// Uses the rooms. No lock outlives the call.
    pub(crate) fn rooms<T>(&self, work: impl FnOnce(&mut Rooms, Now) -> T) -> T {
        // A panic in one room's step leaves the others as they were.
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = work(&mut rooms, Now::read());
        if rooms.has_evicted() {
            self.media.wake();
        }
        outcome
    }

    /// A part of the memory for large requests; `None` if there is not so much left. Whoever has shown no token that is good
    /// for something takes nothing from those who have, nor they from them.
    pub(crate) fn reserve(&self, bytes: usize, has_token: bool) -> Option<OwnedSemaphorePermit> {
        let memory = if has_token { &self.request_bytes } else { &self.unauthenticated_bytes };
        memory.clone().try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }
}

impl Engine {
    /// Starts a server, which listens when this returns.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn start(config: &Config<'_>) -> Result<Self, StartError> {
        if config.keys.iter().any(|(key, secret)| key.is_empty() || secret.is_empty()) {
            return Err(StartError::EmptyKey);
        }
        let listener = listen(config.host, config.port).map_err(StartError::Listen)?;
        let address = listener.local_addr().map_err(StartError::Listen)?;
        listener.set_nonblocking(true).map_err(StartError::Listen)?;
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let media = MediaEngine::new(config.rtc.clone(), stop.clone()).map_err(StartError::Media)?;
        let shared = Arc::new(Shared {
            rooms: Mutex::new(Rooms::new(new_name())),
            media,
            signalling: TaskTracker::new(),
            keys: Keys::new(config.keys.iter().copied()),
            has_well_known_key: config.keys.contains(&http::WELL_KNOWN_PAIR),
            limits: config.limits,
            request_bytes: Arc::new(Semaphore::new(config.limits.request_bytes)),
            unauthenticated_bytes: Arc::new(Semaphore::new(config.limits.request_bytes / 2)),
            response_bytes: Arc::default(),
            incomplete: Budget::new(config.limits.incomplete_bytes),
            outgoing: OutgoingBudget::new(config.limits.outgoing_bytes),
            work: Work::new(config.limits.decoded_bytes),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(TURNS_PER_POLL)
            .global_queue_interval(TURNS_PER_POLL)
            .thread_name("maravilla-work")
            .max_blocking_threads(work::MAX_THREADS)
            .build()
            .map_err(StartError::Thread)?;
        let server = {
            let (shared, stop, ended) = (shared.clone(), stop.clone(), ended.clone().drop_guard());
            move || {
                runtime.block_on(http::serve(listener, &shared, &stop));
                drop((runtime, shared));
                drop(ended);
            }
        };
        let thread = Builder::new().name("maravilla-engine".into()).spawn(server).map_err(StartError::Thread)?;
        Ok(Self { shared, address, stop, ended, thread: Mutex::new(Some(thread)) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Uses the rooms, without HTTP and at once. `work` must be short: the server waits for it.
    pub fn rooms<T>(&self, work: impl FnOnce(&mut Rooms, Now) -> T) -> T {
        self.shared.rooms(work)
    }

    /// Ends the server: when this resolves its rooms are closed, and its port and thread are free.
    pub async fn close(&self) {
        self.stop.cancel();
        self.ended.cancelled().await;
        // All that is left to it is to return; had it panicked, it would be gone just the same. Whoever else closes waits
        // at the lock.
        let _ = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take().map(JoinHandle::join);
        self.shared.media.join_thread();
        self.rooms(|rooms, _| rooms.clear());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn listen(host: IpAddr, port: Port) -> io::Result<TcpListener> {
    match port {
        Port::Exactly(port) => TcpListener::bind((host, port)),
        Port::Any => TcpListener::bind((host, 0)),
        Port::From(first) => {
            let taken =
                |error: &io::Error| matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied);
            let mut tried = (first..=u16::MAX).map(|port| TcpListener::bind((host, port)));
            let found = tried.find(|outcome| !outcome.as_ref().is_err_and(taken));
            found.unwrap_or_else(|| TcpListener::bind((host, 0)))
        }
    }
}

/// Tells the engines apart whose tokens may meet, such as one process and the next under the same key.
fn new_name() -> String {
    rand::rng().sample_iter(Alphanumeric).take(12).map(char::from).collect()
}

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use rand::Rng as _;
use rand::distr::Alphanumeric;
use tokio_util::sync::CancellationToken;

use crate::auth::token::Keys;
use crate::clock::Now;
use crate::config::{Config, Port, StartError};
use crate::http;
use crate::registry::rooms::Rooms;
use crate::services::Services;
use crate::shared::Shared;
use crate::webhooks::Webhooks;
use crate::work;

/// Number of tasks that run between two polls of the sockets and of the media thread's messages. With tokio's default of 61,
/// a few busy connections would delay all others by that many runs.
const TURNS_PER_POLL: u32 = 4;

/// A running media server, with a thread of its own. Dropping it stops the server without waiting.
#[derive(Debug)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    address: SocketAddr,
    stop: CancellationToken,
    /// Cancelled when the server's thread has nothing left to do.
    ended: CancellationToken,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Starts a server. It accepts connections when this returns.
    ///
    /// # Errors
    /// [`StartError`] if a key is empty, or a port or thread is not available.
    pub fn start(config: &Config<'_>) -> Result<Self, StartError> {
        if config.keys.iter().any(|(key, secret)| key.is_empty() || secret.is_empty()) {
            return Err(StartError::EmptyKey);
        }
        let listener = listen(config.host, config.port).map_err(StartError::Listen)?;
        let address = listener.local_addr().map_err(StartError::Listen)?;
        listener.set_nonblocking(true).map_err(StartError::Listen)?;
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let mut rooms = Rooms::new(new_name());
        let webhooks = match (&config.webhooks, config.keys.first()) {
            (Some(webhooks), Some(key)) => {
                rooms.record_events();
                Some(Webhooks::start(webhooks, *key, stop.clone()).map_err(StartError::Thread)?)
            }
            _ => None,
        };
        let keys = Keys::new(config.keys.iter().copied());
        let services = Arc::new(Services::new(rooms, keys, config.limits, webhooks));
        let has_well_known_key = config.keys.contains(&http::WELL_KNOWN_PAIR);
        let shared = Shared::new(services, config.rtc.clone(), has_well_known_key, stop.clone());
        let shared = Arc::new(shared.map_err(StartError::Media)?);
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

    /// The address and port that the server listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accesses the rooms directly. HTTP and media threads wait while `work` runs, so it should take microseconds: take a
    /// snapshot and process it afterwards.
    pub fn rooms<T>(&self, work: impl FnOnce(&mut Rooms, Now) -> T) -> T {
        self.shared.rooms(work)
    }

    /// Stops the server. When this resolves, its rooms are closed, and its ports and threads are released.
    pub async fn close(&self) {
        self.stop.cancel();
        self.ended.cancelled().await;
        // The thread is about to return, or has panicked, which ends it as well. Concurrent calls wait for the lock.
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

/// A random name for the epoch claims, so that an engine recognizes its own tokens. Two processes may use the same API key.
fn new_name() -> String {
    rand::rng().sample_iter(Alphanumeric).take(12).map(char::from).collect()
}

//! Connections: how many, how long, and how they end.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{self, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::answer;
use super::routes;
use crate::engine::Shared;
use crate::rooms::Rooms;

/// The most connections at once: one more ends the one that has been idle for longest.
const MOST_CONNECTIONS: usize = 1024;
/// The most bytes of a request's head, as Go's servers have it.
const MOST_HEAD_BYTES: usize = 1024 * 1024;
/// The longest time from one request's end to the end of the next one's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest time that requests under way are waited for at the end.
const END_TIMEOUT: Duration = Duration::from_millis(500);
/// How often rooms are looked at whose time may be over.
const TICK: Duration = Duration::from_secs(1);

/// Serves until `stop`. When this resolves, every socket is closed.
pub(crate) async fn serve(listener: std::net::TcpListener, shared: &Arc<Shared>, stop: &CancellationToken) {
    // Fails only if the runtime is shutting down.
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let mut connections = Connections::default();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = connections.tasks.join_next_with_id() => connections.forget(ended),
            accepted = listener.accept(), if connections.has_place() => match accepted {
                Ok((socket, _)) => connections.start(socket, shared.clone(), stop.clone()),
                // Such as too many open files: to ask again at once would only burn time.
                Err(_) => sleep(Duration::from_millis(100)).await,
            },
            _ = tick.tick() => shared.rooms(Rooms::sweep),
        }
    }
    drop(listener);
    connections.end().await;
}

#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    open: HashMap<task::Id, Connection>,
    started: u64,
}

struct Connection {
    number: u64,
    /// A request has come whole and is being answered.
    busy: Arc<AtomicBool>,
    evicted: CancellationToken,
}

impl Connections {
    /// Makes room for one more, if need be.
    fn has_place(&mut self) -> bool {
        if self.open.len() < MOST_CONNECTIONS {
            return true;
        }
        let idle = self.open.iter().filter(|(_, connection)| !connection.busy.load(Ordering::Relaxed));
        let Some(id) = idle.min_by_key(|(_, connection)| connection.number).map(|(id, _)| *id) else { return false };
        if let Some(connection) = self.open.remove(&id) {
            connection.evicted.cancel();
        }
        true
    }

    fn start(&mut self, socket: TcpStream, shared: Arc<Shared>, stop: CancellationToken) {
        self.started += 1;
        let (busy, evicted) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let connection = Connection { number: self.started, busy: busy.clone(), evicted: evicted.clone() };
        let task = self.tasks.spawn(async move {
            tokio::select! {
                () = attend(socket, shared, &busy, &stop) => (),
                () = evicted.cancelled() => (),
            }
        });
        self.open.insert(task.id(), connection);
    }

    fn forget(&mut self, ended: Result<(task::Id, ()), task::JoinError>) {
        let id = ended.map_or_else(|failed| failed.id(), |(id, ())| id);
        self.open.remove(&id);
    }

    async fn end(mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(END_TIMEOUT, all).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

/// Answers what one client asks, request after request.
async fn attend(socket: TcpStream, shared: Arc<Shared>, busy: &AtomicBool, stop: &CancellationToken) {
    // Without it, small answers wait for the client's acknowledgement.
    let _ = socket.set_nodelay(true);
    let service = service_fn(|request| {
        let shared = shared.clone();
        async move {
            let answering = AssertUnwindSafe(routes::answer(&shared, request, busy)).catch_unwind();
            let answer = answering.await.unwrap_or_else(|_| answer::broken());
            busy.store(false, Ordering::Relaxed);
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MOST_HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    // How a connection ends is the client's affair: there is nobody to tell.
    let _ = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}

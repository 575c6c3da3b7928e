//! HTTP connections: accepting, limiting and closing them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::StatusCode;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{self, JoinSet, yield_now};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::response;
use super::routes;
use super::socket::{Progress, Socket};
use crate::registry::rooms::Rooms;
use crate::shared::Shared;

/// Maximum bytes of a request head, the default of Go's servers. Past it, the response is 431.
const MAX_HEAD_BYTES: usize = 1024 * 1024;
/// Maximum number of headers of a request. Past it, the response is 431.
const MAX_HEADERS: usize = 1024;
/// Time for requests in progress, and then for signalling connections, when the engine closes. Past it, they are dropped.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);
/// Pause after accepting a connection failed, because a retry at once would fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Interval between checks for expired rooms.
const TICK: Duration = Duration::from_secs(1);

/// Accepts and serves connections until `stop`. When this resolves, all sockets are closed.
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
            accepted = listener.accept() => {
                // Other errors, such as `EMFILE`, mean that resources are short.
                let is_short = accepted.as_ref().is_err_and(|error| error.kind() != ErrorKind::ConnectionAborted);
                if is_short || connections.open.len() >= shared.limits.connections {
                    connections.end_idlest(shared.limits.connections);
                }
                match accepted {
                    Ok((socket, _)) => connections.start(socket, shared.clone(), stop.clone()),
                    Err(_) if is_short => drop(timeout(ACCEPT_PAUSE, stop.cancelled()).await),
                    Err(_) => (),
                }
            }
            // A panic must not end the server.
            _ = tick.tick() => drop(catch_unwind(AssertUnwindSafe(|| shared.rooms(Rooms::sweep)))),
        }
    }
    drop(listener);
    connections.end().await;
    shared.signalling.close();
    // They send `LeaveRequest` and close.
    let _ = timeout(SHUTDOWN_TIMEOUT, shared.signalling.wait()).await;
}

#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    open: HashMap<task::Id, Connection>,
    activities: Arc<AtomicU64>,
}

struct Connection {
    progress: Arc<Progress>,
    evicted: CancellationToken,
}

impl Connections {
    /// Closes the longest idle connection. If connections without a valid token take half of `max` or more, it is one of these;
    /// otherwise, one with a valid token.
    fn end_idlest(&mut self, max: usize) {
        let of_kind = |authenticated| {
            let kind = self.open.iter().filter(move |(_, open)| open.progress.is_authenticated() == authenticated);
            kind.min_by_key(|(_, open)| open.progress.last_active())
        };
        let unauthenticated = self.open.values().filter(|open| !open.progress.is_authenticated()).count();
        let has_many_unauthenticated = unauthenticated >= max / 2;
        let idlest = of_kind(!has_many_unauthenticated).or_else(|| of_kind(has_many_unauthenticated));
        if let Some(id) = idlest.map(|(id, _)| *id)
            && let Some(connection) = self.open.remove(&id)
        {
            connection.evicted.cancel();
        }
    }

    fn start(&mut self, socket: TcpStream, shared: Arc<Shared>, stop: CancellationToken) {
        let progress = Arc::new(Progress::new(self.activities.clone()));
        let evicted = CancellationToken::new();
        let connection = Connection { progress: progress.clone(), evicted: evicted.clone() };
        let task = self.tasks.spawn(async move {
            tokio::select! {
                () = serve_connection(socket, shared, progress, &stop) => (),
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
        if timeout(SHUTDOWN_TIMEOUT, all).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

/// Serves the requests of one connection.
async fn serve_connection(socket: TcpStream, shared: Arc<Shared>, progress: Arc<Progress>, stop: &CancellationToken) {
    let socket = Socket::new(socket, shared.clone(), progress.clone(), stop.clone());
    let service = service_fn(|request| {
        progress.step();
        let (shared, progress) = (shared.clone(), progress.clone());
        async move {
            // Pipelined requests alternate with those of other connections.
            yield_now().await;
            let handling = AssertUnwindSafe(routes::handle(&shared, &progress, request)).catch_unwind();
            let mut response = handling.await.unwrap_or_else(|_| response::broken());
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                progress.upgrade();
            } else if progress.is_large() {
                // hyper keeps its read buffer until the connection is closed.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            progress.step();
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.header_timeout)
        // Some clients shut down their sending half before they read the response.
        .half_close(true)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), service)
        // After an upgrade, a task of its own serves the WebSocket.
        .with_upgrades();
    let mut connection = pin!(connection);
    // Errors on a connection are the client's; there is nothing to do about them.
    let _ = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}

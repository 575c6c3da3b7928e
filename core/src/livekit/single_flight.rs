//! Calls that change one room run one at a time, in order of arrival; concurrent creations of a room share one request.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use super::LiveKitConfig;
use super::twirp::CallContext;
use crate::Room;
use crate::provider::{Call, Outcome, PendingCall};

/// A room of one server, as one API key sees it. The map is the process's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) account: Arc<LiveKitConfig>,
    pub(super) room: String,
}

type Request = Shared<BoxFuture<'static, Outcome<Room>>>;

/// A creation that later calls can join: until the promise of its last caller has settled, or it has failed.
struct Flight {
    /// Weak, because the request is cancelled when its last caller has left.
    request: WeakShared<BoxFuture<'static, Outcome<Room>>>,
    request_id: String,
}

impl Flight {
    fn join(&self) -> Option<(Request, String)> {
        let request = self.request.upgrade()?;
        let failed = request.peek().is_some_and(Result::is_err);
        (!failed).then(|| (request, self.request_id.clone()))
    }
}

#[derive(Default)]
struct Entry {
    /// Fair: calls lock it in order of arrival.
    turn: Arc<tokio::sync::Mutex<()>>,
    flight: Option<Flight>,
    /// Number of [`EntryGuard`]s; the last one removes the entry.
    guards: usize,
}

static ROOMS: LazyLock<Mutex<HashMap<Key, Entry>>> = LazyLock::new(Mutex::default);

fn rooms() -> MutexGuard<'static, HashMap<Key, Entry>> {
    ROOMS.lock().unwrap_or_else(PoisonError::into_inner)
}

struct EntryGuard(Key);

impl EntryGuard {
    fn new(key: &Key, entry: &mut Entry) -> Self {
        entry.guards += 1;
        Self(key.clone())
    }
}

impl Drop for EntryGuard {
    fn drop(&mut self) {
        let mut rooms = rooms();
        let Some(entry) = rooms.get_mut(&self.0) else { return };
        entry.guards -= 1;
        if entry.guards == 0 {
            rooms.remove(&self.0);
        }
    }
}

/// Sends a creation, or joins the one in flight. Each caller has its own deadline; the request has none, and is cancelled
/// when its last caller leaves.
pub(super) fn create<F>(key: &Key, context: CallContext, request: impl FnOnce(CallContext) -> F) -> Call<Room>
where
    F: Future<Output = Outcome<Room>> + Send + 'static,
{
    let mut rooms = rooms();
    let entry = rooms.entry(key.clone()).or_default();
    let joined = entry.flight.as_ref().and_then(Flight::join);
    let (request, request_id) = joined.unwrap_or_else(|| {
        let request_id = context.request_id.clone();
        let request = in_turn(key, entry, request(context)).boxed().shared();
        entry.flight = request.downgrade().map(|request| Flight { request, request_id: request_id.clone() });
        (request, request_id)
    });
    // On the runtime's thread the request can end while a thread is still making calls. They join it nevertheless,
    // because it is kept until the first promise has settled.
    let keep_alive = Box::new((request.clone(), EntryGuard::new(key, entry)));
    Call::Pending(PendingCall { future: request.boxed(), request_id: Some(request_id), keep_alive: Some(keep_alive) })
}

/// Runs `request` after the calls for this room that came before. Later creations do not join earlier ones.
pub(super) fn exclusive<T, R>(key: &Key, request: R) -> impl Future<Output = Outcome<T>> + Send + use<T, R>
where
    R: Future<Output = Outcome<T>> + Send + 'static,
{
    let mut rooms = rooms();
    let entry = rooms.entry(key.clone()).or_default();
    entry.flight = None;
    in_turn(key, entry, request)
}

fn in_turn<T, R>(key: &Key, entry: &mut Entry, request: R) -> impl Future<Output = Outcome<T>> + Send + use<T, R>
where
    R: Future<Output = Outcome<T>> + Send + 'static,
{
    let guard = EntryGuard::new(key, entry);
    // The first poll takes the place in the queue, which is thus in the order of the calls, not of their tasks.
    let mut turn = Box::pin(entry.turn.clone().lock_owned());
    let locked = turn.as_mut().now_or_never();
    async move {
        let _guard = guard;
        let _locked = match locked {
            Some(locked) => locked,
            None => turn.await,
        };
        request.await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::{Notify, oneshot};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{Deadline, KeepAlive, MediaError, Secret};

    fn key(room: &str) -> Key {
        let account =
            LiveKitConfig { url: None, api_url: None, api_key: "key".into(), api_secret: Secret::new("secret".into()) };
        Key { account: Arc::new(account), room: room.into() }
    }

    fn room() -> Room {
        Room { name: "r".into(), num_participants: 0, max_participants: 0, created_at: 1, active: true }
    }

    fn creation<F>(room: &str, request: impl FnOnce() -> F) -> PendingCall<Room>
    where
        F: Future<Output = Outcome<Room>> + Send + 'static,
    {
        match create(&key(room), CallContext::new(deadline()), |_| request()) {
            Call::Pending(call) => call,
            Call::Ready(_) => panic!("a creation has to wait"),
        }
    }

    fn deadline() -> Deadline {
        Deadline::after(Duration::from_secs(10))
    }

    async fn run(call: PendingCall<Room>) -> (Outcome<Room>, Option<KeepAlive>) {
        call.run(deadline(), CancellationToken::new()).await
    }

    #[tokio::test]
    async fn a_thousand_concurrent_creations_send_one_request() {
        let requests = Arc::new(AtomicUsize::new(0));
        let open = Arc::new(Notify::new());
        let callers: Vec<_> = (0..1000)
            .map(|_| {
                let (requests, open) = (requests.clone(), open.clone());
                creation("shared", || async move {
                    requests.fetch_add(1, Ordering::SeqCst);
                    open.notified().await;
                    Ok(room())
                })
            })
            .collect();
        open.notify_one();
        for (outcome, _) in futures_util::future::join_all(callers.into_iter().map(run)).await {
            assert_eq!(outcome, Ok(room()));
        }
        assert_eq!(requests.load(Ordering::SeqCst), 1);
        assert!(!rooms().contains_key(&key("shared")), "the entry is removed after the last call");
    }

    #[tokio::test]
    async fn the_request_is_cancelled_when_its_last_caller_leaves() {
        let (dropped, ended) = oneshot::channel::<()>();
        let first = creation("left", || async move {
            let _dropped = dropped;
            std::future::pending().await
        });
        let second = creation("left", || async { panic!("the second caller shares the first one's request") });
        let mut first = tokio::spawn(run(first));
        let second = tokio::spawn(run(second));
        tokio::task::yield_now().await;
        second.abort();
        assert!(second.await.is_err());
        assert!((&mut first).now_or_never().is_none(), "the request continues for the other caller");
        first.abort();
        assert!(ended.await.is_err(), "the request is dropped");
    }

    #[tokio::test]
    async fn joins_an_answered_request_until_its_promise_has_settled() {
        let (outcome, keep_alive) = run(creation("answered", || async { Ok(room()) })).await;
        assert_eq!(outcome, Ok(room()));
        let (joined, _) = run(creation("answered", || async { panic!("the answer is there") })).await;
        assert_eq!(joined, Ok(room()));
        drop(keep_alive);
        let (later, _) = run(creation("answered", || async { Err(MediaError::Internal) })).await;
        assert_eq!(later, Err(MediaError::Internal), "a later call sends a new request");
    }

    #[tokio::test]
    async fn does_not_join_a_failed_request() {
        let failed = creation("failed", || async { Err(MediaError::Internal) });
        let joined = creation("failed", || async { panic!("the second caller shares the first one's request") });
        assert_eq!(run(failed).await.0, Err(MediaError::Internal));
        let (later, _) = run(creation("failed", || async { Ok(room()) })).await;
        assert_eq!(later, Ok(room()));
        assert_eq!(run(joined).await.0, Err(MediaError::Internal));
    }

    #[tokio::test]
    async fn a_request_outlives_the_deadline_of_its_first_caller() {
        let (answer, answered) = oneshot::channel::<()>();
        let hasty =
            creation("patient", || async move { answered.await.map(|()| room()).map_err(|_| MediaError::Internal) });
        let patient = creation("patient", || async { panic!("the second caller shares the first one's request") });
        let (hasty, _) = hasty.run(Deadline::after(Duration::from_millis(10)), CancellationToken::new()).await;
        assert!(matches!(hasty, Err(MediaError::TimedOut { .. })), "{hasty:?}");
        answer.send(()).unwrap();
        assert_eq!(run(patient).await.0, Ok(room()));
    }

    /// Polls the calls in the opposite order, as a runtime may.
    #[tokio::test]
    async fn create_and_delete_of_one_room_do_not_overlap_and_run_in_order() {
        let inside = Arc::new(AtomicUsize::new(0));
        let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
        let step = |name: &'static str| {
            let (inside, report) = (inside.clone(), report.clone());
            async move {
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "{name} overlaps");
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                report.send(name).unwrap();
            }
        };
        let created = |name| creation("turns", || step(name).map(|()| Ok(room())));
        let first = created("create 1");
        let delete = exclusive(&key("turns"), step("delete").map(|()| Ok(())));
        let second = created("create 2");
        let (second, deleted, first) = tokio::join!(run(second), delete, run(first));
        assert!(first.0.is_ok() && deleted.is_ok() && second.0.is_ok());
        drop(report);
        let mut order = Vec::new();
        while let Some(name) = reports.recv().await {
            order.push(name);
        }
        assert_eq!(order, ["create 1", "delete", "create 2"]);
    }
}

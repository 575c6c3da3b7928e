//! Who may speak to the server about a room, and when: calls that change one room never overlap, and those that create
//! it share one request.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, Shared, WeakShared};

use super::LiveKitConfig;
use crate::{Deadline, MediaError, Room, Work};

/// A room of one server, as one key sees it. The process has one map for all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) account: Arc<LiveKitConfig>,
    pub(super) room: String,
}

type Request = BoxFuture<'static, Result<Room, MediaError>>;

/// How long after its end a creation can be joined, by a caller who called while others were not told of that end yet.
/// It bounds how old an answer can be where a thread is too busy to be told, or is gone.
const JOINABLE: Duration = Duration::from_secs(1);

/// A creation that callers may join: until the last of those who wait for it has been told its outcome.
struct Creation {
    request: WeakShared<Request>,
    deadline: Deadline,
    ended: Arc<OnceLock<Instant>>,
}

impl Creation {
    fn join(&self, deadline: &Deadline) -> Option<Shared<Request>> {
        let request = self.request.upgrade()?;
        let is_old = self.ended.get().is_some_and(|ended| ended.elapsed() > JOINABLE);
        // A failure is for those who waited for it.
        if is_old || request.peek().is_some_and(Result::is_err) {
            return None;
        }
        self.deadline.extend_to(deadline);
        Some(request)
    }
}

#[derive(Default)]
struct Entry {
    /// Fair: who asked first goes first.
    turn: Arc<tokio::sync::Mutex<()>>,
    creation: Option<Creation>,
    /// Calls that hold this entry.
    users: usize,
}

static ROOMS: LazyLock<Mutex<HashMap<Key, Entry>>> = LazyLock::new(Mutex::default);

fn rooms() -> MutexGuard<'static, HashMap<Key, Entry>> {
    ROOMS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call's hold on an entry, which goes with the last of them.
struct Hold(Key);

impl Hold {
    fn on(key: &Key, entry: &mut Entry) -> Self {
        entry.users += 1;
        Self(key.clone())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut rooms = rooms();
        let Some(entry) = rooms.get_mut(&self.0) else { return };
        entry.users -= 1;
        if entry.users == 0 {
            rooms.remove(&self.0);
        }
    }
}

/// Creates a room in its turn, or joins a creation under way. The shared request lives as long as any caller waits for
/// it, and may take as long as the most patient of them.
pub(super) fn create<F>(key: &Key, deadline: &Deadline, request: impl FnOnce(Deadline) -> F) -> Work<Room>
where
    F: Future<Output = Result<Room, MediaError>> + Send + 'static,
{
    let mut rooms = rooms();
    let entry = rooms.entry(key.clone()).or_default();
    if let Some(request) = entry.creation.as_ref().and_then(|creation| creation.join(deadline)) {
        let until_told = (request.clone(), Hold::on(key, entry));
        // The request is under way on the runtime's thread, and must not go on from the caller's.
        let future = async move {
            tokio::task::yield_now().await;
            request.await
        };
        return Work { future: Either::Right(future.boxed()), until_told: Some(Box::new(until_told)) };
    }
    let own = deadline.detached();
    let ended = Arc::new(OnceLock::new());
    let work = in_turn(key, entry, request(own.clone()));
    let end = ended.clone();
    let mark_end = move |_: &_| {
        end.get_or_init(Instant::now);
    };
    let request = work.future.inspect(mark_end).boxed().shared();
    entry.creation = request.downgrade().map(|request| Creation { request, deadline: own, ended });
    let until_told = (request.clone(), Hold::on(key, entry));
    Work { future: Either::Right(request.boxed()), until_told: Some(Box::new(until_told)) }
}

/// Runs `work` in the room's turn. A creation asked for later is a new one, after it.
pub(super) fn alone<T: Send + 'static>(
    key: &Key,
    work: impl Future<Output = Result<T, MediaError>> + Send + 'static,
) -> Work<T> {
    let mut rooms = rooms();
    let entry = rooms.entry(key.clone()).or_default();
    entry.creation = None;
    in_turn(key, entry, work)
}

fn in_turn<T: Send + 'static>(
    key: &Key,
    entry: &mut Entry,
    work: impl Future<Output = Result<T, MediaError>> + Send + 'static,
) -> Work<T> {
    let hold = Hold::on(key, entry);
    let turn = entry.turn.clone();
    Work::new(async move {
        let _hold = hold;
        let _turn = turn.lock().await;
        work.await
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::{Notify, oneshot};

    use super::*;
    use crate::Secret;

    fn key(room: &str) -> Key {
        let account =
            LiveKitConfig { url: None, api_url: None, api_key: "key".into(), api_secret: Secret::new("secret".into()) };
        Key { account: Arc::new(account), room: room.into() }
    }

    fn room() -> Room {
        Room { name: "r".into(), num_participants: 0, max_participants: 0, created_at: 1, active: true }
    }

    fn deadline() -> Deadline {
        Deadline::after(Duration::from_secs(10))
    }

    #[tokio::test]
    async fn a_thousand_creations_are_one_request() {
        let requests = Arc::new(AtomicUsize::new(0));
        let open = Arc::new(Notify::new());
        let callers: Vec<_> = (0..1000)
            .map(|_| {
                let (requests, open) = (requests.clone(), open.clone());
                create(&key("shared"), &deadline(), |_| async move {
                    requests.fetch_add(1, Ordering::SeqCst);
                    open.notified().await;
                    Ok(room())
                })
            })
            .collect();
        open.notify_one();
        for outcome in futures_util::future::join_all(callers).await {
            assert_eq!(outcome, Ok(room()));
        }
        assert_eq!(requests.load(Ordering::SeqCst), 1);
        assert!(!rooms().contains_key(&key("shared")), "nothing is kept of a room nobody speaks of");
    }

    #[tokio::test]
    async fn the_request_ends_only_when_all_callers_have_left() {
        let (dropped, ended) = oneshot::channel::<()>();
        let first = create(&key("left"), &deadline(), |_| async move {
            let _dropped = dropped;
            std::future::pending().await
        });
        let second =
            create(&key("left"), &deadline(), |_| async { panic!("the second caller shares the first's request") });
        let mut first = tokio::spawn(first);
        let second = tokio::spawn(second);
        tokio::task::yield_now().await;
        second.abort();
        assert!(second.await.is_err());
        assert!((&mut first).now_or_never().is_none(), "the other caller still waits");
        first.abort();
        assert!(ended.await.is_err(), "the request went with its last caller");
    }

    #[tokio::test]
    async fn whoever_calls_before_the_others_are_told_shares_their_request() {
        let answered = create(&key("told"), &deadline(), |_| async { Ok(room()) });
        let Work { future, until_told } = answered;
        assert_eq!(future.await, Ok(room()));
        let joined = create(&key("told"), &deadline(), |_| async { panic!("the answer is there") });
        assert_eq!(joined.await, Ok(room()));
        drop(until_told);
        let later = create(&key("told"), &deadline(), |_| async { Err(MediaError::Internal) });
        assert_eq!(later.await, Err(MediaError::Internal), "a later call asks the server anew");
    }

    #[tokio::test]
    async fn a_caller_who_joins_does_not_carry_the_request_on_from_its_own_thread() {
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = polls.clone();
        let mut first = create(&key("thread"), &deadline(), |_| {
            std::future::poll_fn(move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                std::task::Poll::Pending
            })
        });
        assert!((&mut first).now_or_never().is_none());
        let mut joined = create(&key("thread"), &deadline(), |_| async { unreachable!() });
        assert!((&mut joined).now_or_never().is_none());
        assert_eq!(polls.load(Ordering::SeqCst), 1, "only the first caller has polled");
        assert!((&mut joined).now_or_never().is_none());
        assert_eq!(polls.load(Ordering::SeqCst), 2, "the runtime polls for those who joined");
    }

    #[tokio::test]
    async fn a_failure_is_for_those_who_waited_for_it() {
        let Work { future, until_told } = create(&key("failed"), &deadline(), |_| async { Err(MediaError::Internal) });
        assert_eq!(future.await, Err(MediaError::Internal));
        let later = create(&key("failed"), &deadline(), |_| async { Ok(room()) });
        assert_eq!(later.await, Ok(room()));
        drop(until_told);
    }

    #[tokio::test]
    async fn a_patient_caller_gives_the_shared_request_more_time() {
        let (tell, told) = oneshot::channel();
        let hasty = create(&key("patient"), &Deadline::after(Duration::from_secs(1)), |own| async move {
            tell.send(own).unwrap();
            std::future::pending().await
        });
        let hasty = tokio::spawn(hasty);
        let own = told.await.unwrap();
        let _patient = create(&key("patient"), &Deadline::after(Duration::from_secs(9)), |_| async { unreachable!() });
        assert!(own.budget() >= Duration::from_secs(9));
        hasty.abort();
    }

    #[tokio::test]
    async fn create_and_delete_of_one_room_never_overlap_and_keep_their_order() {
        let inside = Arc::new(AtomicUsize::new(0));
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let step = |name: &'static str| {
            let (inside, tell) = (inside.clone(), tell.clone());
            async move {
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "{name} overlaps");
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                tell.send(name).unwrap();
            }
        };
        let created = |name| create(&key("turns"), &deadline(), |_| step(name).map(|()| Ok(room())));
        let first = created("create 1");
        let delete = alone(&key("turns"), step("delete").map(|()| Ok(())));
        let second = created("create 2");
        let (first, delete, second) = tokio::join!(first, delete, second);
        assert!(first.is_ok() && delete.is_ok() && second.is_ok());
        drop(tell);
        let mut order = Vec::new();
        while let Some(name) = told.recv().await {
            order.push(name);
        }
        assert_eq!(order, ["create 1", "delete", "create 2"]);
    }
}

//! Cancellation of calls: by id, because an `AbortSignal` cannot leave its thread, and by the end of the calling thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use napi::{Env, Result};
use tokio_util::sync::CancellationToken;

static NEXT: AtomicU32 = AtomicU32::new(1);
static CALLS: LazyLock<Mutex<HashMap<u32, CancellationToken>>> = LazyLock::new(Mutex::default);

/// Returns a new id, unique in the process.
pub(super) fn create() -> u32 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

thread_local! {
    /// Cancelled when this thread's environment ends, because no promise of its calls can settle any more.
    static ENVIRONMENT: RefCell<Option<CancellationToken>> = const { RefCell::new(None) };
}

/// A pending call; it can be cancelled until this is dropped.
pub(super) struct Cancellable {
    id: Option<u32>,
    pub(super) cancelled: CancellationToken,
}

impl Cancellable {
    /// A call of this environment; with an id it can be cancelled by [`cancel`].
    pub(super) fn new(env: Env, id: Option<u32>) -> Result<Self> {
        let environment = environment(env)?;
        let Some(id) = id else { return Ok(Self { id: None, cancelled: environment }) };
        let cancelled = environment.child_token();
        calls().insert(id, cancelled.clone());
        Ok(Self { id: Some(id), cancelled })
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            calls().remove(&id);
        }
    }
}

fn environment(env: Env) -> Result<CancellationToken> {
    let known = ENVIRONMENT.with_borrow(Clone::clone).filter(|known| !known.is_cancelled());
    if let Some(known) = known {
        return Ok(known);
    }
    let ended = CancellationToken::new();
    // Node runs the hook outside of any function, so that nothing else catches a panic of a waker.
    env.add_env_cleanup_hook(ended.clone(), |ended| {
        let _ = catch_unwind(AssertUnwindSafe(|| ended.cancel()));
    })?;
    ENVIRONMENT.set(Some(ended.clone()));
    Ok(ended)
}

/// Cancels the call with that id if it is pending.
pub(super) fn cancel(id: u32) {
    if let Some(cancelled) = calls().get(&id) {
        cancelled.cancel();
    }
}

fn calls() -> MutexGuard<'static, HashMap<u32, CancellationToken>> {
    CALLS.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What ends a call early: its `AbortSignal`, known here by a number, since a signal cannot leave its thread; and the end
//! of the thread that made it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use napi::{Env, Result};
use tokio_util::sync::CancellationToken;

static NEXT: AtomicU32 = AtomicU32::new(1);
static CALLS: LazyLock<Mutex<HashMap<u32, CancellationToken>>> = LazyLock::new(Mutex::default);

/// A number of its own for one call, in all threads of the process.
pub(super) fn create() -> u32 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

thread_local! {
    /// Cancelled when this thread's environment ends: nobody is left to be told, so that its calls only hold places.
    static ENVIRONMENT: RefCell<Option<CancellationToken>> = const { RefCell::new(None) };
}

/// A call under way; it can be cancelled until this is dropped.
pub(super) struct Cancellable {
    call: Option<u32>,
    pub(super) cancelled: CancellationToken,
}

impl Cancellable {
    /// A call of this environment; of that number, if it can be cancelled by itself.
    pub(super) fn new(env: Env, call: Option<u32>) -> Result<Self> {
        let environment = environment(env)?;
        let Some(call) = call else { return Ok(Self { call: None, cancelled: environment }) };
        let cancelled = environment.child_token();
        calls().insert(call, cancelled.clone());
        Ok(Self { call: Some(call), cancelled })
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            calls().remove(&call);
        }
    }
}

fn environment(env: Env) -> Result<CancellationToken> {
    let known = ENVIRONMENT.with_borrow(Clone::clone).filter(|known| !known.is_cancelled());
    if let Some(known) = known {
        return Ok(known);
    }
    let ended = CancellationToken::new();
    // Node calls the hook outside of any function, so that nothing else catches a panic of a waker.
    env.add_env_cleanup_hook(ended.clone(), |ended| {
        let _ = catch_unwind(AssertUnwindSafe(|| ended.cancel()));
    })?;
    ENVIRONMENT.set(Some(ended.clone()));
    Ok(ended)
}

/// Cancels the call of that number, if it is still under way.
pub(super) fn cancel(call: u32) {
    if let Some(cancelled) = calls().get(&call) {
        cancelled.cancel();
    }
}

fn calls() -> MutexGuard<'static, HashMap<u32, CancellationToken>> {
    CALLS.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Calls that can be cancelled, by number: an `AbortSignal` cannot leave its thread.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

static NEXT: AtomicU32 = AtomicU32::new(1);
static CALLS: LazyLock<Mutex<HashMap<u32, CancellationToken>>> = LazyLock::new(Mutex::default);

/// A number of its own for one call, in all threads of the process.
pub(super) fn create() -> u32 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A call under way; it can be cancelled until this is dropped.
pub(super) struct Cancellable {
    call: u32,
    pub(super) cancelled: CancellationToken,
}

impl Cancellable {
    pub(super) fn new(call: u32) -> Self {
        let cancelled = CancellationToken::new();
        calls().insert(call, cancelled.clone());
        Self { call, cancelled }
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        calls().remove(&self.call);
    }
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

//! Decoding and encoding that would block the HTTP thread.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Maximum bytes that the HTTP thread processes itself, in about 100 µs; more go to a worker thread. Decoded messages up to
/// this size need no memory reservation. Nearly all messages are shorter.
pub(crate) const SHORT_BYTES: usize = 64 * 1024;

/// Origin of a piece of work. Each kind has a worker thread of its own, so that no kind waits for another.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Messages from and to participants.
    Signal,
    /// Calls of the server API.
    Call,
    /// Requests whose token is not verified yet.
    Unauthenticated,
}

/// Maximum number of worker threads: one per [`Kind`].
pub(crate) const MAX_THREADS: usize = 3;

/// The worker threads.
#[derive(Debug)]
pub(crate) struct Work {
    permits: [Arc<Semaphore>; MAX_THREADS],
}

impl Default for Work {
    fn default() -> Self {
        Self { permits: std::array::from_fn(|_| Arc::new(Semaphore::new(1))) }
    }
}

impl Work {
    /// Runs `work`, which processes `bytes` bytes: up to [`SHORT_BYTES`] on this thread, else on the worker thread of its
    /// kind. `None` if it panicked, or if the engine is closing.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        kind: Kind,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if bytes <= SHORT_BYTES {
            return Some(work());
        }
        let permit = self.permits[kind as usize].clone().acquire_owned().await.ok()?;
        // The closure holds the permit, because it runs to its end even if this future is dropped.
        let work = move || {
            let done = work();
            drop(permit);
            done
        };
        spawn_blocking(work).await.ok()
    }
}

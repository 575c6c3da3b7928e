//! Work that would hold up the HTTP thread, and the memory for what it decodes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

/// Up to so many bytes are worked on at once: some 100 µs. Messages that take no more memory need no permit for it, which
/// holds for nearly all that clients send.
pub(crate) const SHORT_BYTES: usize = 64 * 1024;

/// Who waits for the work. Each kind has a thread of its own, so that none waits for another.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A participant.
    Signal,
    /// A caller of the server API.
    Call,
    /// A client that has shown no token that is good for something.
    Unauthenticated,
}

/// How many threads there are at most for work.
pub(crate) const MAX_THREADS: usize = 3;

#[derive(Debug)]
pub(crate) struct Work {
    turns: [Arc<Semaphore>; MAX_THREADS],
    memory: Arc<Semaphore>,
    max_memory: u32,
}

/// Memory of a decoded message, until it is dealt with.
#[derive(Debug)]
pub(crate) struct Memory {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Work {
    /// `max_memory`: the bytes that all decoded messages may take together.
    pub(crate) fn new(max_memory: usize) -> Self {
        let max_memory = u32::try_from(max_memory.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let memory = Arc::new(Semaphore::new(max_memory as usize));
        Self { turns: std::array::from_fn(|_| Arc::new(Semaphore::new(1))), memory, max_memory }
    }

    /// Does work on that many bytes: at once if that takes no time, else on another thread, when it is its turn. `None` if
    /// it panicked, or the engine ends.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        kind: Kind,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if bytes <= SHORT_BYTES {
            return Some(work());
        }
        let turn = self.turns[kind as usize].clone().acquire_owned().await.ok()?;
        // The turn lasts until the work is done, even if nobody waits for it any more.
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        spawn_blocking(work).await.ok()
    }

    /// Memory for a decoded message. Waits while others that are decoded and not dealt with take too much.
    pub(crate) async fn memory(&self, bytes: usize) -> Memory {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.max_memory);
        let permit =
            if bytes <= SHORT_BYTES { None } else { self.memory.clone().acquire_many_owned(permits).await.ok() };
        Memory { _permit: permit }
    }
}

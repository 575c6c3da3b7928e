//! Bound of the memory of events that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Maximum memory of the events that wait for all receivers, in bytes. Past it, new events are dropped.
const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;

/// Memory of an event, until it was sent to all receivers.
pub(super) struct Reservation {
    bytes: usize,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Reservation {
    /// Reserves memory; `None` if too much is in use.
    pub(super) fn new(waiting_bytes: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
        let before = waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let reserved = Self { bytes, waiting_bytes: waiting_bytes.clone() };
        (before + bytes <= MAX_WAITING_BYTES).then_some(reserved)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.waiting_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

//! Bound of the memory of events that wait, with a fair share for each room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that one room may hold even if all memory is in use.
const MIN_ROOM_BYTES: usize = 16 * 1024;
/// One room may hold this part of the free memory. Past it, its new events are dropped; a room that holds nothing may exceed it
/// with one event.
const ROOM_SHARE_DIVISOR: usize = 4;

/// Memory with fair shares.
pub(super) struct Budget {
    max_bytes: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used_bytes: usize,
    /// Bytes of each room that holds any.
    held: HashMap<Arc<str>, usize>,
}

/// Memory of one event. Dropping it returns the memory to the budget.
pub(super) struct Reservation {
    budget: Arc<Budget>,
    room: Arc<str>,
    bytes: usize,
}

impl Budget {
    /// A budget of `max_bytes`. Past it, rooms have [`MIN_ROOM_BYTES`] each.
    pub(super) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { max_bytes, state: Mutex::default() })
    }

    /// Reserves memory for an event; `None` if too much is in use.
    pub(super) fn reserve(self: &Arc<Self>, room: &Arc<str>, bytes: usize) -> Option<Reservation> {
        let mut state = self.state();
        let held = state.held.get(room).copied().unwrap_or_default();
        let free = self.max_bytes.saturating_sub(state.used_bytes);
        let has_share = held == 0 || held + bytes <= free / ROOM_SHARE_DIVISOR;
        let fits = has_share && bytes <= free;
        if !fits && held + bytes > MIN_ROOM_BYTES {
            return None;
        }
        state.used_bytes += bytes;
        *state.held.entry(room.clone()).or_default() += bytes;
        Some(Reservation { budget: self.clone(), room: room.clone(), bytes })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.used_bytes -= self.bytes;
        if let Some(held) = state.held.get_mut(&self.room) {
            *held -= self.bytes;
            if *held == 0 {
                state.held.remove(&self.room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn fill(budget: &Arc<Budget>, room: &str, bytes: usize) -> Vec<Reservation> {
        std::iter::from_fn(|| budget.reserve(&room.into(), bytes)).collect()
    }

    #[test]
    fn a_room_takes_at_most_a_quarter_of_the_free_memory() {
        let budget = Budget::new(16 * MIB);
        let first = fill(&budget, "a", MIB / 2);
        assert_eq!(first.len(), 6, "7 would be more than a quarter of the 13 MiB that are free");
        assert_eq!(fill(&budget, "b", MIB / 2).len(), 5, "of 13 MiB, the rooms share the rest in the same way");
        drop(first);
        assert_eq!(fill(&budget, "a", MIB / 2).len(), 6, "what is dropped is free again");
        assert!(budget.state().held.is_empty() && budget.state().used_bytes == 0);
    }

    #[test]
    fn a_room_has_its_minimum_when_all_memory_is_in_use() {
        let budget = Budget::new(MIB);
        let _all = budget.reserve(&"a".into(), MIB).unwrap();
        assert_eq!(fill(&budget, "a", 1024).len(), 0);
        assert_eq!(fill(&budget, "b", 1024).len(), MIN_ROOM_BYTES / 1024);
    }
}

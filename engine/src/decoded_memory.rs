//! Memory of decoded messages that are not handled yet, shared fairly by the participants that sent them.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::work::SHORT_BYTES;

/// Bytes that one sender may hold even if all memory is in use.
const MIN_SENDER_BYTES: usize = 256 * 1024;
/// One sender may hold this part of all memory. Past it, its next message waits; a sender that holds nothing may exceed it
/// with one message.
const SENDER_SHARE_DIVISOR: usize = 4;

/// Sender of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Sender {
    /// All clients of the server API together.
    ServerApi,
    /// A hash of room and identity.
    Participant(u64),
}

/// A pool of memory with fair shares.
#[derive(Debug)]
pub(crate) struct DecodedMemory {
    max_bytes: usize,
    state: Mutex<State>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct State {
    used_bytes: usize,
    /// Bytes of each sender that holds any.
    held: HashMap<Sender, usize>,
    /// In order of arrival.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    sender: Sender,
    bytes: usize,
    granted: oneshot::Sender<Memory>,
}

/// Memory of one decoded message. Dropping it returns the memory to the pool.
#[derive(Debug)]
pub(crate) struct Memory {
    /// `None` for a short message.
    reserved: Option<(Arc<DecodedMemory>, Sender, usize)>,
}

impl DecodedMemory {
    /// A pool of `max_bytes`. Past it, senders have [`MIN_SENDER_BYTES`] each.
    pub(crate) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { max_bytes, state: Mutex::default(), hasher: RandomState::new() })
    }

    /// The sender of a participant's messages, over all its connections.
    pub(crate) fn participant(&self, room: &str, identity: &str) -> Sender {
        Sender::Participant(self.hasher.hash_one((room, identity)))
    }

    /// Reserves memory for a message. Waits while there is not enough, in order of arrival, except that a sender past its
    /// share delays only itself. Messages of up to [`SHORT_BYTES`] need no reservation.
    pub(crate) async fn reserve(self: &Arc<Self>, sender: Sender, bytes: usize) -> Memory {
        if bytes <= SHORT_BYTES {
            return Memory { reserved: None };
        }
        let (granted, grant) = oneshot::channel();
        self.state().waiting.push_back(Waiting { sender, bytes: bytes.min(self.max_bytes), granted });
        self.grant();
        // Every reservation is granted at some time: each sender that holds memory returns it.
        grant.await.unwrap_or(Memory { reserved: None })
    }

    /// Grants all waiting reservations that fit.
    fn grant(self: &Arc<Self>) {
        let mut state = self.state();
        let mut granted = Vec::new();
        let mut is_pool_exhausted = false;
        for waiting in std::mem::take(&mut state.waiting) {
            let Waiting { sender, bytes, .. } = waiting;
            let held = state.held.get(&sender).copied().unwrap_or_default();
            let has_share = held == 0 || held + bytes <= self.max_bytes / SENDER_SHARE_DIVISOR;
            let fits = has_share && !is_pool_exhausted && state.used_bytes + bytes <= self.max_bytes;
            if waiting.granted.is_closed() {
                continue;
            }
            if fits || held + bytes <= MIN_SENDER_BYTES {
                state.used_bytes += bytes;
                *state.held.entry(sender).or_default() += bytes;
                granted.push((waiting.granted, Memory { reserved: Some((self.clone(), sender, bytes)) }));
            } else {
                // Later reservations do not overtake one that waits for the pool.
                is_pool_exhausted |= has_share;
                state.waiting.push_back(waiting);
            }
        }
        drop(state);
        for (waiting, memory) in granted {
            // If the receiver is gone, dropping the memory returns it.
            let _ = waiting.send(memory);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let Some((pool, sender, bytes)) = self.reserved.take() else { return };
        let mut state = pool.state();
        state.used_bytes -= bytes;
        if let Some(held) = state.held.get_mut(&sender) {
            *held -= bytes;
            if *held == 0 {
                state.held.remove(&sender);
            }
        }
        drop(state);
        pool.grant();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const MIB: usize = 1024 * 1024;
    const MAX: usize = 64 * MIB;

    fn now(pool: &Arc<DecodedMemory>, sender: Sender, bytes: usize) -> Option<Memory> {
        pool.reserve(sender, bytes).now_or_never()
    }

    #[test]
    fn a_participant_with_many_large_messages_does_not_delay_another_one() {
        let pool = DecodedMemory::new(MAX);
        let (ann, ben) = (pool.participant("r", "ann"), pool.participant("r", "ben"));
        let first = now(&pool, ann, MAX / 4).unwrap();
        let mut waiting: Vec<_> = (0..10).map(|_| Box::pin(pool.reserve(ann, MAX / 4))).collect();
        assert!(waiting.iter_mut().all(|next| next.now_or_never().is_none()), "ann has used its share");
        assert!(now(&pool, ben, MAX / 4).is_some());
        drop(first);
        let granted: Vec<_> = waiting.iter_mut().filter_map(FutureExt::now_or_never).collect();
        assert_eq!(granted.len(), 1);
    }

    #[test]
    fn a_message_within_the_minimum_is_granted_while_all_memory_is_in_use() {
        let pool = DecodedMemory::new(MAX);
        let holders: Vec<_> = (0..4).map(|number| now(&pool, Sender::Participant(number), MAX / 4).unwrap()).collect();
        let ann = pool.participant("r", "ann");
        let small = now(&pool, ann, MIN_SENDER_BYTES - SHORT_BYTES).unwrap();
        let mut large = Box::pin(pool.reserve(ann, MIN_SENDER_BYTES));
        assert!(large.as_mut().now_or_never().is_none());
        drop(holders);
        assert!(large.as_mut().now_or_never().is_some());
        drop((small, large));
        let state = pool.state();
        assert!(state.used_bytes == 0 && state.held.is_empty());
    }

    #[test]
    fn later_messages_do_not_overtake_one_that_waits_for_the_pool() {
        let pool = DecodedMemory::new(MAX);
        let sender = Sender::Participant;
        let mut holders: Vec<_> = (0..4).map(|number| now(&pool, sender(number), 15 * MIB).unwrap()).collect();
        let mut large = Box::pin(pool.reserve(sender(4), 16 * MIB));
        assert!(large.as_mut().now_or_never().is_none());
        let mut later = Box::pin(pool.reserve(sender(5), MIB));
        assert!(later.as_mut().now_or_never().is_none());
        holders.pop();
        let large = large.as_mut().now_or_never().unwrap();
        assert!(later.as_mut().now_or_never().is_some());
        drop(large);
    }

    #[test]
    fn a_message_larger_than_the_share_is_granted_to_a_sender_that_holds_nothing() {
        let pool = DecodedMemory::new(MAX);
        assert!(now(&pool, Sender::ServerApi, MAX / 2).is_some());
        assert!(now(&pool, Sender::ServerApi, 2 * MAX).is_some(), "limited to all memory there is");
    }

    #[test]
    fn a_cancelled_reservation_takes_no_memory() {
        let pool = DecodedMemory::new(MAX);
        let sender = Sender::Participant(0);
        let first = now(&pool, sender, MAX).unwrap();
        let mut cancelled = Box::pin(pool.reserve(sender, MAX));
        assert!(cancelled.as_mut().now_or_never().is_none());
        let mut granted_unread = Box::pin(pool.reserve(Sender::ServerApi, MAX));
        assert!(granted_unread.as_mut().now_or_never().is_none());
        drop((cancelled, first, granted_unread));
        assert!(now(&pool, Sender::Participant(1), MAX).is_some());
    }
}

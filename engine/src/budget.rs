//! A memory budget that many connections share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// A budget of bytes. When it is exceeded, the oldest shares are revoked: a slow client loses its memory to fast ones.
#[derive(Debug)]
pub(crate) struct Budget {
    max_bytes: usize,
    shares: Mutex<Shares>,
}

#[derive(Debug, Default)]
struct Shares {
    held_bytes: usize,
    /// By id, so oldest first.
    holders: BTreeMap<u64, Holder>,
    next_id: u64,
}

#[derive(Debug)]
struct Holder {
    bytes: usize,
    revoked: CancellationToken,
}

/// Part of a [`Budget`]. Dropping it returns its bytes.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    id: u64,
    revoked: CancellationToken,
}

impl Budget {
    pub(crate) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { max_bytes, shares: Mutex::default() })
    }

    /// Creates an empty share. Its age counts from now on.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        let revoked = CancellationToken::new();
        let mut shares = self.shares();
        let id = shares.next_id;
        shares.next_id += 1;
        shares.holders.insert(id, Holder { bytes: 0, revoked: revoked.clone() });
        drop(shares);
        Share { budget: self.clone(), id, revoked }
    }

    fn shares(&self) -> MutexGuard<'_, Shares> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Adds bytes to the share, and revokes the oldest shares while the budget is exceeded. `false` if this share is revoked.
    pub(crate) fn grow(&self, bytes: usize) -> bool {
        let mut shares = self.budget.shares();
        let Some(holder) = shares.holders.get_mut(&self.id) else { return false };
        holder.bytes += bytes;
        shares.held_bytes += bytes;
        while shares.held_bytes > self.budget.max_bytes
            && let Some((id, oldest)) = shares.holders.pop_first()
        {
            shares.held_bytes -= oldest.bytes;
            oldest.revoked.cancel();
            if id == self.id {
                return false;
            }
        }
        true
    }

    /// Cancelled when this share is revoked.
    pub(crate) fn revocation(&self) -> CancellationToken {
        self.revoked.clone()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shares = self.budget.shares();
        if let Some(holder) = shares.holders.remove(&self.id) {
            shares.held_bytes -= holder.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revokes_the_oldest_share_when_a_newer_one_exceeds_the_budget() {
        let budget = Budget::new(100);
        let (first, second, third) = (budget.share(), budget.share(), budget.share());
        assert!(second.grow(40) && first.grow(40) && third.grow(20));
        assert!(third.grow(10));
        assert!(first.revoked.is_cancelled() && !second.revoked.is_cancelled());
        assert!(!first.grow(1));
        assert!(third.grow(30), "the bytes of the first share are free");
        assert!(!second.revoked.is_cancelled());
    }

    #[test]
    fn revokes_the_oldest_share_when_it_exceeds_the_budget_itself() {
        let budget = Budget::new(100);
        let (first, second) = (budget.share(), budget.share());
        assert!(first.grow(50) && second.grow(50));
        assert!(!first.grow(1));
        assert!(first.revoked.is_cancelled() && !second.revoked.is_cancelled());
        assert!(second.grow(50));
        assert!(!second.grow(1), "a share cannot exceed the whole budget");
    }

    #[test]
    fn returns_the_bytes_of_a_dropped_share() {
        let budget = Budget::new(100);
        let first = budget.share();
        assert!(first.grow(100));
        drop(first);
        let second = budget.share();
        assert!(second.grow(100));
        assert_eq!(budget.shares().holders.len(), 1);
    }
}

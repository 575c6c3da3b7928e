//! A token bucket.

use std::time::{Duration, Instant};

/// A token bucket that counts in time: what costs `c` may happen once in `c`, and so often at once as fits into the
/// capacity. Besides its capacity it stores only when it is full again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenBucket {
    capacity: Duration,
    full_at: Instant,
}

impl TokenBucket {
    /// A full one.
    pub(crate) fn new(capacity: Duration, now: Instant) -> Self {
        Self { capacity, full_at: now }
    }

    /// Whether there is enough for something that costs so much.
    pub(crate) fn has(&self, cost: Duration, now: Instant) -> bool {
        self.full_at.max(now) + cost <= now + self.capacity
    }

    /// Takes so much, and leaves a debt where there is not enough.
    pub(crate) fn take(&mut self, cost: Duration, now: Instant) {
        self.full_at = self.full_at.max(now) + cost;
    }

    /// When there is no debt any more.
    pub(crate) fn ready_at(&self) -> Instant {
        self.full_at.checked_sub(self.capacity).unwrap_or(self.full_at)
    }

    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: Duration = Duration::from_secs(1);
    const CAPACITY: Duration = Duration::from_secs(3);

    #[test]
    fn a_burst_is_as_large_as_the_capacity_and_then_comes_one_per_interval() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(CAPACITY, start);
        let mut taken = |now| {
            let has = bucket.has(COST, now);
            if has {
                bucket.take(COST, now);
            }
            has
        };
        assert_eq!([start; 4].map(&mut taken), [true, true, true, false]);
        assert_eq!([start + COST; 2].map(&mut taken), [true, false]);
        assert_eq!([start + COST * 100; 4].map(&mut taken), [true, true, true, false]);
    }

    #[test]
    fn a_debt_is_paid_before_the_bucket_is_ready_and_all_before_it_is_full() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(CAPACITY, now);
        assert!(bucket.ready_at() <= now && bucket.is_full(now));
        bucket.take(COST * 10, now);
        assert_eq!(bucket.ready_at(), now + COST * 7);
        assert!(!bucket.is_full(now + COST * 9) && bucket.is_full(now + COST * 10));
    }
}

//! A token bucket.

use std::time::{Duration, Instant};

/// A token bucket whose tokens are time: a step of cost `c` may be taken once per `c` on average, and `capacity / c` times in a
/// burst. The only state is the time at which the bucket is full again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenBucket {
    capacity: Duration,
    full_at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn new(capacity: Duration, now: Instant) -> Self {
        Self { capacity, full_at: now }
    }

    /// Whether the bucket holds enough tokens for `cost`.
    pub(crate) fn has(&self, cost: Duration, now: Instant) -> bool {
        self.full_at.max(now) + cost <= now + self.capacity
    }

    /// Takes tokens. If the bucket does not hold enough, the rest is a debt.
    pub(crate) fn take(&mut self, cost: Duration, now: Instant) {
        self.full_at = self.full_at.max(now) + cost;
    }

    /// The time at which any debt is paid off.
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
    fn allows_a_burst_of_the_capacity_then_one_step_per_interval() {
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
    fn is_ready_once_its_debt_is_paid_and_full_later() {
        let now = Instant::now();
        let mut bucket = TokenBucket::new(CAPACITY, now);
        assert!(bucket.ready_at() <= now && bucket.is_full(now));
        bucket.take(COST * 10, now);
        assert_eq!(bucket.ready_at(), now + COST * 7);
        assert!(!bucket.is_full(now + COST * 9) && bucket.is_full(now + COST * 10));
    }
}

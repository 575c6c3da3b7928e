//! A token bucket.

use std::time::{Duration, Instant};

/// A token bucket that counts in time: what costs `c` may happen once in `c`, and so often at once as fits into the
/// capacity. All it stores is when it is full again.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenBucket {
    full_at: Instant,
}

impl TokenBucket {
    /// Full.
    pub(super) fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Whether something that costs so much fits.
    pub(super) fn has(&self, cost: Duration, capacity: Duration, now: Instant) -> bool {
        self.full_at.max(now) + cost <= now + capacity
    }

    /// Takes so much, and leaves a debt where there is not enough.
    pub(super) fn take(&mut self, cost: Duration, now: Instant) {
        self.full_at = self.full_at.max(now) + cost;
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
        let mut bucket = TokenBucket::new(start);
        let mut taken = |now| {
            let has = bucket.has(COST, CAPACITY, now);
            if has {
                bucket.take(COST, now);
            }
            has
        };
        assert_eq!([start; 4].map(&mut taken), [true, true, true, false]);
        assert_eq!([start + COST; 2].map(&mut taken), [true, false]);
        assert_eq!([start + COST * 100; 4].map(&mut taken), [true, true, true, false]);
    }
}

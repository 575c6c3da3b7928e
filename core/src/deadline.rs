use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// When a call must be over. Clones share it, so that callers who join a call can extend it.
#[derive(Debug)]
pub struct Deadline {
    started: Instant,
    first: Instant,
    /// Made when it is first shared: calls that wait for nothing are over before.
    shared: OnceLock<Arc<Mutex<Instant>>>,
}

impl Clone for Deadline {
    fn clone(&self) -> Self {
        Self { started: self.started, first: self.first, shared: self.shared().clone().into() }
    }
}

impl Deadline {
    /// A deadline `budget` from now.
    #[must_use]
    pub fn after(budget: Duration) -> Self {
        let started = Instant::now();
        Self { started, first: started + budget, shared: OnceLock::new() }
    }

    /// A deadline of its own that begins as `self` stands now.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { started: self.started, first: self.at(), shared: OnceLock::new() }
    }

    /// Moves the deadline to that of `other`, if that is later.
    pub fn extend_to(&self, other: &Self) {
        let later = other.at();
        let mut at = self.shared().lock().unwrap_or_else(PoisonError::into_inner);
        *at = later.max(*at);
    }

    /// The whole budget, from start to deadline.
    #[must_use]
    pub fn budget(&self) -> Duration {
        self.at() - self.started
    }

    /// What is left of the budget.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.at().saturating_duration_since(Instant::now())
    }

    /// Resolves once the deadline has passed, extensions included.
    pub async fn passed(&self) {
        while !self.remaining().is_zero() {
            sleep_until(self.at()).await;
        }
    }

    fn at(&self) -> Instant {
        self.shared.get().map_or(self.first, |shared| *shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn shared(&self) -> &Arc<Mutex<Instant>> {
        self.shared.get_or_init(|| Arc::new(Mutex::new(self.first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_extension_holds_while_it_is_waited_for() {
        let deadline = Deadline::after(Duration::from_millis(500));
        let waiting = deadline.clone();
        let waiter = tokio::spawn(async move { waiting.passed().await });
        tokio::task::yield_now().await;
        let later = Deadline::after(Duration::from_millis(700));
        deadline.extend_to(&later);
        waiter.await.unwrap();
        assert!(later.remaining().is_zero());
    }

    #[tokio::test]
    async fn a_detached_deadline_does_not_move_its_origin() {
        let caller = Deadline::after(Duration::from_secs(1));
        let shared = caller.detached();
        let patient = Deadline::after(Duration::from_secs(9));
        shared.extend_to(&patient);
        assert_eq!(caller.budget(), Duration::from_secs(1));
        assert_eq!(shared.at(), patient.at());
    }
}

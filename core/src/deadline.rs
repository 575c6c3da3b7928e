use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The budget of one call, counted from its start.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    started: Instant,
    budget: Duration,
}

impl Deadline {
    /// A deadline `budget` from now.
    #[must_use]
    pub fn after(budget: Duration) -> Self {
        Self { started: Instant::now(), budget }
    }

    /// The whole budget, from start to deadline.
    #[must_use]
    pub fn budget(&self) -> Duration {
        self.budget
    }

    /// The rest of the budget; zero once the deadline has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.budget.saturating_sub(self.started.elapsed())
    }

    /// Resolves once the deadline has passed.
    pub(crate) async fn passed(&self) {
        sleep_until(self.started + self.budget).await;
    }
}

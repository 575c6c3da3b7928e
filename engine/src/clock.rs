use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A point in time on the monotonic and the system clock. State machines take it as an argument, so that tests need not wait.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Monotonic time, for durations and deadlines.
    pub instant: Instant,
    /// Milliseconds since the Unix epoch, for responses and tokens.
    pub unix_millis: i64,
}

impl Now {
    /// Reads both clocks.
    #[must_use]
    pub fn read() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix_millis: i64::try_from(unix.as_millis()).unwrap_or(i64::MAX) }
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub fn unix_secs(self) -> i64 {
        self.unix_millis.div_euclid(1000)
    }
}

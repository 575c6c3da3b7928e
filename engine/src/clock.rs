use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A moment on both clocks. What depends on time is told it, so that its tests need not wait.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For how long things last: never set back.
    pub instant: Instant,
    /// Milliseconds since the epoch, for what is shown or signed.
    pub unix_millis: i64,
}

impl Now {
    /// The machine's clocks.
    #[must_use]
    pub fn read() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix_millis: i64::try_from(unix.as_millis()).unwrap_or(i64::MAX) }
    }

    /// Whole seconds since the epoch.
    #[must_use]
    pub fn unix_secs(self) -> i64 {
        self.unix_millis.div_euclid(1000)
    }
}

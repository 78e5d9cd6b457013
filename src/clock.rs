//! Time as the rest of the program sees it, so that a simulation can move it.
//!
//! The only place that asks the operating system for the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where a room gets its time from.
pub trait Clock: Send + Sync + 'static {
    /// Time since an arbitrary start; never goes back.
    fn now(&self) -> Duration;

    /// Time since the Unix epoch; may jump.
    fn unix(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn unix(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

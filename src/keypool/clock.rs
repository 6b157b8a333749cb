//! The two clocks: a monotonic one for deadlines, wall time for people.

use std::time::{Duration, Instant, SystemTime};

use once_cell::sync::Lazy;

use crate::pool::Millis;

static START: Lazy<(Instant, SystemTime)> = Lazy::new(|| (Instant::now(), SystemTime::now()));

/// Time since the process started. Clock steps don't touch it.
pub fn now() -> Millis {
    at(Instant::now())
}

/// The same for a moment that was taken already.
pub fn at(moment: Instant) -> Millis {
    let since = moment.saturating_duration_since(START.0);
    // Counted from 1: a moment is never 0, which means "ready" in a key's state.
    Millis(1 + u64::try_from(since.as_millis()).unwrap_or(u64::MAX - 1))
}

/// The wall time of such a moment.
pub fn wall_time(moment: Millis) -> SystemTime {
    START.1 + Duration::from_millis(moment.0)
}

//! Whether a target is asked, by how it answered lately.
//!
//! Closed: it is asked. Open: it is not, for a pause that doubles each time. Half-open: the pause is over, and one attempt
//! at a time is let through to try it. It opens after a few failures in a row, or when most of many attempts fail.
//!
//! Invariant: only attempts that began after it opened say anything about what came after; those under way before are the
//! same event.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use crate::pool::Millis;

/// Failures in a row that open it.
const IN_A_ROW: u32 = 3;
/// Attempts in a window of which more than half must fail to open it.
const MANY: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);
/// An attempt let through to try it has so long, before another one may.
const TRIAL: Duration = Duration::from_secs(5);

/// What became of the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Closed,
}

/// One target's breaker.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Until when no attempt is let through; 0 = closed.
    until: AtomicU64,
    /// Some failure was counted: successes count too from then on.
    is_watched: AtomicBool,
    successes: AtomicU32,
    count: Mutex<Count>,
}

#[derive(Debug, Default)]
struct Count {
    in_a_row: u32,
    window_began: Millis,
    failures: u32,
    opened: Millis,
    pause: Duration,
}

impl Breaker {
    pub(super) fn is_closed(&self) -> bool {
        self.until.load(Relaxed) == 0
    }

    /// Whether an attempt may be made now. Half-open, whoever is told so makes it.
    pub(super) fn admits(&self, now: Millis) -> bool {
        let until = self.until.load(Relaxed);
        until == 0 || (until <= now.0 && self.claim(until, now))
    }

    fn claim(&self, until: u64, now: Millis) -> bool {
        self.until.compare_exchange(until, now.after(TRIAL).0, Relaxed, Relaxed).is_ok()
    }

    /// An attempt that began at `since` was answered.
    pub(super) fn succeeded(&self, since: Millis) -> Option<Change> {
        // A target that never failed costs one look.
        if !self.is_watched.load(Relaxed) {
            return None;
        }
        self.successes.fetch_add(1, Relaxed);
        let mut count = self.count.lock();
        if !self.is_closed() && since < count.opened {
            return None;
        }
        count.in_a_row = 0;
        let was_open = self.until.swap(0, Relaxed) != 0;
        if was_open {
            *count = Count::default();
            self.is_watched.store(false, Relaxed);
        }
        was_open.then_some(Change::Closed)
    }

    /// An attempt that began at `since` failed, for a reason that may be the target's.
    pub(super) fn failed(&self, since: Millis, now: Millis) -> Option<Change> {
        let mut count = self.count.lock();
        let was_closed = self.is_closed();
        if !was_closed && since < count.opened {
            return None;
        }
        self.is_watched.store(true, Relaxed);
        if count.window_began.after(WINDOW) <= now {
            count.window_began = now;
            count.failures = 0;
            self.successes.store(0, Relaxed);
        }
        count.in_a_row += 1;
        count.failures += 1;
        let attempts = count.failures.saturating_add(self.successes.load(Relaxed));
        let is_mostly_failing = attempts >= MANY && count.failures * 2 > attempts;
        if was_closed && count.in_a_row < IN_A_ROW && !is_mostly_failing {
            return None;
        }
        count.pause = if was_closed { FIRST_PAUSE } else { (count.pause * 2).min(LAST_PAUSE) };
        count.opened = now;
        self.until.store(now.after(count.pause).0, Relaxed);
        was_closed.then_some(Change::Opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn opened(at: Millis) -> Breaker {
        let breaker = Breaker::default();
        for _ in 1..IN_A_ROW {
            assert_eq!(breaker.failed(at, at), None);
            assert!(breaker.admits(at));
        }
        assert_eq!(breaker.failed(at, at), Some(Change::Opened));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_for_a_pause_that_doubles() {
        let mut now = Millis(1000);
        let breaker = opened(now);
        let mut pause = FIRST_PAUSE;
        for _ in 0..8 {
            assert!(!breaker.admits(Millis(now.after(pause).0 - 1)));
            now = now.after(pause);
            assert!(breaker.admits(now), "half-open");
            assert!(!breaker.admits(now), "one at a time");
            assert_eq!(breaker.failed(now, now), None);
            pause = (pause * 2).min(LAST_PAUSE);
        }
        now = now.after(pause);
        assert!(breaker.admits(now));
        assert_eq!(breaker.succeeded(now), Some(Change::Closed));
        assert!(breaker.admits(now) && breaker.admits(now));
    }

    #[test]
    fn a_trial_that_never_ends_makes_room_for_another() {
        let breaker = opened(Millis(1000));
        let now = Millis(1000).after(FIRST_PAUSE);
        assert!(breaker.admits(now));
        assert!(!breaker.admits(now.after(TRIAL - SECOND)));
        assert!(breaker.admits(now.after(TRIAL)));
    }

    #[test]
    fn attempts_that_were_under_way_when_it_opened_change_nothing() {
        let (before, at) = (Millis(999), Millis(1000));
        let breaker = opened(at);
        assert_eq!(breaker.failed(before, at.after(SECOND / 2)), None);
        assert_eq!(breaker.succeeded(before), None);
        assert!(!breaker.is_closed());
        assert!(breaker.admits(at.after(FIRST_PAUSE)), "the pause is no longer");
    }

    #[test]
    fn a_success_now_and_then_is_not_enough() {
        let breaker = Breaker::default();
        let mut changes = (0..MANY).filter_map(|i| {
            let now = Millis(1000 + u64::from(i));
            let change = breaker.failed(now, now);
            if i % 2 == 1 { change.or_else(|| breaker.succeeded(now)) } else { change }
        });
        assert_eq!(changes.next(), Some(Change::Opened), "two of three fail");
    }

    #[test]
    fn failures_few_and_far_between_are_forgotten() {
        let breaker = Breaker::default();
        for i in 0..100 {
            let now = Millis(1000).after(WINDOW * i);
            assert_eq!(breaker.failed(now, now), None);
            assert_eq!(breaker.succeeded(now), None);
        }
    }
}

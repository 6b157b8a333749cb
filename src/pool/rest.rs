//! One thing that can rest: a key, a key for one model, an account, an egress.
//!
//! Its standing is one atomic deadline: 0 = ready, `u64::MAX` = disabled, otherwise the moment a rest ends. The later
//! deadline wins, so a short rest can't shorten a long one. A second deadline is only a preference: until then others are
//! asked first. Read without a lock, written under the pool's.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{Millis, Reason, Rules};

/// A deadline that never comes.
pub(super) const NEVER: u64 = u64::MAX;
/// A deadline that comes when a request ends, and nobody knows when that is.
pub(super) const FULL: u64 = 1 << 62;
/// The longest rest; a provider that states year 9999 is not believed.
const LONGEST: Duration = Duration::from_secs(40 * 24 * 3600);

/// Deadlines, reason, and how often in a row.
#[derive(Debug, Default)]
pub(super) struct Rest {
    until: AtomicU64,
    deferred: AtomicU64,
    reason: AtomicU8,
    /// Rests since the last success: each doubles the next.
    in_a_row: AtomicU8,
}

impl Rest {
    /// The deadline; in the past = ready.
    pub(super) fn until(&self) -> u64 {
        self.until.load(Relaxed)
    }

    /// Until when others are asked first.
    pub(super) fn deferred(&self) -> u64 {
        self.deferred.load(Relaxed)
    }

    /// Others are asked first until then, or until later if that was said before.
    pub(super) fn defer(&self, time: Duration, now: Millis) {
        self.deferred.fetch_max(now.after(time.min(LONGEST)).0.min(NEVER - 1), Relaxed);
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        Reason::from_u8(self.reason.load(Relaxed))
    }

    pub(super) fn is_over(&self, now: Millis) -> bool {
        self.until() <= now.0
    }

    pub(super) fn is_disabled(&self) -> bool {
        self.until() == NEVER
    }

    /// Begins a rest, or makes one longer: as long as stated, else by the rules, doubled for each rest in a row. True if
    /// it was ready before.
    pub(super) fn begin(&self, reason: Reason, stated: Option<Duration>, rules: &Rules, now: Millis) -> bool {
        let was_ready = self.is_over(now);
        let before = self.in_a_row.load(Relaxed);
        // Answers of requests that were under way when the rest began are the same event: they don't escalate.
        let doublings = if was_ready { before } else { before.saturating_sub(1) };
        if was_ready {
            self.in_a_row.store(before.saturating_add(1), Relaxed);
        }
        let rest = stated.unwrap_or_else(|| {
            rules.cooldown.saturating_mul(1 << u32::from(doublings).min(20)).min(rules.max_cooldown)
        });
        self.extend(now.after(rest.min(LONGEST)).0.min(NEVER - 1), reason);
        was_ready
    }

    /// Ends its use until a reset. True if it was not disabled before.
    pub(super) fn disable(&self, reason: Reason) -> bool {
        let was_enabled = !self.is_disabled();
        self.extend(NEVER, reason);
        was_enabled
    }

    fn extend(&self, until: u64, reason: Reason) {
        if self.until.load(Relaxed) < until {
            self.until.store(until, Relaxed);
            self.reason.store(reason as u8, Relaxed);
        }
    }

    /// Ready at once, as if the last rest had not been.
    pub(super) fn lift(&self) {
        self.until.store(0, Relaxed);
        self.reason.store(0, Relaxed);
        self.in_a_row.store(self.in_a_row.load(Relaxed).saturating_sub(1), Relaxed);
    }

    pub(super) fn in_a_row(&self) -> u8 {
        self.in_a_row.load(Relaxed)
    }

    /// Exactly so.
    pub(super) fn set(&self, until: u64, reason: Option<Reason>, in_a_row: u8) {
        self.until.store(until, Relaxed);
        self.reason.store(reason.map_or(0, |reason| reason as u8), Relaxed);
        self.in_a_row.store(in_a_row, Relaxed);
    }

    /// As new.
    pub(super) fn reset(&self) {
        self.in_a_row.store(0, Relaxed);
        self.deferred.store(0, Relaxed);
        self.lift();
    }

    pub(super) fn copy(&self) -> Self {
        Self {
            until: AtomicU64::new(self.until()),
            deferred: AtomicU64::new(self.deferred()),
            reason: AtomicU8::new(self.reason.load(Relaxed)),
            in_a_row: AtomicU8::new(self.in_a_row.load(Relaxed)),
        }
    }

    /// A success: the next rest is a first one again.
    pub(super) fn forgive(&self) {
        // The store only where needed: a success must not dirty the cache line of a healthy key.
        if self.in_a_row.load(Relaxed) != 0 {
            self.in_a_row.store(0, Relaxed);
        }
    }
}

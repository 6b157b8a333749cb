//! Which keys are worth a probe, and what is forgotten of a key that the provider accepts.
//!
//! Invariant: what an operator switched off stays off, and a limit is rested out: that a provider knows a key does not
//! mean that it serves it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::saved::Changed;
use super::{Key, Millis, Pool, Reason, Transitions};

/// Why it is not known that a key which may be used works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Nobody used it lately.
    Idle,
    /// It failed, and did not succeed since.
    Failed,
}

impl Key {
    /// A rule disabled it, and no operator did.
    fn is_refused(&self) -> bool {
        !self.is_switched_off() && self.state.own.is_disabled()
    }

    fn has_failed(&self) -> bool {
        let state = &self.state;
        let counts = [&state.strikes, &state.refusals, &state.runs];
        state.own.in_a_row() > 0 || state.suspicion.in_a_row() > 0 || counts.iter().any(|c| c.load(Relaxed) > 0)
    }
}

impl Pool {
    /// Whether it is in doubt that a key works which may be used now: not while it serves requests, and not if it served
    /// one `lately`. Takes no lock.
    pub fn doubt(&self, index: u32, lately: Duration, now: Millis) -> Option<Doubt> {
        let key = self.key(index).filter(|key| key.state.in_flight() == 0)?;
        if self.blocked_until(index, None) > now.0 {
            return None;
        }
        let was_used = key.state.last_used().is_some_and(|at| at.after(lately) > now);
        if key.has_failed() { Some(Doubt::Failed) } else { (!was_used).then_some(Doubt::Idle) }
    }

    /// The key failed, and did not succeed since.
    pub fn has_failed(&self, index: u32) -> bool {
        self.key(index).is_some_and(Key::has_failed)
    }

    /// A rule disabled the key, and no operator did.
    pub fn is_refused(&self, index: u32) -> bool {
        self.key(index).is_some_and(Key::is_refused)
    }

    /// The first key from `from` on, round the end, that may be used now.
    pub fn ready_from(&self, from: u32, now: Millis) -> Option<u32> {
        let (start, end) = (from as usize, self.keys.len());
        let first = |mut from: usize, end: usize| {
            while let Some(index) = self.board.ready.next(from, end) {
                if self.blocked_until(index as u32, None) <= now.0 {
                    return Some(index as u32);
                }
                from = index + 1;
            }
            None
        };
        first(start, end).or_else(|| first(0, start.min(end)))
    }

    /// The provider accepts the key: that it refused it is forgotten. True if it may be used again by that.
    pub fn vouch(&self, index: u32, now: Millis) -> bool {
        let is_back = self.change(index, now, |pool, ledger, index| {
            let Some(key) = pool.key(index) else { return false };
            key.state.refusals.store(0, Relaxed);
            let own = &key.state.own;
            if own.is_disabled() {
                pool.forget_marks(ledger, index, now);
            } else if !own.is_over(now) && matches!(own.reason(), Some(Reason::Unauthorized | Reason::Forbidden)) {
                own.reset();
                ledger.changed.insert(Changed::Key(index));
            } else {
                return false;
            }
            !key.is_switched_off()
        });
        self.count_back(is_back, |transitions| &transitions.accepted)
    }

    /// Tries a key again that a rule disabled, whatever the provider says of it. True if there was something to do.
    pub fn reactivate(&self, index: u32, now: Millis) -> bool {
        let is_back = self.change(index, now, |pool, ledger, index| {
            let is_refused = pool.is_refused(index);
            if is_refused {
                pool.forget_marks(ledger, index, now);
            }
            is_refused
        });
        self.count_back(is_back, |transitions| &transitions.reactivated)
    }

    fn count_back(&self, is_back: Option<bool>, counter: impl FnOnce(&Transitions) -> &AtomicU64) -> bool {
        let is_back = is_back.unwrap_or(false);
        if is_back {
            counter(&self.transitions).fetch_add(1, Relaxed);
        }
        is_back
    }
}

//! When keys that rules disabled are asked again: after 1 h, 6 h, 24 h, then daily.
//!
//! The pool only says whose turn it is; whoever probes a key tells the outcome by [`Pool::reset`], or by nothing if the
//! key is still dead. Invariant: what an operator disabled is never asked.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{Key, Ledger, Millis, Pool};

const HOUR: Duration = Duration::from_secs(3600);
/// From the disablement to the first, and from each to the next; the last repeats.
const PAUSES: [u32; 4] = [1, 5, 18, 24];

/// Planned: when, and the key's place.
pub(super) type Rechecks = BTreeSet<(Millis, u32)>;

/// When a key is asked again. Outlives reloads.
#[derive(Debug, Default)]
pub(super) struct Recheck {
    /// 0 = not planned.
    at: AtomicU64,
    /// How many were planned since the key was disabled.
    planned: AtomicU8,
}

impl Recheck {
    fn at(&self) -> Option<Millis> {
        Some(Millis(self.at.load(Relaxed))).filter(|at| at.0 > 0)
    }

    fn plan_next(&self, now: Millis) -> Millis {
        let planned = self.planned.load(Relaxed);
        let pause = PAUSES.get(usize::from(planned)).or(PAUSES.last()).copied().unwrap_or_default();
        self.planned.store(planned.saturating_add(1), Relaxed);
        let at = now.after(HOUR * pause);
        self.at.store(at.0, Relaxed);
        at
    }

    pub(super) fn forget(&self) {
        self.at.store(0, Relaxed);
        self.planned.store(0, Relaxed);
    }
}

impl Pool {
    /// Keys that rules disabled and whose turn it is to be asked again, at most `limit`. Each is planned anew.
    pub fn take_rechecks(&self, now: Millis, limit: usize) -> Vec<u32> {
        let mut ledger = self.ledger.lock();
        let mut due = Vec::new();
        if self.heir.get().is_some() {
            return due;
        }
        while due.len() < limit
            && let Some(&(at, index)) = ledger.rechecks.first()
            && at <= now
        {
            ledger.rechecks.pop_first();
            // Those that are back, or were disabled anew since, stand here by an older plan.
            let Some(key) = self.key(index).filter(|key| key.state.recheck.at() == Some(at)) else { continue };
            ledger.rechecks.insert((key.state.recheck.plan_next(now), index));
            if !key.is_switched_off() {
                due.push(index);
            }
        }
        due
    }

    /// When [`Pool::take_rechecks`] has something to do next.
    pub fn next_recheck(&self) -> Option<Millis> {
        self.ledger.lock().rechecks.first().map(|&(at, _)| at)
    }

    /// When a key that a rule disabled is asked again; `None` for any other.
    pub fn recheck_at(&self, index: u32) -> Option<Millis> {
        let key = self.key(index).filter(|key| !key.is_switched_off() && key.state.own.is_disabled())?;
        key.state.recheck.at()
    }

    pub(super) fn plan_recheck(&self, ledger: &mut Ledger, index: u32, now: Millis) {
        if let Some(key) = self.key(index) {
            key.state.recheck.forget();
            ledger.rechecks.insert((key.state.recheck.plan_next(now), index));
        }
    }

    /// The plan of a pool that takes another's place, or begins with kept marks: their keys are asked again in an hour.
    pub(super) fn planned_rechecks(&self, now: Millis) -> Rechecks {
        let plan = |key: &Key| key.state.recheck.at().unwrap_or_else(|| key.state.recheck.plan_next(now));
        let disabled = (0..).zip(&self.keys).filter(|(_, key)| key.state.own.is_disabled());
        disabled.map(|(index, key)| (plan(key), index)).collect()
    }
}

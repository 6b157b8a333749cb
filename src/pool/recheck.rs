//! When keys that rules disabled are asked again: after 1 h, 6 h, 24 h, then daily.
//!
//! The pool only says whose turn it is; whoever probes a key tells the outcome by [`Pool::vouch`], or by nothing if the
//! key is still dead. The plan follows from the moment the key was disabled, so a restart goes on with it. Invariant: what
//! an operator disabled is never asked.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{Key, Ledger, Millis, Pool};

const HOUR: Duration = Duration::from_secs(3600);
/// From the disablement to the first, and from each to the next; the last repeats.
const PAUSES: [u32; 4] = [1, 5, 18, 24];
/// The same, counted from the disablement.
const FROM_START: [u64; 3] = [1, 6, 24];
/// The pause before a question is repeated that nobody answered, and how often in a row that is done.
const REPEAT: Duration = Duration::from_secs(300);
const REPEATS: u8 = 3;

/// Planned: when, and the key's place.
pub(super) type Rechecks = BTreeSet<(Millis, u32)>;

/// When a key is asked again. Outlives reloads.
#[derive(Debug, Default)]
pub(super) struct Recheck {
    /// 0 = not planned.
    at: AtomicU64,
    /// How many were planned since the key was disabled.
    planned: AtomicU8,
    repeated: AtomicU8,
    /// When the key was disabled (milliseconds of the pool's clock; negative = before the process started).
    since: AtomicI64,
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

    /// Begins a plan.
    fn begin(&self, now: Millis) -> Millis {
        self.forget();
        self.since.store(now.signed(), Relaxed);
        self.plan_next(now)
    }

    /// Goes on with the plan of a key that was disabled then.
    pub(super) fn resume(&self, since: i64, now: Millis) {
        let hour = HOUR.as_millis() as u64;
        let age = u64::try_from(now.signed().saturating_sub(since)).unwrap_or(0);
        let (planned, next) = match FROM_START.iter().position(|hours| age < hours * hour) {
            Some(step) => (step + 1, FROM_START.get(step).map_or(0, |hours| hours * hour)),
            None => (PAUSES.len(), (age / (24 * hour) + 1) * 24 * hour),
        };
        self.since.store(since, Relaxed);
        self.planned.store(planned as u8, Relaxed);
        self.at.store(now.after(Duration::from_millis(next - age)).0, Relaxed);
    }

    /// Plans the same question once more, soon; `None` if that was done often enough.
    fn repeat(&self, now: Millis) -> Option<Millis> {
        if self.repeated.fetch_add(1, Relaxed) >= REPEATS {
            self.repeated.store(0, Relaxed);
            return None;
        }
        self.planned.store(self.planned.load(Relaxed).saturating_sub(1), Relaxed);
        let at = now.after(REPEAT);
        self.at.store(at.0, Relaxed);
        Some(at)
    }

    /// When the key was disabled.
    pub(super) fn since(&self) -> i64 {
        self.since.load(Relaxed)
    }

    pub(super) fn forget(&self) {
        self.at.store(0, Relaxed);
        self.planned.store(0, Relaxed);
        self.repeated.store(0, Relaxed);
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
            ledger.rechecks.insert((key.state.recheck.begin(now), index));
        }
    }

    /// Nobody answered what was asked about a disabled key: it is asked again in a few minutes, a few times.
    pub fn repeat_recheck(&self, index: u32, now: Millis) {
        self.in_charge(index, |pool, ledger, index| {
            let key = pool.key(index).filter(|key| key.state.own.is_disabled());
            if let Some(at) = key.and_then(|key| key.state.recheck.repeat(now)) {
                ledger.rechecks.insert((at, index));
            }
        });
    }

    /// The plan of a pool that takes another's place, or begins with kept marks.
    pub(super) fn planned_rechecks(&self, now: Millis) -> Rechecks {
        let plan = |key: &Key| key.state.recheck.at().unwrap_or_else(|| key.state.recheck.begin(now));
        let disabled = (0..).zip(&self.keys).filter(|(_, key)| key.state.own.is_disabled());
        disabled.map(|(index, key)| (plan(key), index)).collect()
    }
}

//! What each key of a pool has left, as its provider told, and what follows from that.
//!
//! Invariant: what is not known is not held against a key. One with less than the minimum rests until it is known to have
//! enough; if nobody tells for two rounds of questions, or the provider stops telling at all, it is used again. Outlives
//! reloads, not restarts: after one the keys are asked anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::Entry;
use super::clock::wall_time;
use crate::config::KeyId;
use crate::pool::Millis;
use crate::telemetry::{BalanceSnapshot, Holding};
use crate::verdict::balance::Sum;

/// Units that a pool tells apart: they become labels of metrics.
const UNITS: usize = 16;
/// What is beyond them is counted in.
const OTHER: &str = "other";
/// Time between two questions to one provider: at least, so that a large pool does not flood it, and at most.
const PACE: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(1);
/// An answer takes this long at most.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(15);
/// Where keys are asked only when somebody wants to see it, one rests this long at most.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// A key that is refused the answer is asked again after this time at the earliest.
const REFUSED: Duration = Duration::from_secs(3600);
/// A balance of this age is new enough for whoever wants a new one.
const NEW: Duration = Duration::from_secs(1);
/// Keys in a row for which a provider does not know the question, before it is not asked any more that day.
const UNSUPPORTED: u64 = 3;

/// What asking for a key's balance brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// What the key has left; none = there is no limit.
    Amounts(Vec<Sum>),
    /// The provider does not know the question (any more).
    Unsupported,
    /// The provider does not tell this key.
    Refused,
    /// There was no answer, or none that makes sense; why, in a word.
    Nothing(&'static str),
}

impl Told {
    /// All words of [`as_str`](Self::as_str).
    pub const WORDS: [&'static str; 4] = ["ok", "unsupported", "refused", "failed"];

    /// As a word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Amounts(_) => "ok",
            Self::Unsupported => "unsupported",
            Self::Refused => "refused",
            Self::Nothing(_) => "failed",
        }
    }
}

/// What is known of one key.
#[derive(Clone)]
struct Known {
    amounts: Arc<[Holding]>,
    told: Option<Millis>,
    asked: Millis,
    /// The answer is not there yet, or never came.
    is_open: bool,
    is_refused: bool,
    error: Option<&'static str>,
}

/// What is known of a pool's keys.
#[derive(Default)]
pub struct Balances {
    is_used: AtomicBool,
    known: RwLock<HashMap<KeyId, Known>>,
    units: Mutex<Vec<Arc<str>>>,
    /// Keys in a row for which the provider did not know the question.
    misses: AtomicU64,
    /// Until when it is not asked.
    silent_until: AtomicU64,
    /// Held by whoever asks for many at once because somebody waits for it.
    pub refresh: tokio::sync::Mutex<()>,
}

impl Balances {
    /// What is known of a key.
    pub(super) fn snapshot(&self, key: KeyId) -> Option<BalanceSnapshot> {
        // Most pools' providers don't tell.
        if !self.is_used.load(Relaxed) {
            return None;
        }
        let Known { amounts, told, error, .. } = self.known.read().get(&key)?.clone();
        let is_known = told.is_some() || error.is_some();
        is_known.then(|| BalanceSnapshot { amounts, told: told.map(wall_time), error })
    }

    /// What a key has left, and when that was told.
    fn amounts(&self, key: KeyId) -> Option<(Arc<[Holding]>, Millis)> {
        let known = self.known.read();
        known.get(&key).and_then(|known| Some((known.amounts.clone(), known.told?)))
    }

    /// Notes that a key is being asked about.
    pub fn asking(&self, key: KeyId, now: Millis) {
        self.is_used.store(true, Relaxed);
        let mut known = self.known.write();
        let unknown =
            || Known { amounts: Arc::default(), told: None, asked: now, is_open: true, is_refused: false, error: None };
        let known = known.entry(key).or_insert_with(unknown);
        (known.asked, known.is_open) = (now, true);
    }

    /// When a key is to be asked about next, if each is asked about so often.
    pub fn due(&self, key: KeyId, every: Duration) -> Millis {
        let known = self.known.read();
        let Some(known) = known.get(&key) else { return Millis(0) };
        known.asked.after(match known {
            Known { is_open: true, .. } => every.max(ANSWERED_WITHIN * 2),
            Known { is_refused: true, .. } => every.max(REFUSED),
            _ => every,
        })
    }

    /// A key was asked about just now, or is being asked: whoever wants to see it need not ask again.
    pub fn is_new(&self, key: KeyId, now: Millis) -> bool {
        let known = self.known.read();
        let age = |known: &Known| if known.is_open { ANSWERED_WITHIN * 2 } else { NEW };
        known.get(&key).is_some_and(|known| known.asked.after(age(known)) > now)
    }

    /// The provider is not to be asked now: it did not know the question.
    pub fn is_silent(&self, now: Millis) -> bool {
        self.silent_until.load(Relaxed) > now.0
    }

    /// Whoever wants to see it may ask again.
    pub fn try_again(&self) {
        self.silent_until.store(0, Relaxed);
        self.misses.store(0, Relaxed);
    }

    fn learn(&self, key: KeyId, told: &Told, now: Millis) {
        let mut known = self.known.write();
        let Some(known) = known.get_mut(&key) else { return };
        (known.is_open, known.is_refused) = (false, *told == Told::Refused);
        match told {
            Told::Amounts(sums) => {
                known.amounts = sums.iter().map(|sum| self.holding(sum)).collect();
                (known.told, known.error) = (Some(now), None);
            }
            Told::Unsupported => {
                (known.amounts, known.told, known.error) = (Arc::default(), None, Some("unsupported"));
            }
            Told::Refused => known.error = Some("refused"),
            Told::Nothing(why) => known.error = Some(why),
        }
    }

    fn holding(&self, sum: &Sum) -> Holding {
        let mut units = self.units.lock();
        let unit = units.iter().find(|unit| ***unit == *sum.unit).cloned().unwrap_or_else(|| {
            let is_room = units.len() < UNITS;
            let unit: Arc<str> = if is_room { sum.unit.as_str() } else { OTHER }.into();
            if is_room {
                units.push(unit.clone());
            }
            unit
        });
        Holding { unit, amount: sum.amount }
    }

    /// Counts keys for which the provider did not know the question; true if it is not asked any more.
    fn count_misses(&self, told: &Told, keys: usize, now: Millis) -> bool {
        match told {
            Told::Unsupported => {
                let misses = self.misses.fetch_add(1, Relaxed) + 1;
                misses >= UNSUPPORTED.min(keys as u64) && self.silent_until.swap(now.after(DAY).0, Relaxed) <= now.0
            }
            Told::Amounts(_) => {
                self.misses.store(0, Relaxed);
                false
            }
            Told::Refused | Told::Nothing(_) => false,
        }
    }
}

impl Entry {
    /// What is known of the keys' balances.
    pub fn balances(&self) -> &Balances {
        &self.balances
    }

    /// The provider tells balances, and the pool's target is one where its keys may be asked about.
    pub fn tells_balances(&self) -> bool {
        let pack = &self.config.provider;
        let base = || self.config.targets.first().map(|target| target.url()).unwrap_or_default();
        pack.balance.as_ref().is_some_and(|balance| pack.may_ask(&balance.url, &base()))
    }

    /// Time between two questions: a key is asked once in `balance.every`, if the provider can be asked that fast.
    pub fn balance_pace(&self) -> Duration {
        let keys = u32::try_from(self.pool.keys().len()).unwrap_or(u32::MAX).max(1);
        let every = self.config.balance.every.unwrap_or_default();
        (every / keys).clamp(*PACE.start(), *PACE.end())
    }

    /// So long a key with too little left rests, unless it is known to have enough before: two rounds.
    fn balance_rest(&self) -> Duration {
        let Some(every) = self.config.balance.every else { return DAY };
        let keys = u32::try_from(self.pool.keys().len()).unwrap_or(u32::MAX);
        every.max(self.balance_pace().saturating_mul(keys)).saturating_mul(2) + ANSWERED_WITHIN
    }

    /// Takes in what asking for a key's balance brought.
    pub fn learn_balance(&self, index: u32, told: &Told, now: Millis) {
        let Some(key) = self.pool.key(index) else { return };
        self.metrics.balance_asked(told.as_str());
        self.balances.learn(key.id, told, now);
        let pool = self.config.name.as_str();
        if self.balances.count_misses(told, self.pool.keys().len(), now) {
            log::info!(pool; "The provider tells no balances: it is not asked for them any more today.");
        }
        match told {
            Told::Amounts(_) => self.judge_balance(index, now),
            Told::Unsupported => self.wake(index, now),
            // Nobody knows whether the key has enough; what was known holds for a while.
            Told::Refused | Told::Nothing(_) => {
                log::debug!(pool, key = &*key.name, told:?; "A key's balance is not told.");
            }
        }
    }

    /// Rests a key that is known to have too little left, wakes any other.
    fn judge_balance(&self, index: u32, now: Millis) {
        let Some(key) = self.pool.key(index) else { return };
        let known = self.balances.amounts(key.id);
        let poor = known.filter(|(amounts, _)| {
            let amounts = amounts.iter().map(|holding| (&*holding.unit, holding.amount));
            !self.config.balance.minimum.admits(amounts)
        });
        let rest = poor.map(|(_, told)| now.until(told.after(self.balance_rest())));
        let Some(rest) = rest.filter(|rest| !rest.is_zero()) else { return self.wake(index, now) };
        if self.pool.rest_balance(index, rest, now) {
            let (pool, name) = (self.config.name.as_str(), &*key.name);
            log::info!(pool, key = name; "A key has less left than the minimum: it rests.");
        }
    }

    fn wake(&self, index: u32, now: Millis) {
        if self.pool.wake_balance(index, now)
            && let Some(key) = self.pool.key(index)
        {
            log::info!(pool = self.config.name.as_str(), key = &*key.name; "A key has enough left again.");
        }
    }

    /// What is known of the keys of `before`, if the same would be asked again.
    pub(super) fn balances_of(&self, before: &Self) -> Option<Arc<Balances>> {
        let is_same = before.config.provider.balance == self.config.provider.balance
            && before.config.targets.first() == self.config.targets.first();
        is_same.then(|| before.balances.clone())
    }

    /// Judges all keys by what is known and by the minimum of now.
    pub(super) fn apply_balances(&self, before: &Self, now: Millis) {
        if !before.balances.is_used.load(Relaxed) {
            return;
        }
        self.balances.known.write().retain(|id, _| self.has(*id));
        (0..).take(self.pool.keys().len()).for_each(|index| self.judge_balance(index, now));
    }
}

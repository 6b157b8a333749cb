//! One key: whether it may be used, and what is counted of it.
//!
//! The standing is one atomic deadline: 0 = ready, `u64::MAX` = disabled, otherwise the moment a rest ends. The later
//! deadline wins, so a short rest can't shorten a long one, and nothing but a reset ends a disablement.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{Millis, Rules};
use crate::config::keys::KeyId;

const READY: u64 = 0;
const DISABLED: u64 = u64::MAX;
/// The longest rest a key can be given; a provider that states year 9999 is not believed.
const LONGEST_REST: Duration = Duration::from_secs(40 * 24 * 3600);

/// Why a key is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// The provider limits its rate.
    RateLimited = 1,
    /// The provider does not know it (any more).
    Unauthorized,
    /// The provider refuses it something.
    Forbidden,
    /// Its account has nothing left.
    Exhausted,
    /// It failed too often in a row.
    Failing,
    /// The operator switched it off in the keys file.
    Operator,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 6] =
        [Self::RateLimited, Self::Unauthorized, Self::Forbidden, Self::Exhausted, Self::Failing, Self::Operator];

    /// As shown in metrics and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Exhausted => "exhausted",
            Self::Failing => "failing",
            Self::Operator => "operator",
        }
    }

    fn from_u8(value: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == value)
    }
}

/// What an answer does to the key that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It worked: strikes are forgotten.
    Success,
    /// It rests: as long as stated, else by the pool's rules.
    Cool {
        /// Why.
        reason: Reason,
        /// What the provider stated.
        stated: Option<Duration>,
    },
    /// It is switched off until someone or something brings it back.
    Disable(Reason),
    /// It failed, but perhaps not through its own fault.
    Strike,
}

/// Whether a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Ready,
    /// Not before this much time has passed.
    Cooling(Duration, Option<Reason>),
    /// Not at all.
    Disabled(Option<Reason>),
}

/// Kinds of result counted per key, the size of its counter array.
pub const RESULTS: usize = 10;

/// The mutable part of a key. It outlives reloads: a key that stays keeps its state.
#[derive(Debug, Default)]
pub struct KeyState {
    until: AtomicU64,
    reason: AtomicU8,
    strikes: AtomicU32,
    pub(super) in_flight: AtomicU32,
    pub(super) uses: AtomicU64,
    pub(super) last_used: AtomicU64,
    results: [AtomicU64; RESULTS],
    rests: [AtomicU64; Reason::ALL.len()],
    disablements: [AtomicU64; Reason::ALL.len()],
}

impl KeyState {
    /// The key may be handed out.
    pub fn is_ready(&self, now: Millis) -> bool {
        self.until.load(Relaxed) <= now.0
    }

    /// Time until a resting key is back; `None` if it is disabled.
    pub fn returns_in(&self, now: Millis) -> Option<Duration> {
        match self.until.load(Relaxed) {
            DISABLED => None,
            until => Some(now.until(Millis(until))),
        }
    }

    /// Whether the key may be used, and if not, why.
    pub fn standing(&self, now: Millis) -> Standing {
        let reason = Reason::from_u8(self.reason.load(Relaxed));
        match self.until.load(Relaxed) {
            DISABLED => Standing::Disabled(reason),
            until if until > now.0 => Standing::Cooling(now.until(Millis(until)), reason),
            _ => Standing::Ready,
        }
    }

    /// Requests under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Times the key was handed out.
    pub fn uses(&self) -> u64 {
        self.uses.load(Relaxed)
    }

    /// When it was handed out last.
    pub fn last_used(&self) -> Option<Millis> {
        (self.uses() > 0).then(|| Millis(self.last_used.load(Relaxed)))
    }

    /// Counts one result.
    pub fn count(&self, result: usize) {
        if let Some(counter) = self.results.get(result) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// All results counted.
    pub fn results(&self) -> [u64; RESULTS] {
        std::array::from_fn(|i| self.results.get(i).map_or(0, |c| c.load(Relaxed)))
    }

    /// How often the key was sent to rest and disabled, by reason.
    pub fn transitions(&self) -> impl Iterator<Item = (Reason, u64, u64)> + '_ {
        let counts = self.rests.iter().zip(&self.disablements);
        Reason::ALL.into_iter().zip(counts).map(|(reason, (r, d))| (reason, r.load(Relaxed), d.load(Relaxed)))
    }

    /// Switches the key off, or back on if it was off for this reason.
    pub fn set_disabled_by_operator(&self, disabled: bool) {
        if disabled {
            self.reason.store(Reason::Operator as u8, Relaxed);
            self.until.store(DISABLED, Relaxed);
        } else if Reason::from_u8(self.reason.load(Relaxed)) == Some(Reason::Operator) {
            self.reason.store(0, Relaxed);
            self.until.store(READY, Relaxed);
        }
    }

    pub(super) fn apply(&self, mark: Mark, rules: &Rules, now: Millis) {
        match mark {
            // The store only where needed: a success must not dirty the cache line of a healthy key.
            Mark::Success if self.strikes.load(Relaxed) != 0 => self.strikes.store(0, Relaxed),
            Mark::Success => {}
            Mark::Cool { reason, stated } => self.cool(reason, stated, rules, now),
            Mark::Disable(reason) if rules.permanent => self.rest_until(DISABLED, reason, now),
            Mark::Disable(reason) => self.cool(reason, Some(rules.max_cooldown), rules, now),
            Mark::Strike => {
                if self.strikes.load(Relaxed) + 1 >= rules.threshold {
                    self.cool(Reason::Failing, None, rules, now);
                } else {
                    self.strikes.fetch_add(1, Relaxed);
                }
            }
        }
    }

    fn cool(&self, reason: Reason, stated: Option<Duration>, rules: &Rules, now: Millis) {
        // Answers of requests that were under way when the rest began don't make it longer.
        let strikes = if self.is_ready(now) { self.strikes.fetch_add(1, Relaxed) } else { self.strikes.load(Relaxed) };
        let rest = stated.unwrap_or_else(|| {
            let doublings = strikes.saturating_sub(rules.threshold.saturating_sub(1)).min(20);
            rules.cooldown.saturating_mul(1 << doublings).min(rules.max_cooldown)
        });
        self.rest_until(now.after(rest.min(LONGEST_REST)).0, reason, now);
    }

    fn rest_until(&self, until: u64, reason: Reason, now: Millis) {
        let before = self.until.fetch_max(until, Relaxed);
        if until > before {
            self.reason.store(reason as u8, Relaxed);
        }
        let was_out = before == DISABLED || (until != DISABLED && before > now.0);
        let counters = if until == DISABLED { &self.disablements } else { &self.rests };
        if !was_out && let Some(counter) = counters.get(reason as usize - 1) {
            counter.fetch_add(1, Relaxed);
        }
    }
}

/// One key of a pool.
pub struct Key {
    /// Stable over restarts and reloads.
    pub id: KeyId,
    /// Shown in logs and metrics.
    pub name: Arc<str>,
    /// Lower is asked first.
    pub priority: u32,
    /// The mutable part.
    pub state: Arc<KeyState>,
}

//! The pool core: which key now, what a failure costs, when a key returns.
//!
//! Sans-io: no socket, no clock, no random numbers, no async. Time comes in as [`Millis`] since the process started, so
//! every rule can be tested without waiting. Marks and counters live in atomics: a checkout takes no lock and allocates
//! nothing.
//!
//! Invariants: a disabled key is never handed out; a cooling key not before its time; a lease counts as in flight until
//! it is dropped, however its request ended.

mod key;
mod lease;
mod selection;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use key::{Key, KeyState, Mark, RESULTS, Reason, Standing};
pub use lease::Lease;
use selection::Cursor;

/// Milliseconds on a monotonic clock that starts with the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// This moment plus a duration, without overflow.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Time left until `later`; zero if it has passed.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }
}

/// How the pool answers failures.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Consecutive uncertain failures before a key rests.
    pub threshold: u32,
    /// Rest where no time was stated.
    pub cooldown: Duration,
    /// Cap of the rest that repeated marks escalate to.
    pub max_cooldown: Duration,
    /// A key may be disabled; otherwise it rests for `max_cooldown`.
    pub permanent: bool,
}

/// Why no key was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// Every usable key rests; the first is back after this time.
    Cooling(Duration),
    /// Time alone brings none back.
    NoneUsable,
}

/// The keys of one pool, in the order they are asked.
pub struct Pool {
    keys: Box<[Key]>,
    /// Ends of the priority tiers in `keys`, which is sorted by priority.
    tiers: Box<[Tier]>,
    rules: Rules,
}

struct Tier {
    range: std::ops::Range<usize>,
    cursor: Cursor,
}

impl Pool {
    /// A pool of these keys. Round robin starts at `start_index` of each tier.
    pub fn new(mut keys: Vec<Key>, rules: Rules, start_index: usize) -> Self {
        keys.sort_by_key(|key| key.priority);
        let mut tiers = Vec::new();
        let mut start = 0;
        for tier in keys.chunk_by(|a, b| a.priority == b.priority) {
            let range = start..start + tier.len();
            start = range.end;
            tiers.push(Tier { cursor: Cursor::before(range.start + start_index % tier.len(), &range), range });
        }
        Self { keys: keys.into(), tiers: tiers.into(), rules }
    }

    /// The keys, tier by tier.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The next ready key in turn. A key in `tried` is handed out again only if no other is ready.
    ///
    /// # Errors
    /// [`Exhausted`] if no key is ready.
    pub fn checkout(self: &Arc<Self>, tried: &[u32], now: Millis) -> Result<Lease, Exhausted> {
        let again = || if tried.is_empty() { None } else { self.find(now, |_| true) };
        let lease = self.checkout_other(tried, now);
        let lease = lease.or_else(|| again().map(|index| Lease::new(self.clone(), index, now)));
        lease.ok_or_else(|| self.exhausted(now))
    }

    /// The next ready key in turn that is not in `tried`, if there is one.
    pub fn checkout_other(self: &Arc<Self>, tried: &[u32], now: Millis) -> Option<Lease> {
        let index = self.find(now, |index| !tried.iter().any(|&t| t as usize == index))?;
        Some(Lease::new(self.clone(), index, now))
    }

    fn find(&self, now: Millis, admits: impl Fn(usize) -> bool) -> Option<usize> {
        self.tiers.iter().find_map(|tier| {
            tier.cursor.advance(&tier.range, |index| {
                admits(index) && self.keys.get(index).is_some_and(|key| key.state.is_ready(now))
            })
        })
    }

    /// A key is ready now.
    pub fn has_ready(&self, now: Millis) -> bool {
        self.keys.iter().any(|key| key.state.is_ready(now))
    }

    /// Why nothing can be handed out.
    pub fn exhausted(&self, now: Millis) -> Exhausted {
        let back = self.keys.iter().filter_map(|key| key.state.returns_in(now)).min();
        back.map_or(Exhausted::NoneUsable, Exhausted::Cooling)
    }

    /// Applies what an answer means for the key that was used.
    pub fn report(&self, index: u32, mark: Mark, now: Millis) {
        if let Some(key) = self.keys.get(index as usize) {
            key.state.apply(mark, &self.rules, now);
        }
    }
}

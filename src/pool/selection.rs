//! Whose turn it is: a strategy chooses among the ready keys of a tier.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::ready::ReadySet;

/// The keys a strategy may choose from.
pub(super) struct Candidates<'a> {
    pub(super) ready: &'a ReadySet,
    pub(super) tier: Range<usize>,
    /// The request may use this key.
    pub(super) admits: &'a dyn Fn(usize) -> bool,
}

impl Candidates<'_> {
    /// The first candidate of a range.
    pub(super) fn next(&self, range: Range<usize>) -> Option<usize> {
        let mut from = range.start;
        loop {
            let index = self.ready.next(from, range.end)?;
            if (self.admits)(index) {
                return Some(index);
            }
            from = index + 1;
        }
    }

    /// A candidate far from those of the tries before, which leaves the turns as they are. Steps of the golden ratio
    /// spread any number of tries evenly.
    pub(super) fn elsewhere(&self, tries: usize) -> Option<usize> {
        const GOLDEN: f64 = 0.618_033_988_749_894_9;
        let Range { start, end } = self.tier.clone();
        let middle = start + ((tries as f64 * GOLDEN).fract() * (end - start) as f64) as usize;
        self.next(middle..end).or_else(|| self.next(start..middle))
    }
}

/// A way to choose.
pub(super) trait Strategy: Send + Sync {
    /// One of the candidates; `None` if there is none.
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize>;
    /// What was chosen last; outside of the tier if nothing was yet.
    fn last(&self) -> usize;
    /// Chooses as if this had been chosen last.
    fn go_on_behind(&self, index: usize);
}

/// Each in turn. The cursor is the key picked last, not a ticket number: each pick continues behind it, so the turns stay
/// even while keys leave and return.
pub(super) struct RoundRobin(AtomicUsize);

impl RoundRobin {
    /// Turns that begin with `first`.
    pub(super) fn starting_at(first: usize) -> Self {
        // The key before it, modulo 2⁶⁴: adding 1 gives `first` also where that is 0.
        Self(AtomicUsize::new(first.wrapping_sub(1)))
    }
}

impl Strategy for RoundRobin {
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
        let Range { start, end } = candidates.tier.clone();
        loop {
            let last = self.0.load(Relaxed);
            let behind = last.wrapping_add(1).clamp(start, end);
            let next = candidates.next(behind..end).or_else(|| candidates.next(start..behind))?;
            if self.0.compare_exchange_weak(last, next, Relaxed, Relaxed).is_ok() {
                return Some(next);
            }
        }
    }

    fn last(&self) -> usize {
        self.0.load(Relaxed)
    }

    fn go_on_behind(&self, index: usize) {
        self.0.store(index, Relaxed);
    }
}

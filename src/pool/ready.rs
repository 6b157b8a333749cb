//! The ready keys as a hierarchical bitset: the next one is found in a few steps at any size.
//!
//! Level 0 has a bit per key; a bit of each higher level says that the 64 below it are not all clear. Readers take no
//! lock. Writers are serialised by the pool's lock, so a summary bit is never cleared over a leaf that someone else is
//! setting. Invariant: a bit that stays set during a whole search is found by it (`tests/loom` checks it).

use super::atomic::{AtomicU64, BITS, Ordering::Acquire, Ordering::Release};

/// A set of numbers below a fixed bound.
pub(super) struct ReadySet {
    /// From the leaves to the root, which is one word.
    levels: Box<[Box<[AtomicU64]>]>,
}

impl ReadySet {
    /// The empty set over `0..len`.
    pub(super) fn new(len: usize) -> Self {
        let mut levels = Vec::new();
        let mut bits = len;
        loop {
            let words = bits.div_ceil(BITS).max(1);
            levels.push((0..words).map(|_| AtomicU64::new(0)).collect());
            if words == 1 {
                return Self { levels: levels.into() };
            }
            bits = words;
        }
    }

    /// Adds `index`. One writer at a time.
    pub(super) fn insert(&self, mut index: usize) {
        for level in &self.levels {
            let Some(word) = level.get(index / BITS) else { return };
            if word.fetch_or(1 << (index % BITS), Release) != 0 {
                return;
            }
            index /= BITS;
        }
    }

    /// Removes `index`. One writer at a time.
    pub(super) fn remove(&self, mut index: usize) {
        for level in &self.levels {
            let Some(word) = level.get(index / BITS) else { return };
            let others = !(1 << (index % BITS));
            if word.fetch_and(others, Release) & others != 0 {
                return;
            }
            index /= BITS;
        }
    }

    pub(super) fn contains(&self, index: usize) -> bool {
        self.next(index, index + 1).is_some()
    }

    /// The first member of `from..end`.
    pub(super) fn next(&self, from: usize, end: usize) -> Option<usize> {
        let (mut level, mut at) = (0, from);
        loop {
            let word = self.levels.get(level)?.get(at / BITS)?.load(Acquire) & (u64::MAX << (at % BITS));
            if word == 0 {
                // Nothing behind `at` under this word: on to its right neighbour, one level up.
                (level, at) = (level + 1, at / BITS + 1);
                continue;
            }
            let found = at / BITS * BITS + word.trailing_zeros() as usize;
            if level == 0 {
                return (found < end).then_some(found);
            }
            (level, at) = (level - 1, found * BITS);
        }
    }
}

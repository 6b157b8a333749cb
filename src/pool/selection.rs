//! Whose turn it is.
//!
//! The cursor is the key picked last, not a ticket number: each pick continues behind it, so the turns stay even while
//! keys leave and return.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Position of a round robin over a range of indices.
pub(super) struct Cursor(AtomicUsize);

impl Cursor {
    /// A cursor whose first pick is `first`.
    pub(super) fn before(first: usize, range: &Range<usize>) -> Self {
        Self(AtomicUsize::new(if first == range.start { range.end } else { first } - 1))
    }

    /// The next index of `range` that `admits` accepts, or `None` after one full turn.
    pub(super) fn advance(&self, range: &Range<usize>, admits: impl Fn(usize) -> bool) -> Option<usize> {
        loop {
            let last = self.0.load(Relaxed);
            let behind = (last + 1..range.end).chain(range.start..last + 1);
            let next = behind.into_iter().find(|&index| admits(index))?;
            if self.0.compare_exchange_weak(last, next, Relaxed, Relaxed).is_ok() {
                return Some(next);
            }
        }
    }
}

//! When which key may be ready again: a heap of deadlines with at most one valid entry per key.
//!
//! A deadline that moved later is not looked up in the heap: its entry comes due, the pool sees that the key still rests
//! and plans it anew. One that moved earlier is planned a second time, and the first entry is ignored when it comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Millis;

/// Not planned.
const NONE: u64 = u64::MAX;

pub(super) struct Schedule {
    heap: BinaryHeap<Reverse<(u64, u32)>>,
    /// The valid entry of each key.
    planned: Box<[u64]>,
}

impl Schedule {
    pub(super) fn new(keys: usize) -> Self {
        Self { heap: BinaryHeap::new(), planned: vec![NONE; keys].into() }
    }

    /// Looks at a key at that moment, or earlier if that was planned already.
    pub(super) fn plan(&mut self, index: u32, at: u64) {
        if let Some(planned) = self.planned.get_mut(index as usize)
            && at < *planned
        {
            *planned = at;
            self.heap.push(Reverse((at, index)));
        }
    }

    /// The first entry, without taking it.
    pub(super) fn first(&mut self) -> Option<(Millis, u32)> {
        while let Some(&Reverse((at, index))) = self.heap.peek() {
            if self.planned.get(index as usize) == Some(&at) {
                return Some((Millis(at), index));
            }
            self.heap.pop();
        }
        None
    }

    /// Takes the first entry if it is due.
    pub(super) fn take_due(&mut self, now: Millis) -> Option<u32> {
        let (_, index) = self.first().filter(|(at, _)| *at <= now)?;
        self.take_first();
        Some(index)
    }

    /// Takes the first entry.
    pub(super) fn take_first(&mut self) {
        if let Some(Reverse((_, index))) = self.heap.pop()
            && let Some(planned) = self.planned.get_mut(index as usize)
        {
            *planned = NONE;
        }
    }
}

//! What the parts that are model-checked build on: `tests/loom` puts loom's atomics and short words in its place.

pub(super) use std::sync::atomic::{AtomicU64, Ordering};

/// Bits used of a word.
pub(super) const BITS: usize = 64;

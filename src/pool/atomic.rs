//! The atomics of the parts that are model-checked: `tests/loom` puts loom's in their place.

pub(super) use std::sync::atomic::{AtomicU64, Ordering};

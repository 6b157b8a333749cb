//! The right to use one key for one attempt.
//!
//! However the request ends, also by a panic or a vanished client, dropping the lease takes it off the key's count.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::{Key, Millis, Pool};

/// One key in use.
pub struct Lease {
    pool: Arc<Pool>,
    index: usize,
}

impl Lease {
    pub(super) fn new(pool: Arc<Pool>, index: usize, now: Millis) -> Self {
        let lease = Self { pool, index };
        if let Some(key) = lease.key() {
            key.state.in_flight.fetch_add(1, Relaxed);
            key.state.uses.fetch_add(1, Relaxed);
            key.state.last_used.store(now.0, Relaxed);
        }
        lease
    }

    /// Place of the key in its pool.
    pub fn index(&self) -> u32 {
        u32::try_from(self.index).unwrap_or(u32::MAX)
    }

    /// The pool it came from.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The key itself.
    pub fn key(&self) -> Option<&Key> {
        self.pool.keys().get(self.index)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(key) = self.key() {
            let before = key.state.in_flight.fetch_sub(1, Relaxed);
            debug_assert!(before > 0, "a lease was dropped twice");
        }
    }
}

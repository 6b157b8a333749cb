//! The right to use one key for one attempt.
//!
//! However the request ends, also by a panic or a vanished client, dropping the lease takes it off the key's count.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::{KeyState, Millis};

/// One key in use.
pub struct Lease {
    state: Arc<KeyState>,
    index: u32,
    since: Millis,
}

impl Lease {
    pub(super) fn new(state: Arc<KeyState>, index: u32, since: Millis) -> Self {
        state.in_flight.fetch_add(1, Relaxed);
        state.uses.fetch_add(1, Relaxed);
        state.last_used.store(since.0, Relaxed);
        Self { state, index, since }
    }

    /// Place of the key in the pool it came from.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// When it was handed out.
    pub fn since(&self) -> Millis {
        self.since
    }

    /// The key's state.
    pub fn state(&self) -> &KeyState {
        &self.state
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let before = self.state.in_flight.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "a lease was dropped twice");
    }
}

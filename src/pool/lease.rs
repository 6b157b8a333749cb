//! The right to use one key for one attempt.
//!
//! However the request ends, also by a panic or a vanished client, dropping the lease takes it off the key's count.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::quota::Share;
use super::{KeyState, Millis};

/// One key in use.
pub struct Lease {
    state: Arc<KeyState>,
    index: u32,
    since: Millis,
    share: Option<Box<Share>>,
}

impl Lease {
    pub(super) fn new(state: Arc<KeyState>, index: u32, since: Millis, share: Option<Box<Share>>) -> Self {
        state.in_flight.fetch_add(1, Relaxed);
        state.uses.fetch_add(1, Relaxed);
        state.last_used.store(since.0, Relaxed);
        Self { state, index, since, share }
    }

    /// Place of the key in the pool it came from.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// When it was handed out.
    pub fn since(&self) -> Millis {
        self.since
    }

    /// The provider is asked now: the request counts against the key's limits, however it ends.
    pub fn asked(&mut self) {
        if let Some(share) = &mut self.share {
            share.asked();
        }
    }

    /// Tokens count against the key's limits.
    pub fn counts_tokens(&self) -> bool {
        self.share.is_some()
    }

    /// So many tokens of the key's limits were used.
    pub fn settle(&mut self, tokens: u64, now: Millis) {
        if let Some(share) = &mut self.share {
            share.settle(tokens, now);
        }
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

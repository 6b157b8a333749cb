//! One key: whether it may be used, and what is counted of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::Millis;
use super::quota::Quota;
use super::recheck::Recheck;
use super::rest::Rest;
use crate::config::{KeyId, KeyLimits};

/// Kinds of result counted per key, the size of its counter array.
pub const RESULTS: usize = 10;

/// The mutable part of a key. It outlives reloads: a key that stays keeps its state.
#[derive(Debug, Default)]
pub struct KeyState {
    /// Switched off by an operator while the server runs; what the key earned itself is kept beneath.
    pub(super) is_disabled: AtomicBool,
    /// Rests for what is certain, and its disablement.
    pub(super) own: Rest,
    /// Rests for failures that may prove not to be its fault: taking one back takes back nothing else.
    pub(super) suspicion: Rest,
    /// Rest for having too little left; only who knows that begins or lifts it.
    pub(super) balance: Rest,
    /// Until when its limits leave no room; 0 = there is some.
    pub(super) limit: AtomicU64,
    /// Failures since its last success, where each counts against the key itself.
    pub(super) strikes: AtomicU32,
    /// Rests in a row for refusals that don't say that it is dead.
    pub(super) refusals: AtomicU32,
    pub(super) recheck: Recheck,
    /// Circuits on which it failed and did not succeed since.
    pub(super) runs: AtomicU32,
    pub(super) in_flight: AtomicU32,
    pub(super) uses: AtomicU64,
    pub(super) last_used: AtomicU64,
    results: [AtomicU64; RESULTS],
}

impl KeyState {
    /// The deadline of what is its own alone.
    pub(super) fn until(&self) -> u64 {
        let marks = self.own.until().max(self.suspicion.until());
        marks.max(self.balance.until()).max(self.limit.load(Relaxed))
    }

    /// Requests under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Times the key was handed out.
    pub fn uses(&self) -> u64 {
        self.uses.load(Relaxed)
    }

    /// When it was handed out last.
    pub fn last_used(&self) -> Option<Millis> {
        (self.uses() > 0).then(|| Millis(self.last_used.load(Relaxed)))
    }

    /// Counts one result.
    pub fn count(&self, result: usize) {
        if let Some(counter) = self.results.get(result) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// All results counted.
    pub fn results(&self) -> [u64; RESULTS] {
        std::array::from_fn(|i| self.results.get(i).map_or(0, |c| c.load(Relaxed)))
    }
}

/// One key of a pool.
pub struct Key {
    /// Stable over restarts and reloads.
    pub id: KeyId,
    /// Shown in logs and metrics.
    pub name: Arc<str>,
    /// Lower is asked first.
    pub priority: u32,
    /// The mutable part.
    pub state: Arc<KeyState>,
    /// Places of its account and egress in the pool's list of groups.
    pub(super) account: Option<u32>,
    pub(super) egress: Option<u32>,
    /// Few keys have limits, and there may be very many keys.
    pub(super) quota: Option<Box<Quota>>,
    /// Switched off in the keys file; what the key earned itself is kept beneath.
    pub(super) is_off: bool,
}

impl Key {
    /// The keys file says that it is not to be used.
    pub fn is_off(&self) -> bool {
        self.is_off
    }

    /// An operator disabled it while the server ran.
    pub fn is_disabled_by_operator(&self) -> bool {
        self.state.is_disabled.load(Relaxed)
    }

    /// An operator says so, here or in the file.
    pub(super) fn is_switched_off(&self) -> bool {
        self.is_off || self.state.is_disabled.load(Relaxed)
    }

    /// Time alone does not bring it back.
    pub fn is_out(&self) -> bool {
        self.is_switched_off() || self.state.own.is_disabled()
    }
}

/// What a pool is told of a key it shall hold.
#[derive(Debug, Clone)]
pub struct Seed {
    /// Stable over restarts and reloads.
    pub id: KeyId,
    /// Shown in logs and metrics.
    pub name: Arc<str>,
    /// Lower is asked first.
    pub priority: u32,
    /// Keys of one account rest together.
    pub account: Option<Arc<str>>,
    /// Keys of one egress rest together.
    pub egress: Option<Arc<str>>,
    /// What its provider grants it, or its account.
    pub limits: Option<Box<KeyLimits>>,
    /// Globs of the models it is for; none = all.
    pub models: Vec<String>,
    /// Switched off by the operator.
    pub is_off: bool,
}

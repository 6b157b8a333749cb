//! An index over the keys: which are ready, which of those come first, and when that may change.
//!
//! The truth is in the keys' deadlines; a board only finds keys fast. There is one for requests in general and one for
//! each model that some key rests for. Writers hold the pool's lock. Invariant: a key that is preferred is ready, so a
//! search of the ready ones misses none whose preference changes meanwhile.

use parking_lot::Mutex;

use super::Millis;
use super::ready::ReadySet;
use super::rest::{FULL, NEVER};
use super::schedule::Schedule;

pub(super) struct Board {
    /// Those that may be used.
    pub(super) ready: ReadySet,
    /// Those of them that are asked first.
    pub(super) preferred: ReadySet,
    schedule: Mutex<Schedule>,
}

/// Until when a key may not be used, and until when others are asked first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    pub(super) blocked: u64,
    pub(super) deferred: u64,
}

impl Board {
    pub(super) fn new(keys: usize) -> Self {
        let schedule = Mutex::new(Schedule::new(keys));
        Self { ready: ReadySet::new(keys), preferred: ReadySet::new(keys), schedule }
    }

    /// Enters a key as its deadlines say.
    pub(super) fn enter(&self, index: u32, until: Deadlines, now: Millis) {
        let place = index as usize;
        let (is_ready, is_preferred) = (until.blocked <= now.0, until.blocked.max(until.deferred) <= now.0);
        if is_ready {
            self.ready.insert(place);
        }
        if is_preferred {
            return self.preferred.insert(place);
        }
        self.preferred.remove(place);
        if !is_ready {
            self.ready.remove(place);
        }
        let next = if is_ready { until.deferred } else { until.blocked };
        if !matches!(next, NEVER | FULL) {
            self.schedule.lock().plan(index, next);
        }
    }

    /// Enters keys whose moment has come, at most `limit`; returns how many. `until` tells a key's deadlines.
    pub(super) fn advance(&self, now: Millis, limit: usize, mut until: impl FnMut(u32) -> Deadlines) -> usize {
        let mut entered = 0;
        while entered < limit {
            let Some(index) = self.schedule.lock().take_due(now) else { break };
            self.enter(index, until(index), now);
            entered += 1;
        }
        entered
    }

    /// When the first key comes back, if time alone brings one back. `until` says how long one is blocked.
    pub(super) fn first_return(&self, until: impl Fn(u32) -> u64) -> Option<Millis> {
        let mut schedule = self.schedule.lock();
        loop {
            let (planned, index) = schedule.first()?;
            match until(index) {
                NEVER | FULL => schedule.take_first(),
                // The key's rest was made longer since it was planned.
                later if later > planned.0 => {
                    schedule.take_first();
                    schedule.plan(index, later);
                }
                _ => return Some(planned),
            }
        }
    }
}

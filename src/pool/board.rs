//! An index over the keys: which are ready, and when the others may be.
//!
//! The truth is in the keys' deadlines; a board only finds keys fast. There is one for requests in general and one for
//! each model that some key rests for. Writers hold the pool's lock.

use parking_lot::Mutex;

use super::Millis;
use super::ready::ReadySet;
use super::rest::NEVER;
use super::schedule::Schedule;

pub(super) struct Board {
    pub(super) ready: ReadySet,
    schedule: Mutex<Schedule>,
}

impl Board {
    pub(super) fn new(keys: usize) -> Self {
        Self { ready: ReadySet::new(keys), schedule: Mutex::new(Schedule::new(keys)) }
    }

    /// Enters a key that is blocked until that moment.
    pub(super) fn enter(&self, index: u32, until: u64, now: Millis) {
        if until <= now.0 {
            return self.ready.insert(index as usize);
        }
        self.ready.remove(index as usize);
        if until != NEVER {
            self.schedule.lock().plan(index, until);
        }
    }

    /// Enters keys whose moment has come, at most `limit`; returns how many. `until` says how long a key is blocked.
    pub(super) fn advance(&self, now: Millis, limit: usize, mut until: impl FnMut(u32) -> u64) -> usize {
        let mut entered = 0;
        while entered < limit {
            let Some(index) = self.schedule.lock().take_due(now) else { break };
            self.enter(index, until(index), now);
            entered += 1;
        }
        entered
    }

    /// When the first key comes back, if time alone brings one back.
    pub(super) fn first_return(&self, until: impl Fn(u32) -> u64) -> Option<Millis> {
        let mut schedule = self.schedule.lock();
        loop {
            let (planned, index) = schedule.first()?;
            match until(index) {
                NEVER => schedule.take_first(),
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

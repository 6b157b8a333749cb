//! Keys that have less left than the pool's minimum, as their provider tells.
//!
//! Such a rest is nobody's mark: no success forgives it, no rule makes it longer, and what lifts it lifts nothing else.

use std::time::Duration;

use super::apply::count;
use super::{Millis, Pool, Reason};

impl Pool {
    /// The key rests for this time at most; less if it has [enough](Self::wake_balance) before. True if its rest begins.
    pub fn rest_balance(&self, index: u32, rest: Duration, now: Millis) -> bool {
        let begun = self.in_charge(index, |pool, _, index| {
            let Some(key) = pool.key(index) else { return false };
            let begun = key.state.balance.begin(Reason::Balance, Some(rest), &pool.rules, now);
            pool.enter(index, now);
            if begun {
                count(&pool.transitions.rests, Reason::Balance);
            }
            begun
        });
        begun.unwrap_or(false)
    }

    /// The key has enough: it rests no more because of that. True if it did.
    pub fn wake_balance(&self, index: u32, now: Millis) -> bool {
        if self.key(index).is_none_or(|key| key.state.balance.until() == 0) {
            return false;
        }
        let woken = self.in_charge(index, |pool, _, index| {
            let Some(key) = pool.key(index) else { return false };
            let rested = !key.state.balance.is_over(now);
            key.state.balance.reset();
            pool.enter(index, now);
            rested
        });
        woken.unwrap_or(false)
    }
}

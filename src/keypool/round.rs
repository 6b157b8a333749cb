//! Whose turn it is to be probed.
//!
//! Disabled keys come when their plan says; all of them when they are reactivated; and a round goes through the pool, for
//! keys in use that nobody used lately. Nothing is copied: each of these is a position, and a tick moves it by as many keys
//! as its time allows. Invariants: no more keys are under way than configured, a key that works is not asked, nor one
//! that rests, and what was held up is not made up for in a burst.

use std::time::Duration;

use crate::config::Probe;
use crate::pool::{Doubt, Millis, Pool, Standing};

/// Keys looked at in one go.
const LOOK: u32 = 4096;
/// After a start it is left to the requests, for so long at most, to show which keys work.
const QUIET: Duration = Duration::from_secs(60);

/// Why a key is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is disabled, and its plan says so.
    Recheck,
    /// It is disabled, and all such keys are tried again.
    Reactivation,
    /// The round came by.
    Round,
}

/// Where the probes of a pool are. Outlives reloads.
#[derive(Debug, Default)]
pub struct Round {
    /// The key the round comes to next.
    next: u32,
    /// When (milliseconds of the pool's clock, with what lies between them); 0 = the round has not begun.
    due: f64,
    /// The key a reactivation comes to next, if one is under way.
    sweep: Option<u32>,
    under_way: usize,
    held_until: Millis,
    /// A probe costs money: only keys that failed are worth one.
    is_billed: bool,
    /// When the next reactivation begins.
    reactivates_at: Option<Millis>,
    /// When the provider accepted a key last.
    accepted_at: Option<Millis>,
    /// When it was found to refuse all, if it accepted none since.
    refused_at: Option<Millis>,
}

impl Round {
    /// The next key to be probed now, if there is one. It is under way until [`done`](Self::done). `chance`, from 0 to 1,
    /// keeps keys, and servers, from being probed in step.
    pub fn take(&mut self, pool: &Pool, probe: &Probe, chance: f64, now: Millis) -> Option<(u32, Why)> {
        if now < self.held_until || self.under_way >= probe.concurrency {
            return None;
        }
        let planned = || Some((*pool.take_rechecks(now, 1).first()?, Why::Recheck));
        let turn = planned()
            .or_else(|| Some((self.sweep(pool)?, Why::Reactivation)))
            .or_else(|| Some((self.walk(pool, probe.every?, chance, now)?, Why::Round)));
        self.under_way += usize::from(turn.is_some());
        turn
    }

    /// A probe came to its end.
    pub fn done(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// The provider does not answer: nobody is probed before then.
    pub fn hold(&mut self, until: Millis) {
        self.held_until = self.held_until.max(until);
    }

    /// Whether a probe costs money.
    pub fn set_billed(&mut self, is_billed: bool) {
        self.is_billed = is_billed;
    }

    /// Begins to try all disabled keys again.
    pub fn reactivate(&mut self) {
        self.sweep = Some(0);
    }

    /// When that begins next, for those who want to know.
    pub fn set_reactivation(&mut self, at: Option<Millis>) {
        self.reactivates_at = at;
    }

    /// The provider accepts a key.
    pub fn accepted(&mut self, now: Millis) {
        (self.accepted_at, self.refused_at) = (Some(now), None);
    }

    /// The provider refuses every key it is asked about.
    pub fn refused(&mut self, now: Millis) {
        self.refused_at = Some(now);
    }

    /// What the provider did `lately`: it accepted a key, or refused them all; `None` = neither is known.
    pub fn accepts_keys(&self, now: Millis, lately: Duration) -> Option<bool> {
        let was_lately = |at: Option<Millis>| at.is_some_and(|at| at.after(lately) > now);
        let refuses = was_lately(self.refused_at).then_some(false);
        refuses.or_else(|| was_lately(self.accepted_at).then_some(true))
    }

    fn sweep(&mut self, pool: &Pool) -> Option<u32> {
        let from = self.sweep?;
        let end = (pool.keys().len() as u32).min(from.saturating_add(LOOK));
        let found = (from..end).find(|index| pool.is_refused(*index));
        let next = found.map_or(end, |index| index + 1);
        self.sweep = (found.is_some() || (next as usize) < pool.keys().len()).then_some(next);
        found
    }

    fn walk(&mut self, pool: &Pool, every: Duration, chance: f64, now: Millis) -> Option<u32> {
        let keys = u32::try_from(pool.keys().len()).ok().filter(|keys| *keys > 0)?;
        let (now_ms, every_ms) = (now.0 as f64, every.as_secs_f64() * 1000.0);
        let step = every_ms / f64::from(keys);
        if self.due == 0.0 {
            self.due = now_ms + every.min(QUIET).as_secs_f64() * 1000.0 + step * chance;
        } else if (self.due - now_ms).abs() > every_ms + QUIET.as_secs_f64() * 1000.0 {
            // Other settings, or the process slept.
            self.due = now_ms + step * chance;
        }
        for _ in 0..LOOK {
            if self.due > now_ms {
                return None;
            }
            let index = self.next % keys;
            self.next = (index + 1) % keys;
            self.due += step * (0.5 + chance);
            if self.is_wanted(pool.doubt(index, every, now)) {
                return Some(index);
            }
        }
        None
    }

    fn is_wanted(&self, doubt: Option<Doubt>) -> bool {
        match doubt {
            Some(Doubt::Failed) => true,
            Some(Doubt::Idle) => !self.is_billed,
            None => false,
        }
    }

    /// When a key is probed next, as far as can be told: one in use is passed over if it serves requests until then.
    pub fn next_probe(&self, pool: &Pool, probe: &Probe, index: u32, now: Millis) -> Option<Millis> {
        if pool.is_refused(index) {
            return pool.recheck_at(index).into_iter().chain(self.reactivates_at).min();
        }
        let (every, key) = (probe.every?, pool.key(index)?);
        let back = match pool.standing(index, now) {
            Standing::Disabled(_) => return None,
            Standing::Cooling(left, _) => now.after(left),
            Standing::Ready => now,
        };
        let has_failed = back > now || pool.doubt(index, every, now) == Some(Doubt::Failed);
        if self.is_billed && !has_failed {
            return None;
        }
        let idle = key.state.last_used().filter(|_| !has_failed).map(|used| used.after(every));
        let earliest = back.max(idle.unwrap_or(back)).0 as f64;
        let keys = u32::try_from(pool.keys().len()).ok().filter(|keys| *keys > 0)?;
        let every_ms = every.as_secs_f64() * 1000.0;
        let ahead = (index + keys - self.next % keys) % keys;
        let first = self.due.max(now.0 as f64) + every_ms / f64::from(keys) * f64::from(ahead);
        let rounds = ((earliest - first) / every_ms).ceil().max(0.0);
        Some(Millis((first + rounds * every_ms) as u64))
    }
}

#[cfg(test)]
mod tests;

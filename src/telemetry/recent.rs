//! The last hour, minute by minute: what the overview's rates and times are made of.
//!
//! Requests know nothing of it: once a minute the pools' counters are copied, and the difference of two copies is what
//! happened between them. It begins anew with the process; what lasts is in the store.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::metrics::{PoolMetrics, Totals};

/// Between two copies.
const MINUTE: Duration = Duration::from_secs(60);
/// Copies kept: an hour's, both ends included.
const KEPT: usize = 61;

/// Copies of the pools' counters.
pub struct Recent(Mutex<VecDeque<Copy>>);

struct Copy {
    at: Instant,
    time: SystemTime,
    pools: HashMap<String, Totals>,
}

/// What happened in a minute.
pub struct Minute {
    /// When it began.
    pub from: SystemTime,
    /// What was counted.
    pub totals: Totals,
}

impl Copy {
    fn now() -> Self {
        let pools = PoolMetrics::all().into_iter().map(|metrics| (metrics.pool().to_owned(), metrics.totals()));
        Self { at: Instant::now(), time: SystemTime::now(), pools: pools.collect() }
    }

    /// What these pools counted after `before`.
    fn since(&self, before: &Self, pools: &[&str]) -> Totals {
        let none = Totals::default();
        let mut sum = Totals::default();
        for (pool, now) in pools.iter().filter_map(|pool| Some((pool, self.pools.get(*pool)?))) {
            sum.add(&now.since(before.pools.get(*pool).unwrap_or(&none)));
        }
        sum
    }
}

impl Default for Recent {
    /// Begins now.
    fn default() -> Self {
        Self(Mutex::new(VecDeque::from([Copy::now()])))
    }
}

impl Recent {
    /// Takes a copy if it is time for one.
    pub fn note(&self) {
        let mut copies = self.0.lock();
        if copies.back().is_some_and(|last| last.at.elapsed() < MINUTE) {
            return;
        }
        if copies.len() >= KEPT {
            copies.pop_front();
        }
        copies.push_back(Copy::now());
    }

    /// What these pools counted in the last time of that length or a little more, as far back as is known, and how long
    /// that is.
    pub fn last(&self, length: Duration, pools: &[&str]) -> (Duration, Totals) {
        let now = Copy::now();
        let copies = self.0.lock();
        let is_before = |copy: &&Copy| now.at.saturating_duration_since(copy.at) >= length;
        match copies.iter().rev().find(is_before).or_else(|| copies.front()) {
            Some(before) => (now.at.saturating_duration_since(before.at), now.since(before, pools)),
            None => (Duration::ZERO, Totals::default()),
        }
    }

    /// What these pools counted in each minute so far, the one under way last.
    pub fn minutes(&self, pools: &[&str]) -> Vec<Minute> {
        let now = Copy::now();
        let copies = self.0.lock();
        let ends = copies.iter().skip(1).chain([&now]);
        let minute = |(from, to): (&Copy, &Copy)| Minute { from: from.time, totals: to.since(from, pools) };
        copies.iter().zip(ends).map(minute).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Outcome;

    #[test]
    fn a_window_holds_what_came_after_its_first_copy() {
        let metrics = PoolMetrics::for_pool("recent");
        let finish = || metrics.request_finished(200, Outcome::Ok, Duration::ZERO, None, None);
        finish();
        let recent = Recent::default();
        finish();
        recent.note();
        assert_eq!(recent.minutes(&["recent"]).len(), 1, "the minute is not over");
        recent.0.lock().push_back(Copy::now());
        finish();
        let minutes: Vec<u64> = recent.minutes(&["recent"]).iter().map(|minute| minute.totals.requests()).collect();
        assert_eq!(minutes, [1, 1]);
        assert_eq!(recent.last(Duration::ZERO, &["recent"]).1.requests(), 1, "from the newest copy on");
        assert_eq!(recent.last(MINUTE, &["recent"]).1.requests(), 2, "as far back as is known");
        assert_eq!(recent.last(MINUTE, &["other"]).1.requests(), 0);
    }
}

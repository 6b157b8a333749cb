//! Exact windows: how much was used within the last minute, and on this day. Of clients and of keys.
//!
//! No minute, wherever it begins, holds more than its limit: a sliding window remembers what was used when, in steps of
//! half a second that are forgotten late rather than early. So a wait is never longer than the window, and whoever waits
//! it out finds room. Pure data: the caller says what time it is.

use std::collections::VecDeque;
use std::time::Duration;

use super::Millis;

/// Length of the sliding window (ms).
const MINUTE: u64 = 60_000;
/// Uses closer together than this are remembered as one (ms), which bounds the memory to some 120 steps.
const STEP: u64 = 500;
/// What was used within the last minute.
#[derive(Debug, Default)]
pub(crate) struct Minute {
    steps: VecDeque<Step>,
    total: u64,
}

/// Uses in one step of time.
#[derive(Debug)]
struct Step {
    first: u64,
    last: u64,
    amount: u64,
}

impl Minute {
    /// Until `amount` more fits under `limit`: zero if it does now. More than the whole limit fits an empty window.
    pub(crate) fn wait(&mut self, amount: u64, limit: u64, now: Millis) -> Duration {
        self.forget(now.0);
        let amount = amount.min(limit);
        let mut left = self.total;
        let mut steps = self.steps.iter();
        let mut until = now.0;
        while left.saturating_add(amount) > limit {
            let Some(step) = steps.next() else { break };
            left -= step.amount;
            until = step.last + MINUTE;
        }
        Duration::from_millis(until.saturating_sub(now.0))
    }

    /// Counts a use, and tells by which time it can be taken back.
    pub(crate) fn add(&mut self, amount: u64, now: Millis) -> Millis {
        // Providers may tell any number.
        let amount = amount.min(u64::MAX - self.total);
        if amount == 0 {
            return now;
        }
        self.total += amount;
        match self.steps.back_mut() {
            // Threads may read the clock in one order and come here in another.
            Some(step) if now.0 < step.first + STEP => {
                step.last = step.last.max(now.0);
                step.amount += amount;
                Millis(step.last)
            }
            _ => {
                self.steps.push_back(Step { first: now.0, last: now.0, amount });
                now
            }
        }
    }

    /// Takes back part of what was used at that time, unless it is forgotten already.
    pub(crate) fn take_back(&mut self, amount: u64, used_at: Millis) {
        let step = self.steps.iter_mut().rev().find(|step| step.first <= used_at.0);
        if let Some(step) = step.filter(|step| used_at.0 <= step.last) {
            let amount = amount.min(step.amount);
            step.amount -= amount;
            self.total -= amount;
        }
    }

    /// What was used within the last minute.
    pub(crate) fn used(&mut self, now: Millis) -> u64 {
        self.forget(now.0);
        self.total
    }

    fn forget(&mut self, now: u64) {
        while let Some(step) = self.steps.pop_front_if(|step| step.last + MINUTE <= now) {
            self.total -= step.amount;
        }
        debug_assert_eq!(self.total, self.steps.iter().map(|step| step.amount).sum::<u64>());
    }
}

/// What was used on one day. Times are Unix seconds.
#[derive(Debug, Default)]
pub(crate) struct Day {
    /// When it is over.
    end: u64,
    used: u64,
}

impl Day {
    /// Begins the day that it is now, if one is over; `end` tells when it will be.
    pub(crate) fn turn(&mut self, unix: u64, end: impl FnOnce(u64) -> u64) {
        // A clock set back does not give a day back.
        if unix >= self.end {
            *self = Self { end: end(unix), used: 0 };
        }
    }

    /// Until `amount` more fits under `limit`: zero if it does now. More than the whole limit fits an unused day.
    pub(crate) fn wait(&self, amount: u64, limit: u64, unix: u64) -> Duration {
        if self.used.saturating_add(amount.min(limit)) <= limit {
            return Duration::ZERO;
        }
        Duration::from_secs(self.end.saturating_sub(unix))
    }

    /// Counts a use on the day last turned to, and tells which that is.
    pub(crate) fn add(&mut self, amount: u64) -> u64 {
        self.used = self.used.saturating_add(amount);
        self.end
    }

    /// Takes a use of that day back.
    pub(crate) fn take_back(&mut self, amount: u64, day: u64) {
        if day == self.end {
            self.used = self.used.saturating_sub(amount);
        }
    }

    /// At least so much was used before.
    pub(crate) fn at_least(&mut self, before: u64) {
        self.used = self.used.max(before);
    }

    pub(crate) fn used(&self) -> u64 {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Millis {
        Millis(ms)
    }

    /// Seeded, so that a failure can be repeated.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % limit
        }
    }

    #[test]
    fn no_minute_holds_more_than_the_limit_and_every_wait_is_true() {
        for seed in 0..200 {
            let mut random = Random(seed);
            let limit = 1 + random.below(20);
            let pace = 1 + random.below(20_000);
            let (mut window, mut now, mut used) = (Minute::default(), 1, Vec::<(u64, u64)>::new());
            for _ in 0..500 {
                now += random.below(pace);
                let amount = 1 + random.below(3).min(limit - 1);
                let mut wait = window.wait(amount, limit, at(now)).as_millis() as u64;
                assert!(wait <= MINUTE, "seed {seed}");
                if wait > 0 && random.below(2) == 0 {
                    now += wait;
                    wait = window.wait(amount, limit, at(now)).as_millis() as u64;
                    assert_eq!(wait, 0, "seed {seed}: the wait was not true");
                }
                if wait == 0 {
                    window.add(amount, at(now));
                    used.push((now, amount));
                    let within = used.iter().filter(|(when, _)| when + MINUTE > now).map(|(_, n)| n).sum::<u64>();
                    assert!(within <= limit, "seed {seed}: {within} > {limit}");
                }
            }
            assert!(window.steps.len() <= 122);
        }
    }

    #[test]
    fn what_is_taken_back_leaves_room() {
        let mut window = Minute::default();
        window.add(5, at(1000));
        window.add(5, at(9000));
        assert_eq!(window.wait(1, 10, at(9000)), Duration::from_millis(52_000));
        window.take_back(3, at(1000));
        assert_eq!(window.wait(3, 10, at(9000)), Duration::ZERO);
        assert_eq!(window.wait(4, 10, at(9000)), Duration::from_millis(52_000));
        assert_eq!(window.wait(6, 10, at(9000)), Duration::from_millis(60_000));
        window.take_back(5, at(70_000));
        assert_eq!(window.wait(4, 10, at(70_000)), Duration::ZERO, "nothing below zero");
    }

    #[test]
    fn more_than_the_limit_fits_an_empty_window_only() {
        let mut window = Minute::default();
        assert_eq!(window.wait(1000, 10, at(1)), Duration::ZERO);
        window.add(1000, at(1));
        assert_eq!(window.wait(1, 10, at(1)), Duration::from_millis(MINUTE));
    }

    #[test]
    fn no_number_is_too_large() {
        let (mut window, mut day) = (Minute::default(), Day::default());
        for _ in 0..3 {
            window.add(u64::MAX, at(1));
            day.add(u64::MAX);
        }
        assert_eq!((window.wait(1, 10, at(2)), day.used()), (Duration::from_millis(MINUTE - 1), u64::MAX));
        window.take_back(u64::MAX, at(1));
        assert_eq!(window.wait(1, 1, at(2)), Duration::ZERO);
    }

    #[test]
    fn days_end_at_midnight_and_never_come_back() {
        const DAY: u64 = 86_400;
        let noon = 20_000 * DAY + DAY / 2;
        let mut day = Day::default();
        let wait = |day: &mut Day, unix| {
            day.turn(unix, |unix| (unix / DAY + 1) * DAY);
            day.wait(1, 1, unix)
        };
        assert_eq!(wait(&mut day, noon), Duration::ZERO);
        let today = day.add(1);
        assert_eq!(wait(&mut day, noon), Duration::from_secs(DAY / 2));
        assert_eq!(wait(&mut day, noon - DAY), Duration::from_secs(DAY + DAY / 2), "the clock was set back");
        day.take_back(1, today);
        assert_eq!(wait(&mut day, noon), Duration::ZERO);
        day.add(1);
        assert_eq!(wait(&mut day, noon + DAY / 2), Duration::ZERO, "midnight");
        day.add(1);
        day.take_back(1, today);
        assert_eq!(wait(&mut day, noon + DAY / 2), Duration::from_secs(DAY), "a use of yesterday");
        assert_eq!(Day::default().wait(9, 5, noon), Duration::ZERO, "more than the limit fits an unused day");
    }
}

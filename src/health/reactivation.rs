//! When all keys of a pool that rules disabled are tried again.
//!
//! Wall time decides, and the last time is kept in the store. Invariant: times that were missed, while the process slept
//! or was not there, are made up for by one.

use jiff::Timestamp;

use crate::config::schedule::Schedule;
use crate::store::Run;

/// The schedule of one pool, and how far it is.
#[derive(Debug)]
pub(super) struct Plan {
    schedule: Schedule,
    last: Timestamp,
    next: Option<Timestamp>,
}

impl Plan {
    /// Goes on where the schedule stood, if it is the same as then; else it begins now.
    pub(super) fn new(schedule: &Schedule, kept: Option<&Run>, now: Timestamp) -> Self {
        let same = kept.filter(|run| run.schedule == schedule.to_string());
        // A clock that was wrong then does not stop the schedule.
        let last = same.and_then(|run| Timestamp::from_millisecond(run.at).ok()).filter(|last| *last <= now);
        let last = last.unwrap_or(now);
        Self { next: schedule.after(last), schedule: schedule.clone(), last }
    }

    /// It is about the same schedule.
    pub(super) fn is_of(&self, schedule: &Schedule) -> bool {
        self.schedule == *schedule
    }

    /// Whether it is time; if so, the next time is planned.
    pub(super) fn take(&mut self, now: Timestamp) -> bool {
        if now < self.last {
            self.go_on(now);
        }
        let is_due = self.next.is_some_and(|next| next <= now);
        if is_due {
            self.go_on(now);
        }
        is_due
    }

    fn go_on(&mut self, now: Timestamp) {
        (self.last, self.next) = (now, self.schedule.after(now));
    }

    /// When it is time.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.next
    }

    /// What is kept of it.
    pub(super) fn run(&self, pool: &str) -> Run {
        Run { pool: pool.to_owned(), schedule: self.schedule.to_string(), at: self.last.as_millisecond() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::{SignedDuration, ToSpan};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn nightly() -> Schedule {
        Schedule::cron("30 2 * * *", Some("Europe/Berlin")).unwrap()
    }

    /// When it was time, looked at every minute.
    fn runs(plan: &mut Plan, from: &str, to: &str) -> Vec<String> {
        let mut runs = Vec::new();
        let mut now = at(from);
        while now <= at(to) {
            if plan.take(now) {
                runs.push(now.to_string());
            }
            now += 1.minute();
        }
        runs
    }

    #[test]
    fn an_interval_begins_with_the_server() {
        let now = at("2026-11-21T12:00:00Z");
        let mut plan = Plan::new(&Schedule::Every(Duration::from_secs(600)), None, now);
        assert!(!plan.take(now));
        let expected = ["2026-11-21T12:10:00Z", "2026-11-21T12:20:00Z", "2026-11-21T12:30:00Z"];
        assert_eq!(runs(&mut plan, "2026-11-21T12:00:00Z", "2026-11-21T12:35:00Z"), expected);
    }

    #[test]
    fn a_night_in_which_the_clock_changes_has_one_run() {
        let mut plan = Plan::new(&nightly(), None, at("2026-03-28T12:00:00Z"));
        let spring = runs(&mut plan, "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
        assert_eq!(spring, ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        let mut plan = Plan::new(&nightly(), None, at("2026-10-24T12:00:00Z"));
        let autumn = runs(&mut plan, "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
        assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn what_was_missed_is_caught_up_once() {
        let before = Plan::new(&nightly(), None, at("2026-11-01T12:00:00Z"));
        let kept = before.run("p");
        // Down for ten nights.
        let now = at("2026-11-11T12:00:00Z");
        let mut plan = Plan::new(&nightly(), Some(&kept), now);
        assert!(plan.take(now));
        assert!(!plan.take(now + SignedDuration::from_secs(1)));
        assert_eq!(plan.next(), Some(at("2026-11-12T01:30:00Z")));
        // And that is known after the next restart.
        let mut plan = Plan::new(&nightly(), Some(&plan.run("p")), now + 1.hour());
        assert!(!plan.take(now + 1.hour()));
        assert_eq!(plan.next(), Some(at("2026-11-12T01:30:00Z")));
    }

    #[test]
    fn nothing_is_missed_by_a_schedule_that_is_new() {
        let kept = Plan::new(&nightly(), None, at("2026-11-01T12:00:00Z")).run("p");
        let now = at("2026-11-11T12:00:00Z");
        let mut plan = Plan::new(&Schedule::Every(Duration::from_secs(3600)), Some(&kept), now);
        assert!(!plan.take(now));
        assert_eq!(plan.next(), Some(now + 1.hour()));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_it() {
        let schedule = Schedule::Every(Duration::from_secs(3600));
        let mut plan = Plan::new(&schedule, None, at("2030-01-01T00:00:00Z"));
        let now = at("2026-11-21T12:00:00Z");
        assert!(!plan.take(now));
        assert_eq!(plan.next(), Some(now + 1.hour()));
        let kept = Run { at: at("2030-01-01T00:00:00Z").as_millisecond(), ..plan.run("p") };
        assert_eq!(Plan::new(&schedule, Some(&kept), now).next(), Some(now + 1.hour()));
    }
}

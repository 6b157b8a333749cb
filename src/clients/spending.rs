//! What was spent in the day and in the month that it is.
//!
//! Both are counted whatever the budget is for, so that one that changes knows what was spent before. Pure data: the
//! caller says what time it is.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::config::prices::{Budget, Money, Period};

/// What a token spent, by the calendar (UTC).
#[derive(Debug, Default)]
pub(super) struct Spending {
    day: Span,
    month: Span,
}

/// What was spent in a part of the calendar.
#[derive(Debug, Default, Clone, Copy)]
struct Span {
    /// When it is over (Unix seconds).
    end: u64,
    spent: Money,
}

/// What a token spent today and this month.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Since midnight (UTC).
    pub day: Money,
    /// Since the month's first midnight (UTC).
    pub month: Money,
}

impl Spending {
    /// Until something may be spent under this budget: zero if it may now. `unix` is in seconds.
    pub(super) fn wait(&mut self, budget: Budget, unix: u64) -> Duration {
        self.turn(unix);
        let span = match budget.per {
            Period::Day => self.day,
            Period::Month => self.month,
        };
        if span.spent < budget.amount { Duration::ZERO } else { Duration::from_secs(span.end.saturating_sub(unix)) }
    }

    /// Counts a cost.
    pub(super) fn add(&mut self, cost: Money, unix: u64) {
        self.turn(unix);
        self.day.spent = self.day.spent.plus(cost);
        self.month.spent = self.month.spent.plus(cost);
    }

    /// At least so much was spent before.
    pub(super) fn at_least(&mut self, before: Spent, unix: u64) {
        self.turn(unix);
        self.day.spent = self.day.spent.max(before.day);
        self.month.spent = self.month.spent.max(before.month);
    }

    pub(super) fn spent(&mut self, unix: u64) -> Spent {
        self.turn(unix);
        Spent { day: self.day.spent, month: self.month.spent }
    }

    pub(super) fn is_used(&self) -> bool {
        self.month.spent > Money::default()
    }

    /// Begins what has begun. A clock that is set back gives nothing back.
    fn turn(&mut self, unix: u64) {
        for (span, period) in [(&mut self.day, Period::Day), (&mut self.month, Period::Month)] {
            if unix >= span.end {
                *span = Span { end: end(period, unix), spent: Money::default() };
            }
        }
    }
}

/// When the day or month of this moment began (Unix seconds).
pub fn begin(period: Period, unix: u64) -> u64 {
    moment(date(unix).map(|date| if period == Period::Day { date } else { date.first_of_month() })).unwrap_or(unix)
}

/// When the day or month of this moment is over (Unix seconds).
pub(super) fn end(period: Period, unix: u64) -> u64 {
    let last = date(unix).map(|date| if period == Period::Day { date } else { date.last_of_month() });
    // Beyond the calendar nothing ends any more.
    moment(last.and_then(|last| last.tomorrow().ok())).unwrap_or(u64::MAX)
}

fn date(unix: u64) -> Option<Date> {
    let moment = Timestamp::from_second(i64::try_from(unix).ok()?).ok()?;
    Some(moment.to_zoned(TimeZone::UTC).date())
}

fn moment(midnight: Option<Date>) -> Option<u64> {
    midnight?.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(text: &str) -> u64 {
        text.parse::<Timestamp>().unwrap().as_second().try_into().unwrap()
    }

    #[test]
    fn days_and_months_end_by_the_calendar() {
        let leap = unix("2028-02-28T23:59:59Z");
        assert_eq!(end(Period::Day, leap), unix("2028-02-29T00:00:00Z"));
        assert_eq!(end(Period::Month, leap), unix("2028-03-01T00:00:00Z"));
        assert_eq!(end(Period::Month, unix("2026-12-31T12:00:00Z")), unix("2027-01-01T00:00:00Z"));
        assert_eq!(
            end(Period::Day, unix("2026-12-01T00:00:00Z")),
            unix("2026-12-02T00:00:00Z"),
            "midnight begins a day"
        );
        assert_eq!(begin(Period::Month, leap), unix("2028-02-01T00:00:00Z"));
        assert_eq!(begin(Period::Day, leap), unix("2028-02-28T00:00:00Z"));
        assert_eq!(end(Period::Day, u64::MAX), u64::MAX);
    }

    #[test]
    fn what_is_spent_waits_for_the_end_of_its_period() {
        let mut spending = Spending::default();
        let budget = |units, per| Budget { amount: Money::of(units), per };
        let (day, month) = (budget(1.0, Period::Day), budget(3.0, Period::Month));
        let mut now = unix("2026-01-30T18:00:00Z");
        assert_eq!(spending.wait(day, now), Duration::ZERO);
        spending.add(Money::of(0.9), now);
        assert_eq!(spending.wait(day, now), Duration::ZERO, "a request may begin while anything is left");
        spending.add(Money::of(0.3), now);
        assert_eq!(spending.wait(day, now), Duration::from_secs(6 * 3600));
        now += 6 * 3600;
        assert_eq!(spending.wait(day, now), Duration::ZERO, "a new day");
        spending.add(Money::of(1.8), now);
        assert_eq!(spending.wait(month, now), Duration::from_secs(24 * 3600));
        assert_eq!(spending.wait(day, now - 7 * 3600), Duration::from_secs(31 * 3600), "the clock was set back");
        assert_eq!(spending.spent(now), Spent { day: Money::of(1.8), month: Money::of(3.0) });
        assert_eq!(spending.spent(now + 24 * 3600), Spent::default(), "a new month");
    }

    #[test]
    fn what_was_spent_before_is_not_counted_twice() {
        let mut spending = Spending::default();
        let now = unix("2026-01-30T18:00:00Z");
        spending.add(Money(5), now);
        spending.at_least(Spent { day: Money(3), month: Money(30) }, now);
        assert_eq!(spending.spent(now), Spent { day: Money(5), month: Money(30) });
    }
}

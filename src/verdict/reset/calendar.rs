//! Resets by the calendar, in the zone of the provider's clock.

use std::time::Duration;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::Source;
use super::moment::until;

/// Time left to the next day, week or month; `None` for what is not of the calendar.
pub(super) fn next(source: Source, zone: &TimeZone, now: Timestamp) -> Option<Duration> {
    match source {
        Source::Midnight => midnight(zone, now),
        Source::Week => monday(zone, now),
        Source::Month => first_of_month(zone, now),
        Source::Stated | Source::Date => None,
    }
}

/// Time left to the next midnight.
pub(super) fn midnight(zone: &TimeZone, now: Timestamp) -> Option<Duration> {
    at(today(zone, now).tomorrow().ok()?, zone, now)
}

/// Time left to the next Monday.
pub(super) fn monday(zone: &TimeZone, now: Timestamp) -> Option<Duration> {
    at(today(zone, now).nth_weekday(1, Weekday::Monday).ok()?, zone, now)
}

/// Time left to the first of the next month.
pub(super) fn first_of_month(zone: &TimeZone, now: Timestamp) -> Option<Duration> {
    at(today(zone, now).first_of_month().checked_add(1.month()).ok()?, zone, now)
}

fn today(zone: &TimeZone, now: Timestamp) -> Date {
    now.to_zoned(zone.clone()).date()
}

fn at(day: Date, zone: &TimeZone, now: Timestamp) -> Option<Duration> {
    until(day.to_zoned(zone.clone()).ok()?.timestamp(), now)
}

//! When something happens again and again: at intervals, or as a cron line says by a zone's clock.
//!
//! A line that names one time of day happens once on each of its days: where the clock is put forward over it, right
//! after that; where it comes twice, the first time. One that names many goes by the time that passes.

use std::fmt;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::units::Time;

/// Shortest interval: less would be a storm.
const SHORTEST: Duration = Duration::from_secs(1);
/// What each field of a cron line may be.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of month", "1-31"),
    ("month", "1-12"),
    ("day of week", "0-7, SUN-SAT"),
];

/// When.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// So long after the last time.
    Every(Duration),
    /// By the clock.
    Cron {
        /// The line.
        cron: Box<Cron>,
        /// Whose clock.
        zone: TimeZone,
    },
}

/// Why an interval, a cron line, or its zone, can't be used. Says nothing of what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// Not five fields.
    #[error(
        "a cron line has five fields (minute, hour, day of month, month, day of week), not {0}; write e.g. 0 3 * * *"
    )]
    Fields(usize),
    /// A field that can't be read.
    #[error("the {0} can't be read; write * or {1}, lists (1,2), ranges (1-5) or steps (*/2) of them")]
    Field(&'static str, &'static str),
    /// Another word than there are.
    #[error("write a cron line such as 0 3 * * *, or @hourly, @daily, @weekly, @monthly; for intervals there is every")]
    Word,
    /// No such moment.
    #[error("never happens: no date is like that; write one there is, e.g. 0 3 * * *")]
    Never,
    /// A shorter interval.
    #[error("must be at least 1s")]
    TooOften,
    /// Not the name of a zone.
    #[error("no time zone of this name; write one of the IANA's, e.g. Asia/Shanghai or UTC")]
    Zone,
}

impl Schedule {
    /// A cron line by the clock of a zone; UTC if none is named.
    ///
    /// # Errors
    /// If one can't be read, or the line names no moment.
    pub fn cron(line: &str, zone: Option<&str>) -> Result<Self, BadSchedule> {
        let zone = zone.map_or(Ok(TimeZone::UTC), TimeZone::get).map_err(|_| BadSchedule::Zone)?;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(line).map_err(|_| flaw(&parser, line))?;
        let schedule = Self::Cron { cron: Box::new(cron), zone };
        // A year in which every day of the week and of the month comes; a leap day is at most eight years off.
        let some_day = Timestamp::from_second(1_700_000_000).unwrap_or_default();
        schedule.after(some_day).is_some().then_some(schedule).ok_or(BadSchedule::Never)
    }

    /// An interval.
    ///
    /// # Errors
    /// If it is too short.
    pub fn every(time: Duration) -> Result<Self, BadSchedule> {
        if time < SHORTEST { Err(BadSchedule::TooOften) } else { Ok(Self::Every(time)) }
    }

    /// The next time after that one.
    pub fn after(&self, last: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(time) => last.checked_add(SignedDuration::try_from(*time).ok()?).ok(),
            Self::Cron { cron, zone } => {
                let last = last.to_zoned(zone.clone());
                Some(cron.find_next_occurrence(&last, false).ok()?.timestamp())
            }
        }
    }
}

/// As it is written, to tell one from another.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(time) => write!(f, "every {}", Time(*time)),
            Self::Cron { cron, zone } => write!(f, "{} {}", cron.pattern, zone.iana_name().unwrap_or("UTC")),
        }
    }
}

/// What is wrong with a line.
fn flaw(parser: &CronParser, line: &str) -> BadSchedule {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if line.contains('@') || fields.is_empty() {
        return BadSchedule::Word;
    }
    if fields.len() != FIELDS.len() {
        return BadSchedule::Fields(fields.len());
    }
    let is_bad = |place: usize| {
        let mut alone = ["*"; FIELDS.len()];
        if let (Some(slot), Some(field)) = (alone.get_mut(place), fields.get(place)) {
            *slot = field;
        }
        parser.parse(&alone.join(" ")).is_err()
    };
    let bad = FIELDS.iter().enumerate().find(|(place, _)| is_bad(*place));
    bad.map_or(BadSchedule::Word, |(_, (name, range))| BadSchedule::Field(name, range))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The times after a moment, as that zone's clock shows them.
    fn times(line: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::cron(line, Some(zone)).unwrap();
        let times = std::iter::successors(schedule.after(at(from)), |last| schedule.after(*last));
        times
            .take(count)
            .map(|time| time.to_zoned(TimeZone::get(zone).unwrap()).strftime("%m-%d %H:%M%:z").to_string())
            .collect()
    }

    #[test]
    fn midnight_in_shanghai_is_four_in_the_afternoon_in_greenwich() {
        let schedule = Schedule::cron("0 0 * * *", Some("Asia/Shanghai")).unwrap();
        assert_eq!(schedule.after(at("2026-11-21T15:59:59Z")), Some(at("2026-11-21T16:00:00Z")));
        assert_eq!(schedule.after(at("2026-11-21T16:00:00Z")), Some(at("2026-11-22T16:00:00Z")));
        let utc = Schedule::cron("0 0 * * *", None).unwrap();
        assert_eq!(utc.after(at("2026-11-21T15:59:59Z")), Some(at("2026-11-22T00:00:00Z")));
    }

    #[test]
    fn a_time_that_the_spring_skips_comes_right_after_it() {
        // 2026-03-29 02:00 +01:00 is followed by 03:00 +02:00.
        let berlin = times("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3);
        assert_eq!(berlin, ["03-28 02:30+01:00", "03-29 03:00+02:00", "03-30 02:30+02:00"]);
        let hourly = times("0 * * * *", "Europe/Berlin", "2026-03-28T23:30:00Z", 3);
        assert_eq!(hourly, ["03-29 01:00+01:00", "03-29 03:00+02:00", "03-29 04:00+02:00"]);
    }

    #[test]
    fn a_time_that_the_autumn_repeats_comes_once_and_an_interval_goes_on() {
        // 2026-11-01 02:00 -04:00 is followed by 01:00 -05:00.
        let daily = times("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2);
        assert_eq!(daily, ["11-01 01:30-04:00", "11-02 01:30-05:00"]);
        let every_half_hour = times("*/30 * * * *", "America/New_York", "2026-11-01T04:45:00Z", 5);
        let expected =
            ["11-01 01:00-04:00", "11-01 01:30-04:00", "11-01 01:00-05:00", "11-01 01:30-05:00", "11-01 02:00-05:00"];
        assert_eq!(every_half_hour, expected);
        // Asked in the middle of the repeated hour, whose run was had already.
        let schedule = Schedule::cron("30 1 * * *", Some("America/New_York")).unwrap();
        assert_eq!(schedule.after(at("2026-11-01T06:10:00Z")), Some(at("2026-11-02T06:30:00Z")));
    }

    #[test]
    fn midnight_that_does_not_exist_comes_an_hour_later() {
        // Cairo begins its summer at midnight.
        let cairo = times("0 0 * * *", "Africa/Cairo", "2026-04-22T12:00:00Z", 3);
        assert_eq!(cairo, ["04-23 00:00+02:00", "04-24 01:00+03:00", "04-25 00:00+03:00"]);
    }

    #[test]
    fn leap_days_count_and_days_that_never_come_are_refused() {
        let leap = Schedule::cron("0 0 29 2 *", None).unwrap();
        assert_eq!(leap.after(at("2025-01-01T00:00:00Z")), Some(at("2028-02-29T00:00:00Z")));
        for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
            assert_eq!(Schedule::cron(never, None).unwrap_err(), BadSchedule::Never, "{never}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_not_repeated() {
        let said = |line: &str, zone| Schedule::cron(line, zone).unwrap_err().to_string();
        assert!(said("0 25 * * *", None).starts_with("the hour can't be read; write * or 0-23"));
        assert!(said("0 0 * * CANARY", None).starts_with("the day of week"));
        assert!(said("0 0 0 * * *", None).contains("not 6"));
        assert!(said("CANARY", None).contains("not 1"));
        assert!(said("@every 1h", None).contains("there is every"));
        assert!(said("", None).starts_with("write a cron line"));
        assert!(said("0 0 * * *", Some("CANARY/City")).starts_with("no time zone"));
        for line in ["@daily", "0 0 L * *", "*/15 8-18 * * MON-FRI", "0 0 1,15 * *"] {
            assert!(Schedule::cron(line, None).is_ok(), "{line}");
        }
    }

    #[test]
    fn one_is_told_from_another() {
        let cron = Schedule::cron("0 0 * * *", Some("Asia/Shanghai")).unwrap();
        assert_eq!(cron.to_string(), "0 0 * * * Asia/Shanghai");
        assert_eq!(Schedule::Every(Duration::from_secs(90)).to_string(), "every 1m30s");
    }
}

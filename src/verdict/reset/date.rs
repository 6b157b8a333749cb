//! Dates in messages, as people read them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use once_cell::sync::Lazy;
use regex::{Captures, Regex};

use super::moment::until;

/// A time of day and a zone, either of which may be missing.
const TIME: &str = r"(?:[T,\s]*(?:at\s+|于\s*)?(?P<hour>\d{1,2})(?:[:：时点](?P<minute>\d{2}))?(?:[:：分](?P<second>\d{2}))?(?:\.\d+)?分?秒?\s*(?P<half>[AaPp]\.?[Mm])?)?\s*\(?(?P<zone>Z\b|UTC\s*[+-]\d{1,2}|GMT\s*[+-]\d{1,2}|UTC|GMT|[+-]\d{2}:?\d{2}\b|北京时间)?";

/// Before a date stands no letter, digit or dash: `gpt-5-2027-01-01` is a model.
static FORMS: Lazy<Vec<Regex>> = Lazy::new(|| {
    let month = r"(?P<name>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?";
    let forms = [
        r"(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})".to_owned(),
        r"(?P<year>\d{4})\s*年\s*(?P<month>\d{1,2})\s*月\s*(?P<day>\d{1,2})\s*日?".to_owned(),
        format!(r"{month}\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}})"),
        format!(r"(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s+{month},?\s+(?P<year>\d{{4}})"),
    ];
    forms.iter().filter_map(|form| Regex::new(&format!(r"(?i)(?:^|[^\w-]|[\p{{Han}}]){form}{TIME}")).ok()).collect()
});

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Time left to the first date in the message that is still to come. One without a zone is in `zone`.
pub(super) fn in_message(message: &str, zone: &TimeZone, now: Timestamp) -> Option<Duration> {
    let dates = FORMS.iter().flat_map(|form| form.captures_iter(message));
    dates.filter_map(|captures| read(&captures, zone)).find_map(|at| until(at, now))
}

fn read(captures: &Captures<'_>, zone: &TimeZone) -> Option<Timestamp> {
    let number = |name: &str| captures.name(name)?.as_str().parse::<i16>().ok();
    let small = |name: &str| number(name).and_then(|number| i8::try_from(number).ok());
    let month = match captures.name("name") {
        Some(name) => MONTHS.iter().position(|month| name.as_str().eq_ignore_ascii_case(month)).map(|at| at as i8 + 1),
        None => small("month"),
    };
    let hour = small("hour").unwrap_or(0);
    let hour = match captures.name("half").map(|half| half.as_str().starts_with(['p', 'P'])) {
        Some(true) if hour < 12 => hour + 12,
        Some(false) if hour == 12 => 0,
        _ => hour,
    };
    let date = Date::new(number("year")?, month?, small("day")?).ok()?;
    let time = Time::new(hour, small("minute").unwrap_or(0), small("second").unwrap_or(0), 0).ok()?;
    let zone = match captures.name("zone") {
        Some(text) => named(text.as_str())?,
        None => zone.clone(),
    };
    Some(DateTime::from_parts(date, time).to_zoned(zone).ok()?.timestamp())
}

/// `Z`, `UTC`, `UTC+8`, `+08:00`, `北京时间`.
fn named(text: &str) -> Option<TimeZone> {
    if text == "北京时间" {
        return TimeZone::get("Asia/Shanghai").ok();
    }
    let offset = text.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c.is_ascii_whitespace());
    if offset.is_empty() {
        return Some(TimeZone::UTC);
    }
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let digits: String = offset.chars().filter(char::is_ascii_digit).collect();
    let (hours, minutes) = digits.split_at(digits.len().min(2));
    let minutes = minutes.parse::<i32>().unwrap_or(0);
    let seconds = sign * (hours.parse::<i32>().ok()? * 3600 + minutes * 60);
    Some(TimeZone::fixed(Offset::from_seconds(seconds).ok()?))
}

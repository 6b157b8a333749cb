//! A point in time or a duration, as machines write them.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::positive;

/// Numbers above this are moments in Unix time (2001), those a thousand times larger in milliseconds.
const EPOCH: f64 = 1e9;
const EPOCH_MS: f64 = 1e12;

/// How long it is until then: `1s`, `6m0s`, `2m59.56s`, `17ms`, seconds, Unix time, RFC 3339, or an HTTP date (RFC 9110
/// §5.6.7).
pub(super) fn moment(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(number) = value.parse::<f64>() {
        let since_epoch = now.as_duration().as_secs_f64();
        return positive(match number {
            _ if number >= EPOCH_MS => number / 1000.0 - since_epoch,
            _ if number >= EPOCH => number - since_epoch,
            _ => number,
        });
    }
    if let Ok(at) = value.parse::<Timestamp>() {
        return until(at, now);
    }
    if let Ok(at) = httpdate::parse_http_date(value) {
        return at.duration_since(SystemTime::from(now)).ok().filter(|left| !left.is_zero());
    }
    positive(span(value)?)
}

/// Time left; `None` if it has passed.
pub(super) fn until(at: Timestamp, now: Timestamp) -> Option<Duration> {
    Duration::try_from(at.duration_since(now)).ok().filter(|left| !left.is_zero())
}

/// Seconds in a duration: Go's notation, or words. A bare number is seconds; what follows the duration is ignored.
pub(super) fn span(value: &str) -> Option<f64> {
    let mut rest = value.trim();
    let mut seconds = None;
    while let Some((part, tail)) = part(rest) {
        seconds = Some(seconds.unwrap_or(0.0) + part);
        rest = tail.trim_start_matches([' ', ',']);
        rest = rest.strip_prefix("and ").unwrap_or(rest);
    }
    seconds
}

/// A number with its unit, in seconds, and what follows.
fn part(text: &str) -> Option<(f64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, tail) = text.split_at(digits);
    let tail = tail.trim_start();
    let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
    let (unit, tail) = tail.split_at(letters);
    Some((number.parse::<f64>().ok()? * scale(unit)?, tail))
}

fn scale(unit: &str) -> Option<f64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" | "毫秒" => 0.001,
        "" | "s" | "sec" | "secs" | "second" | "seconds" | "秒" | "秒钟" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" | "分" | "分钟" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" | "小时" | "个小时" => 3600.0,
        "d" | "day" | "days" | "天" => 86_400.0,
        _ => return None,
    })
}

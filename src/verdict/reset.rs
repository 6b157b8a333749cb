//! When a limit ends: in the provider's own words, else by the rule.
//!
//! Invariant: whatever an answer states, the rest lies between the rule's `at_least` and `at_most`; a time that is no
//! time, or has passed, states nothing.

mod calendar;
mod date;
mod limit;
mod moment;

use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use once_cell::sync::Lazy;
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fields::Fields;
use super::rule::Timing;
pub(super) use limit::{Limit, LimitHeaders, used_up};
use moment::moment;

/// Where the end of a rest may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// `retry-after-ms` and `retry-after`; a field of the error such as `retryDelay`; `try again in …` in the message;
    /// the reset header of a limit whose remainder is 0.
    Stated,
    /// A date in the message.
    Date,
    /// The next midnight in the rule's or pack's zone.
    Midnight,
    /// The next Monday.
    Week,
    /// The first of the next month.
    Month,
}

/// How long something rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// How long.
    pub time: Duration,
    /// Up to so much is added, so that not all keys return in the same second.
    pub spread: Duration,
    /// It is a guess, doubled for each in a row up to this.
    pub doubles_to: Option<Duration>,
}

/// Resets of a day or a month come for everybody at once, and clocks differ.
const SPREAD: Duration = Duration::from_secs(300);

/// The rest that a rule gives after this answer.
pub(super) fn rest(
    timing: &Timing,
    zone: &TimeZone,
    fields: &Fields,
    headers: &HeaderMap,
    limits: &[Limit],
    now: Timestamp,
) -> Rest {
    let find = |source: &Source| {
        let left = match source {
            Source::Stated => stated(fields, headers, limits, now),
            Source::Date => date::in_message(&fields.message, zone, now),
            Source::Midnight | Source::Week | Source::Month => calendar::next(*source, zone, now),
        }?;
        Some((*source, left))
    };
    let clamp = |time: Duration| time.clamp(timing.at_least, timing.at_most);
    match timing.sources.iter().find_map(find) {
        Some((source, left)) => {
            let is_calendar = matches!(source, Source::Midnight | Source::Week | Source::Month);
            let spread = if is_calendar { SPREAD.min(left / 10) } else { Duration::ZERO };
            Rest { time: clamp(left), spread, doubles_to: None }
        }
        None => Rest {
            time: clamp(timing.rest),
            spread: Duration::ZERO,
            doubles_to: timing.doubles.then_some(timing.at_most),
        },
    }
}

/// What head, error and message state, in this order: `retry-after-ms` (OpenAI) is more exact than `retry-after`.
fn stated(fields: &Fields, headers: &HeaderMap, limits: &[Limit], now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    text("retry-after-ms")
        .and_then(|value| positive(value.parse::<f64>().ok()? / 1000.0))
        .or_else(|| moment(text("retry-after")?, now))
        .or_else(|| fields.waits.iter().find_map(|(name, value)| of_field(name, value, now)))
        .or_else(|| in_message(&fields.message))
        .or_else(|| limit::in_headers(limits, headers, now))
}

fn of_field(name: &str, value: &str, now: Timestamp) -> Option<Duration> {
    match name.strip_suffix("ms") {
        Some(_) => positive(value.parse::<f64>().ok()? / 1000.0),
        None => moment(value, now),
    }
}

/// A wait that the message tells: `Please try again in 2m59.56s`, `retry after 30`, `请在 30 秒后重试`.
fn in_message(message: &str) -> Option<Duration> {
    static FORMS: Lazy<Vec<Regex>> = Lazy::new(|| {
        let again = "(?:try again|retry|retrying|wait|waiting|available|resets?|resume|renews?|come back)";
        let more = r"(?:[\s,]*(?:and )?\d+(?:\.\d+)?\s*[a-z]+)*";
        let forms = [
            format!(r"{again}(?-u:\b)[^\d.;]{{0,40}}?(\d+(?:\.\d+)?\s*[a-z]+{more})"),
            format!(r"{again}(?:\s[a-z]+)?\s+(?:in|after|for)\s+(\d+(?:\.\d+)?)(?:[.,;)]|\s*$)"),
            r"((?:\d+(?:\.\d+)?\s*(?:毫秒|秒钟?|分钟?|个?小时|天)\s*)+)(?:之?后|以后|内)".to_owned(),
        ];
        forms.iter().filter_map(|form| Regex::new(&format!("(?i){form}")).ok()).collect()
    });
    let waits = FORMS.iter().flat_map(|form| form.captures_iter(message)).filter_map(|captures| captures.get(1));
    waits.filter_map(|wait| moment::span(wait.as_str())).find_map(positive)
}

fn positive(seconds: f64) -> Option<Duration> {
    if seconds > 0.0 { Duration::try_from_secs_f64(seconds).ok() } else { None }
}

#[cfg(test)]
mod tests;

//! When a limit ends: in the provider's own words, else by the rule.
//!
//! Invariant: whatever an answer states, the rest lies between the rule's `at_least` and `at_most`; a time that is no
//! time, or has passed, states nothing.

mod calendar;
mod date;
mod moment;

use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use once_cell::sync::Lazy;
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fields::Fields;
use super::rule::Timing;
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

/// The headers in which a provider tells of one limit.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitHeaders {
    /// What is left.
    pub remaining: String,
    /// When it is whole again.
    pub reset: String,
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
    fields: &Fields,
    headers: &HeaderMap,
    limits: &[LimitHeaders],
    now: Timestamp,
) -> Rest {
    let find = |source: &Source| {
        let left = match source {
            Source::Stated => stated(fields, headers, limits, now),
            Source::Date => date::in_message(&fields.message, &timing.zone, now),
            Source::Midnight => calendar::midnight(&timing.zone, now),
            Source::Week => calendar::monday(&timing.zone, now),
            Source::Month => calendar::first_of_month(&timing.zone, now),
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
fn stated(fields: &Fields, headers: &HeaderMap, limits: &[LimitHeaders], now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    text("retry-after-ms")
        .and_then(|value| positive(value.parse::<f64>().ok()? / 1000.0))
        .or_else(|| moment(text("retry-after")?, now))
        .or_else(|| fields.waits.iter().find_map(|(name, value)| of_field(name, value, now)))
        .or_else(|| in_message(&fields.message))
        .or_else(|| of_limits(limits, text, now))
}

fn of_field(name: &str, value: &str, now: Timestamp) -> Option<Duration> {
    match name.strip_suffix("ms") {
        Some(_) => positive(value.parse::<f64>().ok()? / 1000.0),
        None => moment(value, now),
    }
}

/// The reset of the limit that is used up, the last if there are several. Where no remainder is told at all, the last of
/// all resets; where something is left of every limit, none of them is what was hit.
fn of_limits<'a>(limits: &[LimitHeaders], text: impl Fn(&str) -> Option<&'a str>, now: Timestamp) -> Option<Duration> {
    let read = |limit: &LimitHeaders| {
        let rest = moment(text(&limit.reset)?, now)?;
        Some((text(&limit.remaining).and_then(|left| left.parse::<f64>().ok()), rest))
    };
    let resets: Vec<_> = limits.iter().filter_map(read).collect();
    let used_up = resets.iter().filter(|(left, _)| *left == Some(0.0)).map(|(_, rest)| *rest).max();
    let is_untold = resets.iter().all(|(left, _)| left.is_none());
    used_up.or_else(|| resets.iter().map(|(_, rest)| *rest).max().filter(|_| is_untold))
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

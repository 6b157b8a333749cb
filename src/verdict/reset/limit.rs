//! Headers that tell what is left of a limit, and when it is whole again.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::moment::moment;
use super::{Source, calendar};
use crate::pool::Scope;

/// Longer than this nothing is put off because of what an answer states.
const LONGEST: Duration = Duration::from_secs(86_400);

/// The headers in which a provider tells of one limit.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitHeaders {
    /// The header that tells what is left.
    pub remaining: String,
    /// The one that tells when it is whole again.
    #[serde(default)]
    pub reset: Option<String>,
    /// When it is, where no header tells: `midnight`, `week` or `month` in the pack's zone.
    #[serde(default)]
    pub until: Option<Source>,
    /// What it limits: the `model` asked for, or the whole `account`.
    #[serde(default)]
    pub scope: Limited,
}

/// What a limit is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Limited {
    #[default]
    Model,
    Account,
}

/// The same, ready for use.
#[derive(Debug)]
pub(in crate::verdict) struct Limit {
    pub(in crate::verdict) remaining: HeaderName,
    pub(in crate::verdict) reset: Option<HeaderName>,
    pub(in crate::verdict) until: Option<Source>,
    pub(in crate::verdict) scope: Limited,
}

/// The reset of the limit that is used up, the last if there are several. Where no remainder is told at all, the last of
/// all resets; where something is left of every limit, none of them is what was hit.
pub(super) fn in_headers(limits: &[Limit], headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let read = |limit: &Limit| {
        let rest = moment(text(limit.reset.as_ref()?)?, now)?;
        Some((text(&limit.remaining).and_then(|left| left.parse::<f64>().ok()), rest))
    };
    let resets: Vec<_> = limits.iter().filter_map(read).collect();
    let used_up = resets.iter().filter(|(left, _)| *left == Some(0.0)).map(|(_, rest)| *rest).max();
    let is_untold = resets.iter().all(|(left, _)| left.is_none());
    used_up.or_else(|| resets.iter().map(|(_, rest)| *rest).max().filter(|_| is_untold))
}

/// The limits of which a success says that nothing is left: what each is on, and how long it stays so.
///
/// Most heads hold no such header at all, and a glance at their values shows it.
pub(in crate::verdict) fn used_up(
    limits: &[Limit],
    zone: &TimeZone,
    headers: &HeaderMap,
    now: impl Fn() -> Timestamp,
) -> Vec<(Scope, Duration)> {
    const NOTHING: &[u8] = b"0";
    if limits.is_empty() || !headers.values().any(|value| value.as_bytes() == NOTHING) {
        return Vec::new();
    }
    let left = |limit: &Limit| {
        headers.get(&limit.remaining).filter(|left| left.as_bytes() == NOTHING)?;
        let stated = || moment(headers.get(limit.reset.as_ref()?)?.to_str().ok()?, now());
        let time = stated().or_else(|| calendar::next(limit.until?, zone, now()))?;
        let scope = match limit.scope {
            Limited::Model => Scope::AccountModel,
            Limited::Account => Scope::Account,
        };
        Some((scope, time.min(LONGEST)))
    };
    limits.iter().filter_map(left).collect()
}

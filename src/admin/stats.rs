//! `/api/v1/stats`: how it goes now, from what the metrics count, and how it went, from the store's counters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{from_ms, rfc3339};
use super::problem::Problem;
use super::router::AdminState;
use crate::config::KeyId;
use crate::keypool::{Entry, now};
use crate::manage::{ManageError, Manager, show_totals};
use crate::store::{By, Counted, CounterFilter, Use};
use crate::telemetry::metrics::Spread;
use crate::telemetry::{State as KeyState, Totals};

/// What "now" means in the overview: at least so long, and less than a minute more.
const WINDOW: Duration = Duration::from_secs(300);
/// Keys that are told when they return.
const RETURNS: usize = 10;
/// Names that are told beside a series.
const NAMES: usize = 100;
const HOUR: i64 = 3_600_000;

// === now ===

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OverviewQuery {
    pool: Option<String>,
}

/// Rates and times of the last minutes, of one pool or all.
pub(super) async fn overview(
    State(state): State<Arc<AdminState>>,
    query: Result<Query<OverviewQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(OverviewQuery { pool }) = query?;
    let entries = entries(&state, pool.as_deref())?;
    let names: Vec<&str> = entries.iter().map(|entry| entry.config.name.as_str()).collect();
    let manager = &state.manager;
    let mut shown = recent(manager, &names);
    shown["in_flight"] = entries.iter().map(|entry| entry.metrics.in_flight()).sum::<i64>().into();
    let mut total = Totals::default();
    entries.iter().for_each(|entry| total.add(&entry.metrics.totals()));
    shown["since_start"] = show_totals(&total);
    let (counts, returns) = keys(&entries);
    shown["keys"] = counts;
    shown["next_returns"] = returns;
    let pools = entries.iter().map(|entry| {
        let name = entry.config.name.as_str();
        let mut shown = recent(manager, &[name]);
        shown["name"] = name.into();
        shown["in_flight"] = entry.metrics.in_flight().into();
        shown["keys"] = keys(std::slice::from_ref(entry)).0;
        shown
    });
    shown["pools"] = pools.collect();
    let status = manager.store().status();
    shown["store"] = json!({
        "up": status.down.is_none(),
        "down_since": status.down.as_ref().map(|outage| rfc3339(outage.since)),
        "pending": status.pending.total(),
        "dropped": status.dropped,
    });
    shown["time"] = rfc3339(SystemTime::now()).into();
    Ok(Json(shown))
}

fn entries(state: &AdminState, pool: Option<&str>) -> Result<Vec<Arc<Entry>>, Problem> {
    let mut entries = state.keypool.entries().to_vec();
    entries.retain(|entry| pool.is_none_or(|pool| entry.config.name == pool));
    match pool {
        Some(name) if entries.is_empty() => Err(Problem::not_found(format!("there is no pool {name:?}"))),
        _ => Ok(entries),
    }
}

/// What these pools did in the last minutes.
fn recent(manager: &Manager, pools: &[&str]) -> Value {
    let (window, totals) = manager.recent().last(WINDOW, pools);
    let mut shown = show_totals(&totals);
    shown["window_seconds"] = window.as_secs_f64().into();
    let minutes = window.as_secs_f64() / 60.0;
    shown["requests_per_minute"] = (totals.requests() as f64 / minutes.max(1.0 / 60.0)).into();
    shown["success_rate"] = totals.success_rate().into();
    shown["duration_seconds"] = times(&totals.duration);
    shown["first_byte_seconds"] = times(&totals.first_byte);
    shown
}

fn times(spread: &Spread) -> Value {
    json!({"mean": spread.mean(), "p50": spread.quantile(0.5), "p99": spread.quantile(0.99)})
}

/// How many keys are in each state, and which return next.
fn keys(entries: &[Arc<Entry>]) -> (Value, Value) {
    let now = now();
    let mut counts = [0_usize; KeyState::ALL.len()];
    let mut resting = Vec::new();
    for entry in entries {
        for (key, seen) in entry.seen(now) {
            if let Some(count) = counts.get_mut(seen.state as usize) {
                *count += 1;
            }
            resting.extend(seen.back_in.map(|left| (left, entry, key, seen.reason)));
        }
    }
    resting.sort_unstable_by_key(|(left, ..)| *left);
    let returns = resting.iter().take(RETURNS).map(|(left, entry, key, reason)| {
        json!({
            "pool": entry.config.name,
            "key": &*key.name,
            "id": key.id.to_string(),
            "reason": reason,
            "back_in": left.as_secs_f64(),
            "back_at": SystemTime::now().checked_add(*left).map(rfc3339),
        })
    });
    let counts = KeyState::ALL.into_iter().zip(counts).map(|(state, count)| (state.as_str(), count));
    (counts.collect(), returns.collect())
}

// === over time ===

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeriesQuery {
    #[serde(default)]
    range: Range,
    pool: Option<String>,
    key: Option<String>,
    model: Option<String>,
    token: Option<String>,
    by: Option<Names>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum Range {
    #[serde(rename = "1h")]
    Hour,
    #[default]
    #[serde(rename = "24h")]
    Day,
    #[serde(rename = "7d")]
    Week,
    #[serde(rename = "30d")]
    Month,
}

/// What totals are told by, beside the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Names {
    Pool,
    Model,
}

impl Range {
    fn hours(self) -> i64 {
        match self {
            Self::Hour => 1,
            Self::Day => 24,
            Self::Week => 7 * 24,
            Self::Month => 30 * 24,
        }
    }

    /// Between two points (ms).
    fn step(self) -> i64 {
        if self == Self::Month { 24 * HOUR } else { HOUR }
    }
}

/// Requests by the hour or day, the one under way included; of the last hour also by the minute, as far as this process
/// remembers.
pub(super) async fn series(
    State(state): State<Arc<AdminState>>,
    query: Result<Query<SeriesQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query?;
    let texts = [&query.pool, &query.key, &query.model, &query.token];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(Problem::bad_request("no value can have a NUL in it"));
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let step = query.range.step();
    let from = (now - query.range.hours() * HOUR).div_euclid(step) * step;
    let until = now.div_euclid(HOUR) * HOUR + HOUR;
    let (sums, names) = counted(&state, &query, from, until).await?;
    let mut points: BTreeMap<i64, Use> =
        (from..until).step_by(usize::try_from(step).unwrap_or(1)).map(|at| (at, Use::default())).collect();
    let mut total = Use::default();
    for Counted { hour, sum, .. } in sums {
        *points.entry(hour.div_euclid(step) * step).or_default() += sum;
        total += sum;
    }
    let point = |(at, sum): (&i64, &Use)| show_use(sum, ("time", from_ms(*at)));
    let mut shown = show_use(&total, ("from", from_ms(from)));
    shown["until"] = from_ms(now).into();
    shown["step_seconds"] = (step / 1000).into();
    shown["points"] = points.iter().map(point).collect();
    if let Some(names) = names {
        shown["names"] = names;
    }
    let is_of_pools = query.key.is_none() && query.model.is_none() && query.token.is_none();
    if query.range == Range::Hour && is_of_pools {
        shown["minutes"] = minutes(&state, query.pool.as_deref());
    }
    Ok(Json(shown))
}

async fn counted(
    state: &AdminState,
    query: &SeriesQuery,
    from: i64,
    to: i64,
) -> Result<(Vec<Counted>, Option<Value>), Problem> {
    let store = state.manager.store();
    if let Some(token) = &query.token {
        if query.pool.is_some() || query.key.is_some() || query.model.is_some() || query.by.is_some() {
            return Err(Problem::bad_request(
                "a token's use is not told by pool, key or model: ask for the token alone",
            ));
        }
        return Ok((store.token_use(token.clone(), from).await.map_err(ManageError::from)?, None));
    }
    let key = query.key.as_deref().map(|text| text.parse::<KeyId>()).transpose();
    let key = key.map_err(|error| Problem::bad_request(format!("key: {error}")))?;
    let filter = CounterFilter { from, to, pool: query.pool.clone(), key, model: query.model.clone(), by: By::Hour };
    let names = match query.by {
        None => None,
        Some(names) => {
            let by = if names == Names::Pool { By::Pool } else { By::Model };
            let found = store.counters(CounterFilter { by, ..filter.clone() }).await.map_err(ManageError::from)?;
            Some(by_name(found))
        }
    };
    Ok((store.counters(filter).await.map_err(ManageError::from)?, names))
}

/// The sums of each name, the busiest first.
fn by_name(found: Vec<Counted>) -> Value {
    let mut sums: BTreeMap<String, Use> = BTreeMap::new();
    for Counted { name, sum, .. } in found {
        *sums.entry(name).or_default() += sum;
    }
    let mut sums: Vec<(String, Use)> = sums.into_iter().collect();
    sums.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.requests));
    sums.iter().take(NAMES).map(|(name, sum)| show_use(sum, ("name", name.clone()))).collect()
}

fn show_use(sum: &Use, (name, value): (&str, String)) -> Value {
    let mut shown = json!({
        "requests": sum.requests,
        "failures": sum.failures,
        "tokens_in": sum.prompt_tokens,
        "tokens_out": sum.completion_tokens,
        "mean_ms": (sum.requests > 0).then(|| sum.duration_ms as f64 / sum.requests as f64),
    });
    shown[name] = value.into();
    shown
}

/// Minute by minute, as far as this process remembers.
fn minutes(state: &AdminState, pool: Option<&str>) -> Value {
    let entries = state.keypool.entries();
    let names = entries.iter().map(|entry| entry.config.name.as_str());
    let names: Vec<&str> = names.filter(|name| pool.is_none_or(|pool| pool == *name)).collect();
    let minute = |minute: &crate::telemetry::recent::Minute| {
        let mut shown = show_totals(&minute.totals);
        shown["time"] = rfc3339(minute.from).into();
        shown["success_rate"] = minute.totals.success_rate().into();
        shown["duration_seconds"] = times(&minute.totals.duration);
        shown["first_byte_seconds"] = times(&minute.totals.first_byte);
        shown
    };
    state.manager.recent().minutes(&names).iter().map(minute).collect()
}

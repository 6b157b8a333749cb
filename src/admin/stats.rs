//! `/api/v1/stats`: how it goes now, from what the metrics count, and how it went, from the store's counters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::extract::Query;
use super::moment::Moment;
use super::problem::Problem;
use super::router::AdminState;
use crate::config::KeyId;
use crate::keypool::{Entry, now};
use crate::manage::{Counts, ManageError, Manager, no_pool};
use crate::store::{By, Counted, CounterFilter, Use};
use crate::telemetry::metrics::Spread;
use crate::telemetry::recent;
use crate::telemetry::{KeyCounts, Totals};

/// What "now" means in the overview: at least so long, and less than a minute more.
const WINDOW: Duration = Duration::from_secs(300);
/// Keys that are told when they return.
const RETURNS: usize = 10;
/// Names that are told beside a series.
const NAMES: usize = 100;
const HOUR: i64 = 3_600_000;

// === now ===

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OverviewQuery {
    /// Only this pool.
    pool: Option<String>,
}

/// How it goes now.
#[derive(Serialize, JsonSchema)]
pub(super) struct Overview {
    time: Moment,
    #[serde(flatten)]
    recent: Recent,
    in_flight: i64,
    since_start: Counts,
    keys: KeyCounts,
    /// The keys that return next.
    next_returns: Vec<Return>,
    pools: Vec<PoolOverview>,
    store: StoreStatus,
}

/// How a pool does now.
#[derive(Serialize, JsonSchema)]
struct PoolOverview {
    name: String,
    #[serde(flatten)]
    recent: Recent,
    in_flight: i64,
    keys: KeyCounts,
}

/// What was counted in the last minutes.
#[derive(Serialize, JsonSchema)]
struct Recent {
    #[serde(flatten)]
    counts: Counts,
    window_seconds: f64,
    requests_per_minute: f64,
    /// The share of requests that were served, of those that should have been; `null` if there were none.
    success_rate: Option<f64>,
    duration_seconds: Times,
    first_byte_seconds: Times,
}

/// How long it took (s); `null` if there was nothing.
#[derive(Serialize, JsonSchema)]
struct Times {
    mean: Option<f64>,
    p50: Option<f64>,
    p99: Option<f64>,
}

/// A key that returns.
#[derive(Serialize, JsonSchema)]
struct Return {
    pool: String,
    /// Its name.
    key: String,
    id: String,
    /// Why it rests.
    reason: Option<&'static str>,
    /// In so many seconds.
    back_in: f64,
    back_at: Option<Moment>,
}

/// How the store does.
#[derive(Serialize, JsonSchema)]
struct StoreStatus {
    up: bool,
    down_since: Option<Moment>,
    /// What waits to be written.
    pending: usize,
    /// What was given up.
    dropped: u64,
}

/// Rates and times of the last minutes, of one pool or all.
pub(super) async fn overview(
    State(state): State<Arc<AdminState>>,
    Query(OverviewQuery { pool }): Query<OverviewQuery>,
) -> Result<Json<Overview>, Problem> {
    let entries = entries(&state, pool.as_deref())?;
    let names: Vec<&str> = entries.iter().map(|entry| entry.config.name.as_str()).collect();
    let manager = &state.manager;
    let mut total = Totals::default();
    entries.iter().for_each(|entry| total.add(&entry.metrics.totals()));
    let (keys, next_returns) = self::keys(&entries);
    let pool = |(entry, keys): (&Arc<Entry>, &KeyCounts)| PoolOverview {
        name: entry.config.name.clone(),
        recent: recent(manager, &[&entry.config.name]),
        in_flight: entry.metrics.in_flight(),
        keys: *keys,
    };
    let status = manager.store().status();
    Ok(Json(Overview {
        time: SystemTime::now().into(),
        recent: recent(manager, &names),
        in_flight: entries.iter().map(|entry| entry.metrics.in_flight()).sum(),
        since_start: Counts::from(&total),
        keys: keys.iter().copied().sum(),
        next_returns,
        pools: entries.iter().zip(&keys).map(pool).collect(),
        store: StoreStatus {
            up: status.down.is_none(),
            down_since: status.down.as_ref().map(|outage| outage.since.into()),
            pending: status.pending.total(),
            dropped: status.dropped,
        },
    }))
}

fn entries(state: &AdminState, pool: Option<&str>) -> Result<Vec<Arc<Entry>>, Problem> {
    let mut entries = state.keypool.entries().to_vec();
    entries.retain(|entry| pool.is_none_or(|pool| entry.config.name == pool));
    match pool {
        Some(name) if entries.is_empty() => Err(no_pool(name).into()),
        _ => Ok(entries),
    }
}

/// What these pools did in the last minutes.
fn recent(manager: &Manager, pools: &[&str]) -> Recent {
    let (window, totals) = manager.recent().last(WINDOW, pools);
    let minutes = window.as_secs_f64() / 60.0;
    Recent {
        counts: Counts::from(&totals),
        window_seconds: window.as_secs_f64(),
        requests_per_minute: totals.requests() as f64 / minutes.max(1.0 / 60.0),
        success_rate: totals.success_rate(),
        duration_seconds: Times::from(&totals.duration),
        first_byte_seconds: Times::from(&totals.first_byte),
    }
}

impl From<&Spread> for Times {
    fn from(spread: &Spread) -> Self {
        Self { mean: spread.mean(), p50: spread.quantile(0.5), p99: spread.quantile(0.99) }
    }
}

/// How many keys of each pool are in each state, and which return next of all.
fn keys(entries: &[Arc<Entry>]) -> (Vec<KeyCounts>, Vec<Return>) {
    let now = now();
    let mut resting = Vec::new();
    let mut counts = Vec::with_capacity(entries.len());
    for entry in entries {
        let states = entry.seen(now).map(|(key, seen)| {
            resting.extend(seen.back_in.map(|left| (left, entry, key, seen.reason)));
            seen.state
        });
        counts.push(states.collect());
    }
    // Nobody wants the others in their order.
    if resting.len() > RETURNS {
        resting.select_nth_unstable_by_key(RETURNS, |(left, ..)| *left);
        resting.truncate(RETURNS);
    }
    resting.sort_unstable_by_key(|(left, ..)| *left);
    let returns = resting.iter().map(|(left, entry, key, reason)| Return {
        pool: entry.config.name.clone(),
        key: key.name.to_string(),
        id: key.id.to_string(),
        reason: *reason,
        back_in: left.as_secs_f64(),
        back_at: SystemTime::now().checked_add(*left).map(Moment::from),
    });
    (counts, returns.collect())
}

// === over time ===

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SeriesQuery {
    /// How far back; `24h` if not given.
    #[serde(default)]
    range: Range,
    /// Only this pool.
    pool: Option<String>,
    /// Only the key of this id.
    key: Option<String>,
    /// Only this model.
    model: Option<String>,
    /// Only the client token of this name.
    token: Option<String>,
    /// Tells each one's share.
    by: Option<Names>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
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
#[derive(Serialize, JsonSchema)]
pub(super) struct Series {
    from: Moment,
    until: Moment,
    step_seconds: i64,
    #[serde(flatten)]
    total: Sum,
    points: Vec<Point>,
    /// The busiest first; with `by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<Vec<Share>>,
    /// With `range=1h`, and neither key, model nor token.
    #[serde(skip_serializing_if = "Option::is_none")]
    minutes: Option<Vec<Minute>>,
}

/// What was counted.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Use")]
pub(super) struct Sum {
    requests: u64,
    failures: u64,
    /// Tokens of text asked.
    tokens_in: u64,
    /// Tokens of text answered.
    tokens_out: u64,
    /// How long requests took; `null` if there were none.
    mean_ms: Option<f64>,
}

/// What was counted in an hour or day.
#[derive(Serialize, JsonSchema)]
struct Point {
    /// When it began.
    time: Moment,
    #[serde(flatten)]
    sum: Sum,
}

/// What was counted of a pool or model.
#[derive(Serialize, JsonSchema)]
struct Share {
    name: String,
    #[serde(flatten)]
    sum: Sum,
}

/// What was counted in a minute.
#[derive(Serialize, JsonSchema)]
struct Minute {
    /// When it began.
    time: Moment,
    #[serde(flatten)]
    counts: Counts,
    success_rate: Option<f64>,
    duration_seconds: Times,
    first_byte_seconds: Times,
}

impl From<&Use> for Sum {
    fn from(sum: &Use) -> Self {
        Self {
            requests: sum.requests,
            failures: sum.failures,
            tokens_in: sum.prompt_tokens,
            tokens_out: sum.completion_tokens,
            mean_ms: (sum.requests > 0).then(|| sum.duration_ms as f64 / sum.requests as f64),
        }
    }
}

impl From<&recent::Minute> for Minute {
    fn from(minute: &recent::Minute) -> Self {
        let totals = &minute.totals;
        Self {
            time: minute.from.into(),
            counts: Counts::from(totals),
            success_rate: totals.success_rate(),
            duration_seconds: Times::from(&totals.duration),
            first_byte_seconds: Times::from(&totals.first_byte),
        }
    }
}

pub(super) async fn series(
    State(state): State<Arc<AdminState>>,
    Query(query): Query<SeriesQuery>,
) -> Result<Json<Series>, Problem> {
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
    let is_of_pools = query.key.is_none() && query.model.is_none() && query.token.is_none();
    let has_minutes = query.range == Range::Hour && is_of_pools;
    Ok(Json(Series {
        from: Moment::of_ms(from),
        until: Moment::of_ms(now),
        step_seconds: step / 1000,
        total: Sum::from(&total),
        points: points.iter().map(|(at, sum)| Point { time: Moment::of_ms(*at), sum: sum.into() }).collect(),
        names,
        minutes: has_minutes.then(|| minutes(&state, query.pool.as_deref())),
    }))
}

async fn counted(
    state: &AdminState,
    query: &SeriesQuery,
    from: i64,
    to: i64,
) -> Result<(Vec<Counted>, Option<Vec<Share>>), Problem> {
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
fn by_name(found: Vec<Counted>) -> Vec<Share> {
    let mut sums: BTreeMap<String, Use> = BTreeMap::new();
    for Counted { name, sum, .. } in found {
        *sums.entry(name).or_default() += sum;
    }
    let mut sums: Vec<(String, Use)> = sums.into_iter().collect();
    sums.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.requests));
    sums.into_iter().take(NAMES).map(|(name, sum)| Share { name, sum: Sum::from(&sum) }).collect()
}

/// Minute by minute, as far as this process remembers.
fn minutes(state: &AdminState, pool: Option<&str>) -> Vec<Minute> {
    let entries = state.keypool.entries();
    let names = entries.iter().map(|entry| entry.config.name.as_str());
    let names: Vec<&str> = names.filter(|name| pool.is_none_or(|pool| pool == *name)).collect();
    state.manager.recent().minutes(&names).iter().map(Minute::from).collect()
}

//! The endpoints of the older balancers, in their shapes, so that their users' dashboards and scripts go on working.
//!
//! `/stats` answers like SiliconFlow API Load Balancer, with `?shape=modelscope-balance` like modelscope-balance; where
//! the latter showed the beginning of a key, the key's name stands.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use jiff::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::bulk;
use super::extract::Query;
use super::identity::Identity;
use super::moment::Moment;
use super::problem::Problem;
use super::reload;
use super::router::AdminState;
use super::routes::{Need, Route, get, group, post};
use crate::config::Role;
use crate::keypool::Action;
use crate::telemetry::{Holding, KeyCounts, KeySnapshot, State as KeyState, json_amount};

/// `GET /stats` of SiliconFlow API Load Balancer.
fn siliconflow_stats(keys: &[KeySnapshot]) -> Value {
    let stats = numbered(keys).map(|(index, key)| {
        json!({
            "index": index,
            "requestCount": key.requests,
            "lastUsed": key.last_used.map(Moment::from),
            "isActive": is_active(key),
        })
    });
    json!({
        "totalKeys": keys.len(),
        "activeKeys": active(keys),
        "keyStats": stats.collect::<Vec<_>>(),
    })
}

/// `GET /stats` of modelscope-balance.
fn modelscope_stats(keys: &[KeySnapshot]) -> Value {
    let stats = keys.iter().map(|key| {
        let stats = json!({
            "healthy": is_active(key),
            "last_used": key.last_used.map(seconds),
            "requests": key.requests,
        });
        (key.name.clone(), stats)
    });
    Value::Object(stats.collect::<Map<_, _>>())
}

/// `GET /balance` of SiliconFlow API Load Balancer. It knows one unit: the one that is asked for, else the first that is
/// told of a key. What is not told is null.
fn balances(keys: &[KeySnapshot], unit: Option<&str>) -> Value {
    let holdings = || keys.iter().filter_map(|key| key.balance.as_ref()).flat_map(|balance| &*balance.amounts);
    let unit = unit.or_else(|| holdings().next().map(|held| &*held.unit));
    let is_meant = |held: &&Holding| unit.is_some_and(|unit| held.unit.eq_ignore_ascii_case(unit));
    let balances = numbered(keys).map(|(index, key)| {
        let balance = key.balance.as_ref();
        let held = balance.and_then(|balance| balance.amounts.iter().find(is_meant));
        json!({
            "index": index,
            "balance": held.map(|held| json_amount(held.amount)),
            "lastChecked": balance.and_then(|balance| balance.told).map(Moment::from),
            "isActive": is_active(key),
        })
    });
    let total = holdings().filter(is_meant).map(|held| held.amount).reduce(Decimal::saturating_add);
    json!({
        "success": true,
        "timestamp": now(),
        "totalBalance": total.map(json_amount),
        "keyBalances": balances.collect::<Vec<_>>(),
    })
}

/// `GET /blacklist`: the keys that are out of use now, and why.
fn blacklisted(pool: &str, keys: &[KeySnapshot]) -> Value {
    let blacklist: Vec<_> = (keys.iter().filter(|key| !is_active(key)))
        .map(|key| {
            json!({
                "name": key.name,
                "state": key.state,
                "reason": key.reason,
                "back_in": key.back_in.map(whole_seconds),
            })
        })
        .collect();
    json!({"pool": pool, "total": blacklist.len(), "blacklist": blacklist})
}

/// `GET /keys`: every key and how it does.
fn listed(pool: &str, keys: &[KeySnapshot]) -> Value {
    let list = numbered(keys).map(|(index, key)| {
        json!({
            "index": index,
            "name": key.name,
            "state": key.state,
            "reason": key.reason,
            "back_in": key.back_in.map(whole_seconds),
            "requests": key.requests,
            "last_used": key.last_used.map(Moment::from),
            "is_active": is_active(key),
        })
    });
    let active = active(keys);
    json!({
        "pool": pool,
        "total": keys.len(),
        "active": active,
        "inactive": keys.len() - active,
        "keys": list.collect::<Vec<_>>(),
    })
}

/// Positions counted from 1, as the older balancers did.
fn numbered(keys: &[KeySnapshot]) -> impl Iterator<Item = (usize, &KeySnapshot)> {
    (1..).zip(keys)
}

fn active(keys: &[KeySnapshot]) -> usize {
    keys.iter().filter(|key| is_active(key)).count()
}

fn is_active(key: &KeySnapshot) -> bool {
    key.state == KeyState::Ready
}

fn whole_seconds(left: Duration) -> u64 {
    left.as_secs_f64().ceil() as u64
}

fn seconds(time: SystemTime) -> String {
    format!("{:.0}", Timestamp::try_from(time).unwrap_or_default())
}

fn now() -> Moment {
    SystemTime::now().into()
}

/// The routes. What changes something takes a token: one of them does so with GET.
pub(super) fn routes() -> impl Iterator<Item = Route> {
    let token = Need::Token(Role::Operator);
    group(
        "Older balancers",
        [
            get("/health", Need::Nothing, "Tells how many keys there are and can be used", health),
            get("/info", Need::Nothing, "Tells what this is", info),
            get("/stats", Role::Viewer, "Shows what each key did", stats),
            get("/balance", Role::Viewer, "Shows the keys' balances", balance),
            get("/blacklist", Role::Viewer, "Lists the keys that are out of use", blacklist),
            get("/keys", Role::Viewer, "Lists the keys and how they do", list),
            post("/reload-keys", token, "Reads the files again", reload_keys),
            get("/reset-keys", token, "Forgets what rules did to keys", reset_keys),
            post("/reset-keys", token, "Forgets what rules did to keys", reset_keys),
        ],
    )
}

// === handlers ===

#[derive(Deserialize, JsonSchema)]
pub(super) struct PoolQuery {
    /// Which pool; the default one if not given.
    pool: Option<String>,
    /// `siliconflow`, or `modelscope-balance`: whose shape the statistics have.
    shape: Option<String>,
    /// Of `/balance`: which one, where keys have several.
    unit: Option<String>,
    /// Of `/balance`: asked for now, and not five minutes ago.
    #[serde(default)]
    refresh: bool,
}

/// The pool that is meant, and its keys.
fn chosen(state: &AdminState, pool: Option<&str>) -> Result<(String, Vec<KeySnapshot>), Problem> {
    let pool = state.pool(pool)?;
    let mut keys = Vec::new();
    pool.keys.visit(&mut |key| keys.push(key));
    Ok((pool.pool, keys))
}

pub(super) async fn stats(
    State(state): State<Arc<AdminState>>,
    Query(query): Query<PoolQuery>,
) -> Result<Json<Value>, Problem> {
    let (_, keys) = chosen(&state, query.pool.as_deref())?;
    match query.shape.as_deref() {
        None | Some("siliconflow") => Ok(Json(siliconflow_stats(&keys))),
        Some("modelscope-balance") => Ok(Json(modelscope_stats(&keys))),
        Some(other) => Err(Problem::bad_request(format!(
            "there is no shape {other:?}: leave it out or ask for modelscope-balance"
        ))),
    }
}

pub(super) async fn balance(
    State(state): State<Arc<AdminState>>,
    Query(query): Query<PoolQuery>,
) -> Result<Json<Value>, Problem> {
    let pool = state.pool(query.pool.as_deref())?.pool;
    if query.refresh {
        state.balances.refresh(&pool).await;
    }
    let (_, keys) = chosen(&state, Some(&pool))?;
    Ok(Json(balances(&keys, query.unit.as_deref())))
}

pub(super) async fn blacklist(
    State(state): State<Arc<AdminState>>,
    Query(query): Query<PoolQuery>,
) -> Result<Json<Value>, Problem> {
    let (pool, keys) = chosen(&state, query.pool.as_deref())?;
    Ok(Json(blacklisted(&pool, &keys)))
}

pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    Query(query): Query<PoolQuery>,
) -> Result<Json<Value>, Problem> {
    let (pool, keys) = chosen(&state, query.pool.as_deref())?;
    Ok(Json(listed(&pool, &keys)))
}

/// `GET|POST /reset-keys` of GPT-Load: rules' marks are forgotten.
pub(super) async fn reset_keys(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Query(query): Query<PoolQuery>,
) -> Result<Json<Value>, Problem> {
    let (pool, keys) = chosen(&state, query.pool.as_deref())?;
    let ids: Vec<_> = keys.iter().filter(|key| !is_active(key)).map(|key| key.id).collect();
    let done = bulk::act_on_all(&state, identity, ids, Action::Reset).await?;
    let mut answer = json!(done);
    answer["success"] = true.into();
    answer["timestamp"] = json!(now());
    answer["message"] = format!("Reset {} keys of pool {pool}.", answer["changed"]).into();
    Ok(Json(answer))
}

pub(super) async fn health(State(state): State<Arc<AdminState>>) -> (StatusCode, Json<Value>) {
    let ready = state.readiness.is_ready();
    let keys = counts(&state);
    let body = json!({
        "status": if ready { "healthy" } else { "unhealthy" },
        "timestamp": now(),
        "totalKeys": keys.total(),
        "activeKeys": keys.ready,
    });
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body))
}

/// Of all pools.
fn counts(state: &AdminState) -> KeyCounts {
    (state.snapshots)().iter().map(|pool| pool.keys.counts()).sum()
}

pub(super) async fn info(State(state): State<Arc<AdminState>>) -> Json<Value> {
    Json(json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "pools": (state.snapshots)().len(),
    }))
}

pub(super) async fn reload_keys(State(state): State<Arc<AdminState>>) -> Result<Json<Value>, Problem> {
    let before = counts(&state).total();
    let report = reload::run(&state, false).await?;
    let after = counts(&state).total();
    Ok(Json(json!({
        "timestamp": now(),
        "success": true,
        "message": format!("Successfully reloaded API keys. Previous: {before}, New: {after}"),
        "keyCount": after,
        "summary": report.to_string(),
    })))
}

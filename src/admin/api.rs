//! `/api/v1`: what is at which path, and pools and keys to read.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::handler::Handler;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::problem::Problem;
use super::router::AdminState;
use super::routes::{Need, Route, delete, get, post};
use super::{egress, explain, keys, reload, session, tokens, verdict};
use crate::config::Role;
use crate::telemetry::{AttemptResult, KeySnapshot, PoolSnapshot, State as KeyState};

/// Items per page unless asked otherwise, and at most.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;
/// Largest body of a login (bytes): whoever sends it has shown nothing yet.
const LOGIN_MAX: usize = 4096;

/// The routes, without `/api/v1`.
pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/session", Role::Viewer, session::show_own),
        post("/session", Need::Nothing, session::login.layer(DefaultBodyLimit::max(LOGIN_MAX))),
        delete("/session", Role::Viewer, session::logout),
        get("/pools", Role::Viewer, pools),
        get("/pools/{pool}/keys", Role::Viewer, list_keys),
        post("/pools/{pool}/keys/bulk", Role::Operator, keys::bulk),
        get("/keys/{key}", Role::Viewer, keys::one),
        post("/keys/{key}/{action}", Role::Operator, keys::act),
        get("/reload", Role::Viewer, reload::last),
        post("/reload", Role::Operator, reload::reload),
        get("/egress", Role::Viewer, egress::list),
        post("/egress/test", Role::Operator, egress::test),
        get("/explain", Role::Viewer, explain::explain),
        post("/verdict", Role::Operator, verdict::verdict),
        get("/tokens", Role::Viewer, tokens::tokens),
    ]
}

#[derive(Deserialize)]
pub(super) struct PageQuery {
    pub(super) limit: Option<usize>,
    /// Position of the first item.
    pub(super) cursor: Option<usize>,
    state: Option<String>,
    reason: Option<String>,
    pub(super) q: Option<String>,
}

pub(super) type PageQueryResult = Result<Query<PageQuery>, QueryRejection>;

pub(super) fn parsed(query: PageQueryResult) -> Result<PageQuery, Problem> {
    query.map(|Query(query)| query).map_err(|error| Problem::bad_request(error.body_text()))
}

/// One page of `items`, and where the next begins.
pub(super) fn page<T>(
    limit: Option<usize>,
    cursor: Option<usize>,
    items: &[T],
    show: impl Fn(&T) -> Value,
) -> Json<Value> {
    let start = cursor.unwrap_or(0).min(items.len());
    let end = (start + limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX)).min(items.len());
    let shown: Vec<_> = items.iter().take(end).skip(start).map(show).collect();
    let next = (end < items.len()).then(|| end.to_string());
    Json(json!({"items": shown, "total": items.len(), "next_cursor": next}))
}

async fn pools(State(state): State<Arc<AdminState>>, query: PageQueryResult) -> Result<Json<Value>, Problem> {
    let query = parsed(query)?;
    Ok(page(query.limit, query.cursor, &(state.snapshots)(), show_pool))
}

fn show_pool(pool: &PoolSnapshot) -> Value {
    let states: Map<_, _> =
        KeyState::ALL.into_iter().map(|state| (state.as_str().into(), pool.count(state).into())).collect();
    json!({"name": pool.pool, "default": pool.is_default, "keys": states})
}

async fn list_keys(
    State(state): State<Arc<AdminState>>,
    Path(pool): Path<String>,
    query: PageQueryResult,
) -> Result<Json<Value>, Problem> {
    let query = parsed(query)?;
    check_state(query.state.as_deref())?;
    let mut pool = state.pool(Some(&pool))?;
    pool.keys.retain(|key| fits(key, query.state.as_deref(), query.reason.as_deref(), query.q.as_deref()));
    Ok(page(query.limit, query.cursor, &pool.keys, show_key))
}

/// Whether there is a state of that name.
pub(super) fn check_state(wanted: Option<&str>) -> Result<(), Problem> {
    match wanted.filter(|word| KeyState::ALL.iter().all(|state| state.as_str() != *word)) {
        Some(word) => Err(Problem::bad_request(format!("there is no state {word:?}: ready, cooling or disabled"))),
        None => Ok(()),
    }
}

/// Whether a key has this state, this reason, and this text in its name.
pub(super) fn fits(key: &KeySnapshot, state: Option<&str>, reason: Option<&str>, text: Option<&str>) -> bool {
    state.is_none_or(|word| key.state.as_str() == word)
        && reason.is_none_or(|word| key.reason == Some(word))
        && text.is_none_or(|text| key.name.contains(text))
}

pub(super) fn show_key(key: &KeySnapshot) -> Value {
    let attempts: Map<_, _> = AttemptResult::ALL
        .into_iter()
        .map(|result| (result.as_str().into(), key.attempts[result.index()].into()))
        .collect();
    json!({
        "id": key.id.to_string(),
        "name": key.name,
        "state": key.state,
        "reason": key.reason,
        "back_in": key.back_in.map(|left| left.as_secs_f64()),
        "requests": key.requests,
        "in_flight": key.in_flight,
        "last_used": key.last_used.map(rfc3339),
        "attempts": attempts,
    })
}

pub(super) fn rfc3339(time: SystemTime) -> String {
    format!("{:.3}", Timestamp::try_from(time).unwrap_or_default())
}

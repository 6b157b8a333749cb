//! `/api/v1`: what is at which path, and what its handlers share.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query};
use axum::handler::Handler;
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::identity::Identity;
use super::problem::Problem;
use super::router::AdminState;
use super::routes::{Need, Route, delete, get, patch, post, put};
use super::{
    audit, egress, events, explain, failures, import, key_tests, keys, log_level, logs, pools, reload, session,
    settings, stats, tokens, verdict,
};
use crate::config::Role;
use crate::manage::{Actor, ManageError, Manager};

/// Items per page unless asked otherwise, and at most.
pub(super) const LIMIT: usize = 100;
pub(super) const LIMIT_MAX: usize = 1000;
/// Largest body of a login (bytes): whoever sends it has shown nothing yet.
const LOGIN_MAX: usize = 4096;
/// Largest import (bytes): a million keys.
const IMPORT_MAX: usize = 128 * 1024 * 1024;

/// The routes, without `/api/v1`.
pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/session", Role::Viewer, session::show_own),
        post("/session", Need::Nothing, session::login.layer(DefaultBodyLimit::max(LOGIN_MAX))),
        delete("/session", Role::Viewer, session::logout),
        get("/pools", Role::Viewer, pools::list),
        post("/pools", Role::Admin, pools::add),
        get("/pools/{pool}", Role::Viewer, pools::one),
        patch("/pools/{pool}", Role::Admin, pools::set),
        delete("/pools/{pool}", Role::Admin, pools::remove),
        get("/pools/{pool}/settings", Role::Viewer, settings::of_pool),
        put("/pools/{pool}/settings", Role::Admin, settings::set_of_pool),
        get("/settings", Role::Viewer, settings::of_server),
        put("/settings", Role::Admin, settings::set_of_server),
        get("/pools/{pool}/keys", Role::Viewer, keys::list),
        post("/pools/{pool}/keys", Role::Admin, keys::add),
        post("/pools/{pool}/keys/bulk", Role::Operator, keys::bulk),
        post("/pools/{pool}/keys/import", Role::Admin, import::import.layer(DefaultBodyLimit::max(IMPORT_MAX))),
        get("/pools/{pool}/keys/export", Need::Token(Role::Admin), import::export),
        // Errors may quote what somebody wrote.
        get("/pools/{pool}/failures", Role::Operator, failures::list),
        get("/keys/{key}", Role::Viewer, keys::one),
        patch("/keys/{key}", Role::Admin, keys::update),
        delete("/keys/{key}", Role::Admin, keys::remove),
        post("/keys/{key}/test", Role::Operator, key_tests::one),
        post("/keys/{key}/restore", Role::Admin, keys::restore),
        post("/keys/{key}/{action}", Role::Operator, keys::act),
        post("/master-key/rotate", Role::Admin, keys::rotate_master),
        get("/reload", Role::Viewer, reload::last),
        post("/reload", Role::Operator, reload::reload),
        get("/egress", Role::Viewer, egress::list),
        post("/egress/test", Role::Operator, egress::test),
        get("/explain", Role::Viewer, explain::explain),
        post("/verdict", Role::Operator, verdict::verdict),
        get("/stats", Role::Viewer, stats::overview),
        get("/stats/series", Role::Viewer, stats::series),
        get("/logs", Role::Viewer, logs::list),
        get("/logs/{request_id}", Role::Viewer, logs::one),
        get("/audit", Role::Viewer, audit::list),
        get("/events", Role::Viewer, events::listen),
        get("/log-level", Role::Viewer, log_level::show),
        put("/log-level", Role::Admin, log_level::set),
        get("/tokens", Role::Viewer, tokens::list),
        post("/tokens", Role::Admin, tokens::add),
        patch("/tokens/{token}", Role::Admin, tokens::update),
        delete("/tokens/{token}", Role::Admin, tokens::revoke),
    ]
}

#[derive(Deserialize)]
pub(super) struct PageQuery {
    pub(super) limit: Option<usize>,
    /// Position of the first item.
    pub(super) cursor: Option<usize>,
    pub(super) state: Option<String>,
    pub(super) reason: Option<String>,
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

/// An operator's change, in a thread that may wait for the store.
pub(super) async fn change<T: Send + 'static>(
    state: Arc<AdminState>,
    identity: Identity,
    act: impl FnOnce(&Manager, &Actor) -> Result<T, ManageError> + Send + 'static,
) -> Result<T, Problem> {
    let (manager, actor) = (state.manager.clone(), identity.actor());
    let done = tokio::task::spawn_blocking(move || act(&manager, &actor)).await;
    let broken = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "it broke off; the log says where");
    Ok(done.map_err(broken)??)
}

/// A JSON object as the body.
pub(super) fn object(body: Result<Json<Map<String, Value>>, JsonRejection>) -> Result<Map<String, Value>, Problem> {
    Ok(body?.0)
}

pub(super) type ObjectResult = Result<Json<Map<String, Value>>, JsonRejection>;

pub(super) fn rfc3339(time: SystemTime) -> String {
    format!("{:.3}", Timestamp::try_from(time).unwrap_or_default())
}

/// Unix milliseconds as text.
pub(super) fn from_ms(at: i64) -> String {
    Timestamp::from_millisecond(at).map(|at| format!("{at:.3}")).unwrap_or_default()
}

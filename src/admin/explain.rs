//! `GET /api/v1/explain?pool=&model=`: why there is a key for this request, or none.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::api::{page, rfc3339};
use super::problem::Problem;
use super::router::AdminState;
use crate::telemetry::{KeyChance, State as KeyState};

#[derive(Deserialize)]
pub(super) struct ExplainQuery {
    pool: Option<String>,
    model: Option<String>,
    limit: Option<usize>,
    cursor: Option<usize>,
}

/// Each key's first blocking reason and when it is back, and the same for the pool as a whole.
pub(super) async fn explain(
    State(state): State<Arc<AdminState>>,
    query: Result<Query<ExplainQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let pool = match &query.pool {
        Some(name) => name.clone(),
        None => state.pool(None)?.pool,
    };
    let model = query.model.as_deref().unwrap_or_default();
    let keys = (state.explain)(&pool, model).ok_or_else(|| Problem::not_found(format!("there is no pool {pool:?}")))?;
    let now = SystemTime::now();
    let Json(mut answer) = page(query.limit, query.cursor, &keys, |key| show(key, now));
    let count = |state| keys.iter().filter(|key| key.state == state).count();
    let counts: Map<_, _> =
        KeyState::ALL.into_iter().map(|state| (state.as_str().into(), count(state).into())).collect();
    let first = keys.iter().filter_map(|key| key.ready_in).min();
    answer["pool"] = pool.into();
    answer["model"] = query.model.into();
    answer["keys"] = counts.into();
    answer["ready_in"] = first.map(|left| left.as_secs_f64()).into();
    Ok(Json(answer))
}

fn show(key: &KeyChance, now: SystemTime) -> Value {
    json!({
        "last_for": Some(key.deferred.as_secs_f64()).filter(|left| *left > 0.0),
        "name": key.name,
        "state": key.state,
        "blocked_by": key.blocked_by,
        "reason": key.reason,
        "ready_in": key.ready_in.map(|left| left.as_secs_f64()),
        "ready_at": key.ready_in.filter(|left| !left.is_zero()).and_then(|left| now.checked_add(left)).map(rfc3339),
        "next_probe": key.next_probe.map(rfc3339),
    })
}

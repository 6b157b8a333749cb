//! `/api/v1/pools`: the pools, those of files and those added here.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::api::{ObjectResult, PageQueryResult, change, object, page, parsed, rfc3339};
use super::identity::Identity;
use super::problem::Problem;
use super::router::AdminState;
use crate::telemetry::{PoolSnapshot, State as KeyState, TargetSnapshot};

pub(super) async fn list(State(state): State<Arc<AdminState>>, query: PageQueryResult) -> Result<Json<Value>, Problem> {
    let query = parsed(query)?;
    let shown = |pool: &PoolSnapshot| show(&state, pool);
    Ok(page(query.limit, query.cursor, &(state.snapshots)(), shown))
}

pub(super) async fn one(
    State(state): State<Arc<AdminState>>,
    Path(pool): Path<String>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(show(&state, &state.pool(Some(&pool))?)))
}

fn show(state: &AdminState, pool: &PoolSnapshot) -> Value {
    let states: Map<_, _> =
        KeyState::ALL.into_iter().map(|state| (state.as_str().into(), pool.count(state).into())).collect();
    let mut shown = json!({"name": pool.pool, "default": pool.is_default, "keys": states});
    let config = state.manager.live().config.load();
    if let Some(known) = config.pools.iter().find(|known| known.name == pool.pool) {
        shown["enabled"] = known.enabled.into();
        shown["provider"] = known.provider.name.as_str().into();
        shown["paths"] = json!(known.paths);
        shown["targets"] = pool.targets.iter().map(show_target).collect();
        shown["provisioned"] = state.manager.is_provisioned_pool(&pool.pool).into();
    }
    shown
}

fn show_target(target: &TargetSnapshot) -> Value {
    json!({
        "target": &*target.name,
        "state": if target.is_up { "up" } else { "down" },
        "error": target.error,
        "last_check": target.checked.map(rfc3339),
    })
}

/// `{"name": …, …}`: the rest as it would be written below `pools:`.
pub(super) async fn add(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    body: ObjectResult,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut settings = object(body)?;
    let Some(Value::String(name)) = settings.remove("name") else {
        return Err(Problem::unprocessable("name: is missing; write the pool's name"));
    };
    let added = name.clone();
    change(state.clone(), identity, move |manager, actor| manager.add_pool(&added, settings, actor)).await?;
    Ok((StatusCode::CREATED, Json(show(&state, &state.pool(Some(&name))?))))
}

pub(super) async fn set(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
    body: ObjectResult,
) -> Result<Json<Value>, Problem> {
    let (settings, name) = (object(body)?, pool.clone());
    change(state.clone(), identity, move |manager, actor| manager.set_settings(Some(&name), &settings, None, actor))
        .await?;
    Ok(Json(show(&state, &state.pool(Some(&pool))?)))
}

pub(super) async fn remove(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
) -> Result<StatusCode, Problem> {
    change(state.clone(), identity, move |manager, actor| manager.remove_pool(&pool, actor)).await?;
    Ok(StatusCode::NO_CONTENT)
}

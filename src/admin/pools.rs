//! `/api/v1/pools`: the pools, those of files and those added here.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;

use super::answer::{Created, NoContent, Page};
use super::api::{PageQuery, change};
use super::egress::UpOrDown;
use super::extract::{Path, Query, Written};
use super::identity::Identity;
use super::moment::Moment;
use super::problem::Problem;
use super::router::AdminState;
use super::settings::Settings;
use crate::manage::no_pool;
use crate::telemetry::{KeyCounts, PoolSnapshot, TargetSnapshot};

/// A pool.
#[derive(Serialize, JsonSchema)]
pub(super) struct Pool {
    name: String,
    /// It owns unprefixed paths.
    default: bool,
    /// A pool that is not enabled serves nobody.
    enabled: bool,
    provider: String,
    /// Path prefixes.
    paths: Vec<String>,
    keys: KeyCounts,
    targets: Vec<Target>,
    /// It is in keyweir.yaml, and to be removed there.
    provisioned: bool,
}

/// A base URL of a pool.
#[derive(Serialize, JsonSchema)]
struct Target {
    /// Its authority.
    target: String,
    state: UpOrDown,
    /// Why the last check failed, if it did.
    error: Option<String>,
    last_check: Option<Moment>,
}

/// A pool to be added: `name`, and the rest as it would be written below `pools:`.
pub(super) struct NewPool;

impl JsonSchema for NewPool {
    fn schema_name() -> Cow<'static, str> {
        "NewPool".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "`name`, and the rest as it would be written below `pools:` (see `keyweir schema`).",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
        })
    }
}

pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Pool>>, Problem> {
    let pools = (state.snapshots)();
    Ok(Json(Page::of(query.limit, query.cursor, &pools, |pool| show(&state, pool))))
}

pub(super) async fn one(State(state): State<Arc<AdminState>>, Path(pool): Path<String>) -> Result<Json<Pool>, Problem> {
    show_by_name(&state, &pool).map(Json)
}

fn show_by_name(state: &AdminState, name: &str) -> Result<Pool, Problem> {
    Ok(show(state, &state.pool(Some(name))?).ok_or_else(|| no_pool(name))?)
}

/// `None` if the pool was removed meanwhile.
fn show(state: &AdminState, pool: &PoolSnapshot) -> Option<Pool> {
    let config = state.manager.live().config.load();
    let known = config.pools.iter().find(|known| known.name == pool.pool)?;
    Some(Pool {
        name: pool.pool.clone(),
        default: pool.is_default,
        enabled: known.enabled,
        provider: known.provider.name.clone(),
        paths: known.paths.clone(),
        keys: pool.keys.counts(),
        targets: pool.targets.iter().map(show_target).collect(),
        provisioned: state.manager.is_provisioned_pool(&pool.pool),
    })
}

fn show_target(target: &TargetSnapshot) -> Target {
    Target {
        target: target.name.to_string(),
        state: target.is_up.into(),
        error: target.error.clone(),
        last_check: target.checked.map(Moment::from),
    }
}

pub(super) async fn add(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Written(mut settings, _): Written<NewPool>,
) -> Result<Created<Pool>, Problem> {
    let Some(Value::String(name)) = settings.remove("name") else {
        return Err(Problem::unprocessable("name: is missing; write the pool's name"));
    };
    let added = name.clone();
    change(state.clone(), identity, move |manager, actor| manager.add_pool(&added, settings, actor)).await?;
    show_by_name(&state, &name).map(Created)
}

pub(super) async fn set(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
    Written(settings, _): Written<Settings>,
) -> Result<Json<Pool>, Problem> {
    let name = pool.clone();
    change(state.clone(), identity, move |manager, actor| manager.set_settings(Some(&name), &settings, None, actor))
        .await?;
    show_by_name(&state, &pool).map(Json)
}

pub(super) async fn remove(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
) -> Result<NoContent, Problem> {
    change(state.clone(), identity, move |manager, actor| manager.remove_pool(&pool, actor)).await?;
    Ok(NoContent)
}

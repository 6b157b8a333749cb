//! `GET /api/v1/explain?pool=&model=`: why there is a key for this request, or none.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Page;
use super::extract::Query;
use super::moment::Moment;
use super::problem::Problem;
use super::router::AdminState;
use crate::manage::no_pool;
use crate::telemetry::{KeyChance, KeyCounts, State as KeyState};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainQuery {
    /// Which pool; the default one if not given.
    pool: Option<String>,
    /// The model a request would ask for.
    model: Option<String>,
    /// Items per page, at most 1000; 100 if not given.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<usize>,
}

/// Each key's first blocking reason and when it is back, and the same for the pool as a whole.
#[derive(Serialize, JsonSchema)]
pub(super) struct Explanation {
    pool: String,
    model: Option<String>,
    /// All keys of the pool, as this request would see them.
    keys: KeyCounts,
    /// Seconds until the first key can be picked; `null` where time alone brings none back.
    ready_in: Option<f64>,
    #[serde(flatten)]
    page: Page<Chance>,
}

/// Why a key would or would not be picked.
#[derive(Serialize, JsonSchema)]
pub(super) struct Chance {
    name: String,
    state: KeyState,
    /// The first thing that blocks it: `operator`, `key`, `account`, `egress` or `model`.
    blocked_by: Option<&'static str>,
    /// Why that blocks it.
    reason: Option<&'static str>,
    /// Seconds until nothing blocks it any more; `null` where time alone does not bring it back.
    ready_in: Option<f64>,
    ready_at: Option<Moment>,
    /// Seconds for which others are asked first, because nothing is left of a limit.
    last_for: Option<f64>,
    /// When the key is probed, unless it serves requests until then.
    next_probe: Option<Moment>,
}

pub(super) async fn explain(
    State(state): State<Arc<AdminState>>,
    Query(query): Query<ExplainQuery>,
) -> Result<Json<Explanation>, Problem> {
    let pool = match query.pool {
        Some(name) => name,
        None => state.pool(None)?.pool,
    };
    let model = query.model.as_deref().unwrap_or_default();
    let keys = (state.explain)(&pool, model).ok_or_else(|| no_pool(&pool))?;
    let now = SystemTime::now();
    Ok(Json(Explanation {
        pool,
        keys: keys.iter().map(|key| key.state).collect(),
        ready_in: keys.iter().filter_map(|key| key.ready_in).min().map(|left| left.as_secs_f64()),
        page: Page::of(query.limit, query.cursor, &keys, |key| Some(show(key, now))),
        model: query.model,
    }))
}

fn show(key: &KeyChance, now: SystemTime) -> Chance {
    Chance {
        name: key.name.clone(),
        state: key.state,
        blocked_by: key.blocked_by,
        reason: key.reason,
        ready_in: key.ready_in.map(|left| left.as_secs_f64()),
        ready_at: key.ready_in.filter(|left| !left.is_zero()).and_then(|left| now.checked_add(left)).map(Moment::from),
        last_for: Some(key.deferred.as_secs_f64()).filter(|left| *left > 0.0),
        next_probe: key.next_probe.map(Moment::from),
    }
}

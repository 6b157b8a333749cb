//! `/api/v1/reload`: reloads on demand, and says how the last reload went.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::extract::Query;
use super::moment::Moment;
use super::problem::Problem;
use super::router::AdminState;
use crate::background;
use crate::manage::{Last, PoolChange, Refusal, Report, Trigger};

/// Reloads in a thread of its own.
pub(super) async fn run(state: &AdminState, force: bool) -> Result<Report, Problem> {
    let manager = Arc::clone(&state.manager);
    let outcome = background::run(move || manager.reload(Trigger::Api, force)).await;
    outcome.unwrap_or_else(|_| Err(Refusal(vec!["the reload broke off; the log says where".to_owned()]))).map_err(
        |refusal| {
            let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "reload_refused", refusal.to_string());
            Problem { errors: refusal.0, ..problem }
        },
    )
}

// === handlers ===

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ForceQuery {
    /// Also if that takes a pool's last key.
    #[serde(default)]
    force: bool,
}

/// How a reload went.
#[derive(Serialize, JsonSchema)]
pub(super) struct Reload {
    time: Moment,
    trigger: Trigger,
    /// It was put into effect; otherwise nothing changed.
    ok: bool,
    message: String,
    /// What became of each pool, if it went well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pools: Option<Vec<PoolChange>>,
    /// What is legal but probably not meant, if it went well.
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<String>>,
    /// Settings that wait for a restart, if it went well.
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_required: Option<Vec<String>>,
    /// Every mistake, if it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<String>>,
}

pub(super) async fn reload(
    State(state): State<Arc<AdminState>>,
    Query(query): Query<ForceQuery>,
) -> Result<Json<Reload>, Problem> {
    let report = run(&state, query.force).await?;
    Ok(Json(Reload::from(&Last { time: SystemTime::now(), trigger: Trigger::Api, outcome: Ok(report) })))
}

pub(super) async fn last(State(state): State<Arc<AdminState>>) -> Json<Reload> {
    Json(Reload::from(&*state.manager.last_reload()))
}

impl From<&Last> for Reload {
    fn from(last: &Last) -> Self {
        let report = last.outcome.as_ref().ok();
        Self {
            time: last.time.into(),
            trigger: last.trigger,
            ok: last.outcome.is_ok(),
            message: last.outcome.as_ref().map_or_else(ToString::to_string, ToString::to_string),
            pools: report.map(|report| report.pools.clone()),
            warnings: report.map(|report| report.warnings.clone()),
            restart_required: report.map(|report| report.restart_required.clone()),
            errors: last.outcome.as_ref().err().map(|refusal| refusal.0.clone()),
        }
    }
}

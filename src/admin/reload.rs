//! `/api/v1/reload`: reloads on demand, and says how the last reload went.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::rfc3339;
use super::problem::Problem;
use super::router::AdminState;
use crate::manage::{Last, Refusal, Report, Trigger};

/// Reloads in a thread of its own.
pub(super) async fn run(state: &AdminState, force: bool) -> Result<Report, Problem> {
    let manager = Arc::clone(&state.manager);
    let outcome = tokio::task::spawn_blocking(move || manager.reload(Trigger::Api, force)).await;
    outcome.unwrap_or_else(|_| Err(Refusal(vec!["the reload broke off; the log says where".to_owned()]))).map_err(
        |refusal| {
            let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "reload_refused", refusal.to_string());
            Problem { errors: refusal.0, ..problem }
        },
    )
}

// === handlers ===

#[derive(Deserialize)]
pub(super) struct ForceQuery {
    #[serde(default)]
    force: bool,
}

pub(super) async fn reload(
    State(state): State<Arc<AdminState>>,
    query: Result<Query<ForceQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let report = run(&state, query.force).await?;
    Ok(Json(show(&Last { time: SystemTime::now(), trigger: Trigger::Api, outcome: Ok(report) })))
}

pub(super) async fn last(State(state): State<Arc<AdminState>>) -> Json<Value> {
    Json(show(&state.manager.last_reload()))
}

fn show(last: &Last) -> Value {
    let mut shown = json!({"time": rfc3339(last.time), "trigger": last.trigger, "ok": last.outcome.is_ok()});
    match &last.outcome {
        Ok(report) => {
            shown["message"] = report.to_string().into();
            shown["pools"] = json!(report.pools);
            shown["warnings"] = json!(report.warnings);
            shown["restart_required"] = json!(report.restart_required);
        }
        Err(refusal) => {
            shown["message"] = refusal.to_string().into();
            shown["errors"] = json!(refusal.0);
        }
    }
    shown
}

//! `/livez`, `/healthz` and `/readyz`: for probes, so open to all and never dependent on a provider.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use http::StatusCode;
use serde::Deserialize;

use super::problem::Problem;
use super::router::AdminState;
use crate::telemetry::State as KeyState;

/// The process answers.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

#[derive(Deserialize)]
pub(super) struct ReadyQuery {
    verbose: Option<String>,
    require: Option<String>,
}

/// The process should be given requests.
pub(super) async fn ready(
    State(state): State<Arc<AdminState>>,
    query: Result<Query<ReadyQuery>, QueryRejection>,
) -> Result<(StatusCode, String), Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let usable_keys = match query.require.as_deref() {
        None => None,
        Some("keys") => Some((state.snapshots)().iter().map(|pool| pool.count(KeyState::Ready)).sum()),
        Some(other) => return Err(Problem::bad_request(format!("cannot require {other:?}, only keys"))),
    };
    let report = state.readiness.report(usable_keys, query.verbose.is_some());
    Ok((StatusCode::from_u16(report.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE), report.body))
}

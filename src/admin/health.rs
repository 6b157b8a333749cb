//! `/livez`, `/healthz` and `/readyz`: for probes, so open to all and never dependent on a provider.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::extract::Query;
use super::problem::Problem;
use super::router::AdminState;

/// The process answers.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct ReadyQuery {
    /// Lists the checks.
    verbose: Option<String>,
    /// `keys`: not ready without a usable key.
    require: Option<String>,
}

/// The process should be given requests.
pub(super) async fn ready(
    State(state): State<Arc<AdminState>>,
    Query(query): Query<ReadyQuery>,
) -> Result<(StatusCode, String), Problem> {
    let usable_keys = match query.require.as_deref() {
        None => None,
        Some("keys") => Some((state.snapshots)().iter().map(|pool| pool.keys.counts().ready).sum()),
        Some(other) => return Err(Problem::bad_request(format!("cannot require {other:?}, only keys"))),
    };
    let report = state.readiness.report(usable_keys, query.verbose.is_some());
    Ok((StatusCode::from_u16(report.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE), report.body))
}

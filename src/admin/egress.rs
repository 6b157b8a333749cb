//! `/api/v1/egress`: the proxies, how they do, and tests of them. Never their users and passwords.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{page, rfc3339};
use super::problem::Problem;
use super::router::AdminState;
use crate::health::{Finding, TestError};
use crate::telemetry::EgressSnapshot;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    pool: Option<String>,
    limit: Option<usize>,
    cursor: Option<usize>,
}

/// One page of proxies, those of `?pool=` or of all pools.
pub(super) async fn list(State(state): State<Arc<AdminState>>, Query(query): Query<ListQuery>) -> Json<Value> {
    let is_meant = |pool: &str| query.pool.as_deref().is_none_or(|wanted| wanted == pool);
    let pools = (state.snapshots)();
    let all: Vec<_> = pools
        .iter()
        .filter(|pool| is_meant(&pool.pool))
        .flat_map(|pool| pool.egress.iter().map(|egress| (pool.pool.as_str(), egress)))
        .collect();
    page(query.limit, query.cursor, &all, |(pool, egress)| show(pool, egress))
}

fn show(pool: &str, egress: &EgressSnapshot) -> Value {
    json!({
        "pool": pool,
        "egress": &*egress.name,
        "state": if egress.is_up { "up" } else { "down" },
        "keys": egress.keys,
        "failures": egress.failures,
        "error": egress.error,
        "last_check": egress.checked.map(rfc3339),
        "milliseconds": egress.took.map(|took| took.as_millis() as u64),
    })
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Test {
    pool: Option<String>,
    /// A name from the list, or a URL with user and password; all of the pool's if there is none.
    egress: Option<String>,
}

/// Fetches the page of the pool's `egress_check` through proxies, now.
pub(super) async fn test(
    State(state): State<Arc<AdminState>>,
    test: Result<Json<Test>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let test = match test {
        Ok(Json(test)) => test,
        // Its text may repeat what was sent, and that may be a password.
        Err(_) => return Err(Problem::bad_request("write {\"pool\": NAME, \"egress\": NAME or URL}, both optional")),
    };
    let pool = match test.pool {
        Some(name) => name,
        None => state.pool(None)?.pool,
    };
    let findings = state.egress.test(&pool, test.egress.as_deref()).await.map_err(problem)?;
    let items: Vec<_> = findings.iter().map(show_finding).collect();
    Ok(Json(json!({"pool": pool, "items": items})))
}

fn problem(error: TestError) -> Problem {
    match error {
        TestError::Pool(_) => Problem::not_found(error.to_string()),
        TestError::Egress(_) | TestError::Target(_) => Problem::bad_request(error.to_string()),
    }
}

fn show_finding(finding: &Finding) -> Value {
    json!({
        "egress": &*finding.egress,
        "ok": finding.error.is_none(),
        "status": finding.status,
        "error": finding.error,
        "milliseconds": finding.took.as_millis() as u64,
    })
}

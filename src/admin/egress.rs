//! `/api/v1/egress`: the proxies, how they do, and tests of them. Never their users and passwords.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Page;
use super::extract::{Body, Query};
use super::moment::Moment;
use super::problem::Problem;
use super::router::AdminState;
use crate::health::{Finding, TestError};
use crate::telemetry::EgressSnapshot;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only the proxies of this pool.
    pool: Option<String>,
    /// Items per page, at most 1000; 100 if not given.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<usize>,
}

/// A proxy of a pool.
#[derive(Serialize, JsonSchema)]
pub(super) struct Egress {
    pool: String,
    /// Its address, without user and password.
    egress: String,
    state: UpOrDown,
    /// Keys that leave by it in good times.
    keys: usize,
    /// Failures since the last success.
    failures: u32,
    /// What the last of them was.
    error: Option<String>,
    last_check: Option<Moment>,
    /// How long that check took; `null` if it failed.
    milliseconds: Option<u64>,
}

/// Whether something is in use.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum UpOrDown {
    Up,
    Down,
}

impl From<bool> for UpOrDown {
    fn from(is_up: bool) -> Self {
        if is_up { Self::Up } else { Self::Down }
    }
}

/// One page of proxies, those of `?pool=` or of all pools.
pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Egress>>, Problem> {
    let is_meant = |pool: &str| query.pool.as_deref().is_none_or(|wanted| wanted == pool);
    let pools = (state.snapshots)();
    let all: Vec<_> = pools
        .iter()
        .filter(|pool| is_meant(&pool.pool))
        .flat_map(|pool| pool.egress.iter().map(|egress| (pool.pool.as_str(), egress)))
        .collect();
    Ok(Json(Page::of(query.limit, query.cursor, &all, |(pool, egress)| Some(show(pool, egress)))))
}

fn show(pool: &str, egress: &EgressSnapshot) -> Egress {
    Egress {
        pool: pool.to_owned(),
        egress: egress.name.to_string(),
        state: egress.is_up.into(),
        keys: egress.keys,
        failures: egress.failures,
        error: egress.error.clone(),
        last_check: egress.checked.map(Moment::from),
        milliseconds: egress.took.map(milliseconds),
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Which proxies to check.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "EgressTest")]
pub(super) struct Test {
    /// Whose; the default pool's if not given.
    pool: Option<String>,
    /// A name from the list, or a URL with user and password; all of the pool's if there is none.
    egress: Option<String>,
}

/// What the checks found.
#[derive(Serialize, JsonSchema)]
pub(super) struct EgressTested {
    pool: String,
    items: Vec<EgressFinding>,
}

/// How a proxy did.
#[derive(Serialize, JsonSchema)]
struct EgressFinding {
    /// Its address, without user and password.
    egress: String,
    ok: bool,
    /// The page's status, if it came.
    status: Option<u16>,
    /// What went wrong.
    error: Option<String>,
    milliseconds: u64,
}

/// Fetches the page of the pool's `egress_check` through proxies, now.
pub(super) async fn test(
    State(state): State<Arc<AdminState>>,
    Body(test): Body<Test>,
) -> Result<Json<EgressTested>, Problem> {
    let pool = match test.pool {
        Some(name) => name,
        None => state.pool(None)?.pool,
    };
    let findings = state.egress.test(&pool, test.egress.as_deref()).await.map_err(problem)?;
    Ok(Json(EgressTested { pool, items: findings.iter().map(EgressFinding::from).collect() }))
}

fn problem(error: TestError) -> Problem {
    match error {
        TestError::Pool(_) => Problem::not_found(error.to_string()),
        TestError::Egress(_) | TestError::Target(_) => Problem::bad_request(error.to_string()),
    }
}

impl From<&Finding> for EgressFinding {
    fn from(finding: &Finding) -> Self {
        Self {
            egress: finding.egress.to_string(),
            ok: finding.error.is_none(),
            status: finding.status,
            error: finding.error.clone(),
            milliseconds: milliseconds(finding.took),
        }
    }
}

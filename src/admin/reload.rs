//! `/api/v1/reload`: reloads on demand, and says how the last reload went.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::rfc3339;
use super::problem::Problem;
use super::router::AdminState;

/// Reloads configuration and keys; `true` also where that takes a pool's last key. May block; called off the runtime.
pub type Reload = Arc<dyn Fn(bool) -> Result<Report, Refusal> + Send + Sync>;

/// What a reload changed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The pools there are, in the order of the configuration, then those that are gone.
    pub pools: Vec<PoolChange>,
    /// What is legal but probably not meant.
    pub warnings: Vec<String>,
    /// Settings that differ from those the process runs with, and wait for a restart.
    pub restart_required: Vec<String>,
}

/// What a reload changed about the keys of one pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PoolChange {
    /// The pool.
    pub name: String,
    /// Keys it has now.
    pub keys: usize,
    /// Those of them it did not have before.
    pub added: usize,
    /// Keys it has no longer.
    pub removed: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |count: fn(&PoolChange) -> usize| self.pools.iter().map(count).sum::<usize>();
        let (keys, added, removed) = (sum(|pool| pool.keys), sum(|pool| pool.added), sum(|pool| pool.removed));
        write!(f, "{keys} keys, {added} added, {removed} removed")?;
        if !self.restart_required.is_empty() {
            write!(f, "; restart required for {}", self.restart_required.join(", "))?;
        }
        Ok(())
    }
}

/// Why a reload changed nothing: every mistake, those in files as `file:line:column: path: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub Vec<String>);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// What made the files be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The process started.
    Start,
    /// SIGHUP.
    Signal,
    /// A file changed.
    File,
    /// An admin request.
    Api,
}

/// The last time the files were read.
#[derive(Debug, Clone)]
pub struct Last {
    /// When.
    pub time: SystemTime,
    /// Why.
    pub trigger: Trigger,
    /// How it went.
    pub outcome: Result<Report, Refusal>,
}

/// Reloads in a thread of its own.
pub(super) async fn run(state: &AdminState, force: bool) -> Result<Report, Problem> {
    let reload = Arc::clone(&state.reload);
    let outcome = tokio::task::spawn_blocking(move || reload(force)).await;
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
    Json(show(&state.last_reload.load()))
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

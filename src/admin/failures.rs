//! `GET /api/v1/pools/{pool}/failures`, and what other rules would have made of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::{LIMIT, LIMIT_MAX};
use super::api::PageQuery;
use super::extract::{Path, Query};
use super::moment::Moment;
use super::problem::Problem;
use super::router::AdminState;
use crate::manage::no_pool;
use crate::verdict::case::Words;
use crate::verdict::{self, Engine, Memory};

/// The failures a pool remembers, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct FailurePage {
    items: Vec<Failure>,
    /// How many are remembered.
    total: usize,
    /// The `cursor` of the next page; `null` on the last.
    next_cursor: Option<String>,
    /// How many more there were that were not looked at, because too many came at once.
    passed_over: u64,
}

/// A failing answer.
#[derive(Serialize, JsonSchema)]
struct Failure {
    #[serde(flatten)]
    head: Head,
    /// The rule that decided.
    rule: String,
    verdict: Words,
    /// What the pool's rules that are only tried would have made of it.
    shadow: Option<Words>,
    headers: BTreeMap<String, String>,
    body: String,
}

/// What a failure was about.
#[derive(Serialize, JsonSchema)]
struct Head {
    id: String,
    time: Moment,
    request_id: String,
    /// The key's name.
    key: String,
    target: String,
    /// The model asked for; empty if none was.
    model: String,
    /// The status of the head, also of an error inside a 200.
    status: u16,
    /// It was an error inside a 200.
    in_band: bool,
    code: String,
    #[serde(rename = "type")]
    kind: String,
    message: String,
}

/// What a provider refused a key.
#[derive(Serialize, JsonSchema)]
pub(super) struct KeyFailure {
    #[serde(flatten)]
    head: Head,
    verdict: Words,
}

/// What other rules make of the last failures.
#[derive(Serialize, JsonSchema)]
pub(super) struct Replay {
    replayed: usize,
    /// How many of them would become something else.
    changed: usize,
    items: Vec<Replayed>,
}

/// What other rules make of a failure.
#[derive(Serialize, JsonSchema)]
struct Replayed {
    #[serde(flatten)]
    head: Head,
    was: Words,
    becomes: Words,
    changed: bool,
}

/// The cursor is the last one shown: newer ones shift nothing.
pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    Path(pool): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<FailurePage>, Problem> {
    let (failures, passed_over) = of(&state, &pool)?.failures();
    let is_behind = |failure: &&Arc<verdict::Failure>| query.cursor.is_none_or(|cursor| failure.id < cursor as u64);
    let behind: Vec<_> = failures.iter().filter(is_behind).collect();
    let limit = query.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let items = behind.iter().take(limit).map(|failure| Failure::from(&***failure)).collect();
    let last = behind.get(limit - 1).filter(|_| behind.len() > limit);
    let next_cursor = last.map(|failure| failure.id.to_string());
    Ok(Json(FailurePage { items, total: failures.len(), next_cursor, passed_over }))
}

/// What a pool remembers.
pub(super) fn of(state: &AdminState, pool: &str) -> Result<Arc<Memory>, Problem> {
    Ok(state.keypool.failures(pool).ok_or_else(|| no_pool(pool))?)
}

/// What these rules make of each failure, beside what it was.
pub(super) fn replay(memory: &Memory, engine: &Engine) -> Replay {
    let (failures, _) = memory.failures();
    let replayed = |failure: &Arc<verdict::Failure>| {
        let (was, becomes) = (Words::from(&failure.verdict), Words::from(&failure.replay(engine)));
        Replayed { head: Head::from(&**failure), changed: was != becomes, was, becomes }
    };
    let items: Vec<Replayed> = failures.iter().map(replayed).collect();
    Replay { replayed: items.len(), changed: items.iter().filter(|item| item.changed).count(), items }
}

impl From<&verdict::Failure> for Head {
    fn from(failure: &verdict::Failure) -> Self {
        let [code, kind, message] = failure.words.clone();
        Self {
            id: failure.id.to_string(),
            time: failure.time.into(),
            request_id: failure.scene.request_id.to_string(),
            key: failure.scene.key.to_string(),
            target: failure.scene.target.to_string(),
            model: failure.model.clone(),
            status: failure.scene.status,
            in_band: failure.status.is_none(),
            code,
            kind,
            message,
        }
    }
}

impl From<&verdict::Failure> for KeyFailure {
    fn from(failure: &verdict::Failure) -> Self {
        Self { head: failure.into(), verdict: Words::from(&failure.verdict) }
    }
}

impl From<&verdict::Failure> for Failure {
    fn from(failure: &verdict::Failure) -> Self {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Self {
            head: failure.into(),
            rule: failure.verdict.rule.to_string(),
            verdict: Words::from(&failure.verdict),
            shadow: failure.shadow.as_ref().map(Words::from),
            headers: failure.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: failure.body.clone(),
        }
    }
}

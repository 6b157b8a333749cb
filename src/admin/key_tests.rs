//! Keys tested now: one, or many with a line for each as it goes.
//!
//! The tests end when whoever asked for them leaves; what was found until then holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::{Stream, StreamExt, stream};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::Serialize;

use super::answer;
use super::api::change;
use super::extract::Path;
use super::identity::Identity;
use super::problem::Problem;
use super::router::AdminState;
use crate::config::KeyId;
use crate::health::{Effect, Outcome, Tested};
use crate::keypool::ControlError;
use crate::telemetry::State as KeyState;

/// Keys about which nothing was found out, as far as they are told one by one.
const FAILED: usize = 100;

/// What the test of one key showed, and what it did.
#[derive(Serialize, JsonSchema)]
pub(super) struct KeyTest {
    id: String,
    pool: String,
    name: String,
    /// It works.
    ok: bool,
    outcome: Outcome,
    /// Why, in a word.
    reason: String,
    /// The rule that decided, if one did.
    rule: Option<String>,
    /// The provider's status, if it answered.
    status: Option<u16>,
    milliseconds: u64,
    /// What became of the key by this.
    effect: Effect,
    /// What it is doing now.
    state: KeyState,
}

/// What the test of many showed.
#[derive(Default, Serialize, JsonSchema)]
#[schemars(rename = "KeyTestReport")]
pub(super) struct Report {
    matched: usize,
    /// Those that were tested.
    changed: usize,
    /// How many turned out to be what.
    outcomes: BTreeMap<&'static str, usize>,
    /// What became of how many.
    effects: BTreeMap<&'static str, usize>,
    /// Some of those about which nothing was found out.
    failed: Vec<Failure>,
}

/// A key about which nothing was found out, and why.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyTestFailure")]
struct Failure {
    id: String,
    error: String,
}

impl Report {
    fn new(matched: usize) -> Self {
        let outcomes = Outcome::ALL.map(|outcome| (outcome.as_str(), 0)).into();
        let effects = Effect::ALL.map(|effect| (effect.as_str(), 0)).into();
        Self { matched, outcomes, effects, ..Self::default() }
    }

    fn add(&mut self, test: &KeyTest) {
        self.changed += 1;
        *self.outcomes.entry(test.outcome.as_str()).or_default() += 1;
        *self.effects.entry(test.effect.as_str()).or_default() += 1;
        if test.outcome == Outcome::Unknown && self.failed.len() < FAILED {
            self.failed.push(Failure { id: test.id.clone(), error: test.reason.clone() });
        }
    }
}

/// How far the tests are, and what the last one showed.
#[derive(Serialize, JsonSchema)]
pub(super) struct TestProgress {
    done: usize,
    total: usize,
    key: KeyTest,
}

/// A line of tests under way: the last one is the report.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum TestLine {
    Progress(TestProgress),
    Report(Report),
}

/// Asks the provider whether a key works, and acts on the answer as on one to a client.
pub(super) async fn one(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(key): Path<String>,
) -> Result<Json<KeyTest>, Problem> {
    let id = super::keys::id(&key)?;
    state.keypool.key(id).ok_or(ControlError::Unknown)?;
    note(&state, identity, vec![id]).await?;
    Ok(Json(test(&state, id).await.ok_or(ControlError::Unknown)?))
}

/// The same for many keys of a pool: a report, or for whoever accepts `application/x-ndjson` a line for each key, and the
/// report in the last.
pub(super) async fn many(
    state: Arc<AdminState>,
    identity: Identity,
    pool: &str,
    ids: Vec<KeyId>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let at_once = state.prober.concurrency(pool);
    note(&state, identity, ids.clone()).await?;
    let mut report = Report::new(ids.len());
    let tests = stream::iter(ids).map(move |id| {
        let state = state.clone();
        async move { test(&state, id).await }
    });
    let mut tests = tests.buffer_unordered(at_once).filter_map(std::future::ready).boxed();
    if answer::wants_progress(headers) {
        return Ok(answer::progress(steps(tests, report)));
    }
    while let Some(test) = tests.next().await {
        report.add(&test);
    }
    Ok(Json(report).into_response())
}

fn steps(
    tests: impl Stream<Item = KeyTest> + Unpin + Send + 'static,
    report: Report,
) -> impl Stream<Item = TestLine> + Send + 'static {
    stream::unfold(Some((tests, report)), move |under_way| async move {
        let (mut tests, mut report) = under_way?;
        match tests.next().await {
            Some(test) => {
                report.add(&test);
                let told = TestProgress { done: report.changed, total: report.matched, key: test };
                Some((TestLine::Progress(told), Some((tests, report))))
            }
            None => Some((TestLine::Report(report), None)),
        }
    })
}

/// Writes the line of the audit.
async fn note(state: &Arc<AdminState>, identity: Identity, ids: Vec<KeyId>) -> Result<(), Problem> {
    change(state.clone(), identity, move |manager, actor| manager.note_test(&ids, actor)).await
}

/// `None` if the key was removed meanwhile.
async fn test(state: &AdminState, id: KeyId) -> Option<KeyTest> {
    let Tested { examined, effect } = state.prober.test_by_id(id).await?;
    let (entry, key) = state.keypool.key(id)?;
    Some(KeyTest {
        id: id.to_string(),
        pool: entry.config.name.clone(),
        name: key.name,
        ok: examined.outcome == Outcome::Valid,
        outcome: examined.outcome,
        reason: examined.reason,
        rule: examined.rule.map(|rule| rule.to_string()),
        status: examined.status,
        milliseconds: u64::try_from(examined.took.as_millis()).unwrap_or(u64::MAX),
        effect,
        state: key.state,
    })
}

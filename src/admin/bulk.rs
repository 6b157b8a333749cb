//! `POST /pools/{pool}/keys/bulk`: something done to many keys, named one by one or by a filter.
//!
//! It is done lot by lot, each committed by itself, so that whoever changes something else need not wait for all of it.
//! Whoever asks for `application/x-ndjson` hears how far it is, and stops it by leaving: what was done by then stays.

use std::future::ready;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{self, Broken, PROGRESS, Shaped};
use super::api::{LOT, change};
use super::extract::{Body, Object, Path};
use super::identity::Identity;
use super::key_tests;
use super::keys::{id, wanted};
use super::openapi::{Operation, Output};
use super::problem::Problem;
use super::router::AdminState;
use crate::config::{KeyId, Role};
use crate::keypool::Action;
use crate::manage::no_pool;
use crate::telemetry::State as KeyState;

/// What a request does to many keys.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum BulkVerb {
    Enable,
    Disable,
    Reset,
    Remove,
    Test,
}

/// What to do to which keys: those listed, those that fit a filter, or with an empty filter all.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Bulk {
    action: BulkVerb,
    /// Either these,
    ids: Option<Vec<String>>,
    /// or these.
    filter: Option<Object<Filter>>,
}

/// Which keys; all of it must fit.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "KeyFilter")]
pub(super) struct Filter {
    #[schemars(with = "Option<KeyState>")]
    state: Option<String>,
    /// Why they are not ready.
    reason: Option<String>,
    /// A part of the name.
    q: Option<String>,
}

/// What was done to many keys.
#[derive(Default, Serialize, JsonSchema)]
pub(super) struct BulkDone {
    /// How many were meant.
    matched: usize,
    /// To how many it was done.
    changed: usize,
    /// Where it could not be done; not for `remove`.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Vec<BulkFailure>>,
    /// How many are in files and stay; for `remove`.
    #[serde(skip_serializing_if = "Option::is_none")]
    provisioned: Option<usize>,
}

impl BulkDone {
    /// Nothing was done yet.
    fn begin(verb: Change) -> Self {
        match verb {
            Change::Act(_) => Self { failed: Some(Vec::new()), ..Self::default() },
            Change::Remove => Self { provisioned: Some(0), ..Self::default() },
        }
    }

    fn add(&mut self, lot: Self) {
        self.matched += lot.matched;
        self.changed += lot.changed;
        if let (Some(failed), Some(more)) = (&mut self.failed, lot.failed) {
            failed.extend(more);
        }
        if let (Some(provisioned), Some(more)) = (&mut self.provisioned, lot.provisioned) {
            *provisioned += more;
        }
    }
}

/// A key that something could not be done to.
#[derive(Serialize, JsonSchema)]
struct BulkFailure {
    id: String,
    error: String,
}

/// How far it is.
#[derive(Serialize, JsonSchema)]
struct BulkProgress {
    done: usize,
    total: usize,
    /// To how many of those done it was done.
    changed: usize,
}

/// A line of something done to many keys: the last one is a report or an error.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum BulkLine {
    Progress(BulkProgress),
    Report(BulkDone),
    Error(Broken),
}

/// A report, or for whoever accepts `application/x-ndjson` lines as it goes.
pub(super) struct BulkOutcome;

impl Output for BulkOutcome {
    fn describe(operation: &mut Operation<'_>) {
        let reports = [operation.schema_given::<BulkDone>(), operation.schema_given::<key_tests::Report>()];
        let lines = [operation.schema_given::<BulkLine>(), operation.schema_given::<key_tests::TestLine>()];
        let kinds = [("application/json", json!({"anyOf": reports})), (PROGRESS, json!({"anyOf": lines}))];
        operation.gives(StatusCode::OK, kinds);
    }
}

/// What needs nobody but the store.
#[derive(Clone, Copy)]
enum Change {
    Act(Action),
    Remove,
}

pub(super) async fn bulk(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
    headers: HeaderMap,
    Body(bulk): Body<Bulk>,
) -> Result<Shaped<BulkOutcome>, Problem> {
    let ids = meant(&state, &pool, bulk.ids, bulk.filter)?;
    let verb = match bulk.action {
        BulkVerb::Enable => Change::Act(Action::Enable),
        BulkVerb::Disable => Change::Act(Action::Disable),
        BulkVerb::Reset => Change::Act(Action::Reset),
        BulkVerb::Remove => {
            identity.require(Role::Admin)?;
            Change::Remove
        }
        BulkVerb::Test => return key_tests::many(state, identity, &pool, ids, &headers).await.map(Shaped::new),
    };
    Ok(Shaped::new(do_to_all(state, identity, ids, verb, &headers).await?))
}

async fn do_to_all(
    state: Arc<AdminState>,
    identity: Identity,
    ids: Vec<KeyId>,
    verb: Change,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let (total, begin) = (ids.len(), BulkDone::begin(verb));
    let lots = lots(state, identity, ids, verb);
    if answer::wants_progress(headers) {
        return Ok(answer::progress(lines(lots.boxed(), begin, total)));
    }
    Ok(Json(summed(lots, begin).await?).into_response())
}

/// The keys of a pool that are meant by their ids or by a filter.
pub(super) fn meant(
    state: &AdminState,
    pool: &str,
    ids: Option<Vec<String>>,
    filter: Option<Object<Filter>>,
) -> Result<Vec<KeyId>, Problem> {
    let found = match (ids, filter) {
        (Some(ids), None) => {
            let ids: Vec<_> = ids.iter().map(|text| id(text)).collect::<Result<_, _>>()?;
            state.keypool.among(pool, ids)
        }
        (None, Some(Object(filter))) => {
            let wanted = wanted(filter.state.as_deref(), filter.reason, filter.q)?;
            state.keypool.matching(pool, &wanted)
        }
        _ => return Err(Problem::bad_request("name the keys with either ids or filter; an empty filter means all")),
    };
    Ok(found.ok_or_else(|| no_pool(pool))?)
}

/// Does something to keys; those that can't be changed are told and don't stop the rest.
pub(super) async fn act_on_all(
    state: &Arc<AdminState>,
    identity: Identity,
    ids: Vec<KeyId>,
    action: Action,
) -> Result<BulkDone, Problem> {
    let verb = Change::Act(action);
    summed(lots(state.clone(), identity, ids, verb), BulkDone::begin(verb)).await
}

/// What is done to each lot. A lot that was begun is done whole, if the asker leaves.
fn lots(
    state: Arc<AdminState>,
    identity: Identity,
    ids: Vec<KeyId>,
    verb: Change,
) -> impl Stream<Item = Result<BulkDone, Problem>> + Send {
    let lots: Vec<Vec<KeyId>> = ids.chunks(LOT).map(<[KeyId]>::to_vec).collect();
    stream::iter(lots).then(move |lot| {
        let (state, identity) = (state.clone(), identity.clone());
        async move {
            match verb {
                Change::Act(action) => act(state, identity, lot, action).await,
                Change::Remove => remove(state, identity, lot).await,
            }
        }
    })
}

async fn summed(lots: impl Stream<Item = Result<BulkDone, Problem>>, begin: BulkDone) -> Result<BulkDone, Problem> {
    lots.try_fold(begin, |mut sum, lot| {
        sum.add(lot);
        ready(Ok(sum))
    })
    .await
}

fn lines(
    lots: impl Stream<Item = Result<BulkDone, Problem>> + Unpin + Send + 'static,
    sum: BulkDone,
    total: usize,
) -> impl Stream<Item = BulkLine> + Send + 'static {
    stream::unfold(Some((lots, sum)), move |under_way| async move {
        let (mut lots, mut sum) = under_way?;
        match lots.next().await {
            Some(Ok(lot)) => {
                sum.add(lot);
                let told = BulkProgress { done: sum.matched, total, changed: sum.changed };
                Some((BulkLine::Progress(told), Some((lots, sum))))
            }
            Some(Err(problem)) => Some((BulkLine::Error(problem.into()), None)),
            None => Some((BulkLine::Report(sum), None)),
        }
    })
}

async fn remove(state: Arc<AdminState>, identity: Identity, ids: Vec<KeyId>) -> Result<BulkDone, Problem> {
    let matched = ids.len();
    let removed = change(state, identity, move |manager, actor| {
        let own: Vec<KeyId> = ids.into_iter().filter(|id| !manager.is_provisioned_key(*id)).collect();
        manager.remove_keys(&own, actor)
    });
    let changed = removed.await?;
    Ok(BulkDone { matched, changed, failed: None, provisioned: Some(matched - changed) })
}

async fn act(state: Arc<AdminState>, identity: Identity, ids: Vec<KeyId>, action: Action) -> Result<BulkDone, Problem> {
    let matched = ids.len();
    let failed = change(state, identity, move |manager, actor| manager.act(&ids, action, actor)).await?;
    let failed: Vec<_> =
        failed.iter().map(|(id, error)| BulkFailure { id: id.to_string(), error: error.to_string() }).collect();
    Ok(BulkDone { matched, changed: matched - failed.len(), failed: Some(failed), provisioned: None })
}

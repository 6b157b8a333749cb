//! `POST /pools/{pool}/keys/bulk`: something done to many keys, named one by one or by a filter.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Shaped;
use super::api::change;
use super::extract::{Body, Object, Path};
use super::identity::Identity;
use super::key_tests::{self, BulkOutcome};
use super::keys::{id, wanted};
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
#[derive(Serialize, JsonSchema)]
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

/// A key that something could not be done to.
#[derive(Serialize, JsonSchema)]
struct BulkFailure {
    id: String,
    error: String,
}

pub(super) async fn bulk(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
    headers: HeaderMap,
    Body(bulk): Body<Bulk>,
) -> Result<Shaped<BulkOutcome>, Problem> {
    let ids = meant(&state, &pool, bulk.ids, bulk.filter)?;
    let action = match bulk.action {
        BulkVerb::Enable => Action::Enable,
        BulkVerb::Disable => Action::Disable,
        BulkVerb::Reset => Action::Reset,
        BulkVerb::Remove => return Ok(Shaped::new(Json(remove_all(&state, identity, ids).await?))),
        BulkVerb::Test => return key_tests::many(state, identity, &pool, ids, &headers).await.map(Shaped::new),
    };
    Ok(Shaped::new(Json(act_on_all(&state, identity, ids, action).await?)))
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

async fn remove_all(state: &Arc<AdminState>, identity: Identity, ids: Vec<KeyId>) -> Result<BulkDone, Problem> {
    identity.require(Role::Admin)?;
    let matched = ids.len();
    let removed = change(state.clone(), identity, move |manager, actor| {
        let own: Vec<KeyId> = ids.into_iter().filter(|id| !manager.is_provisioned_key(*id)).collect();
        manager.remove_keys(&own, actor)
    });
    let changed = removed.await?;
    Ok(BulkDone { matched, changed, failed: None, provisioned: Some(matched - changed) })
}

/// Does something to keys; those that can't be changed are told and don't stop the rest.
pub(super) async fn act_on_all(
    state: &Arc<AdminState>,
    identity: Identity,
    ids: Vec<KeyId>,
    action: Action,
) -> Result<BulkDone, Problem> {
    let matched = ids.len();
    let failed = change(state.clone(), identity, move |manager, actor| manager.act(&ids, action, actor)).await?;
    let failed: Vec<_> =
        failed.iter().map(|(id, error)| BulkFailure { id: id.to_string(), error: error.to_string() }).collect();
    Ok(BulkDone { matched, changed: matched - failed.len(), failed: Some(failed), provisioned: None })
}

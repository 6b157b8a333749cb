//! `/api/v1/…/keys`: keys listed, added, changed and removed; enabled, disabled and reset.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::api::{LIMIT, LIMIT_MAX, ObjectResult, PageQueryResult, change, from_ms, object, parsed, rfc3339};
use super::identity::Identity;
use super::key_tests;
use super::problem::Problem;
use super::router::AdminState;
use crate::config::{KeyId, Secret};
use crate::keypool::{Action, ControlError, Wanted};
use crate::manage::{Candidate, KeyDetail};
use crate::telemetry::{AttemptResult, KeySnapshot, State as KeyState};

/// What one request does to keys.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verb {
    Enable,
    Disable,
    Reset,
}

impl From<Verb> for Action {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Enable => Self::Enable,
            Verb::Disable => Self::Disable,
            Verb::Reset => Self::Reset,
        }
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Unknown => Self::not_found(error.to_string()),
            ControlError::OffInFile => Self::new(StatusCode::CONFLICT, "provisioned", error.to_string()),
        }
    }
}

pub(super) fn id(text: &str) -> Result<KeyId, Problem> {
    text.parse().map_err(|error: crate::config::BadKeyId| Problem::not_found(error.to_string()))
}

// === reading ===

pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    Path(pool): Path<String>,
    query: PageQueryResult,
) -> Result<Json<Value>, Problem> {
    let query = parsed(query)?;
    let wanted = wanted(query.state.as_deref(), query.reason, query.q)?;
    let (start, most) = (query.cursor.unwrap_or(0), query.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX));
    let page = state.keypool.page(&pool, &wanted, start, most).ok_or_else(|| no_pool(&pool))?;
    let end = start.saturating_add(page.keys.len());
    let next = (end < page.total).then(|| end.to_string());
    let items: Vec<Value> = page.keys.iter().map(|key| show_whole(&state, key)).collect();
    Ok(Json(json!({"items": items, "total": page.total, "next_cursor": next})))
}

pub(super) async fn one(State(state): State<Arc<AdminState>>, Path(key): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(show_by_id(&state, id(&key)?)?))
}

fn show_by_id(state: &AdminState, id: KeyId) -> Result<Value, Problem> {
    let (entry, key) = state.keypool.key(id).ok_or(ControlError::Unknown)?;
    let mut shown = show_whole(state, &key);
    shown["pool"] = entry.config.name.as_str().into();
    Ok(shown)
}

fn show_whole(state: &AdminState, key: &KeySnapshot) -> Value {
    let mut shown = show_key(key);
    if let Some(detail) = state.manager.key_detail(key.id) {
        add_detail(&mut shown, &detail);
    }
    shown
}

fn add_detail(shown: &mut Value, detail: &KeyDetail) {
    let spec = &detail.spec;
    shown["hint"] = hint(&spec.key).into();
    shown["account"] = spec.account.clone().into();
    shown["weight"] = spec.weight.into();
    shown["priority"] = spec.priority.into();
    shown["provisioned"] = (!spec.is_stored).into();
    shown["note"] = detail.note.clone().into();
    shown["created_at"] = detail.created_at.map(from_ms).into();
}

/// The last four characters, of a text long enough for that to tell nothing.
fn hint(key: &Secret) -> String {
    let text = key.expose();
    let shown = if text.len() >= 16 { text.get(text.len() - 4..).unwrap_or_default() } else { "" };
    format!("…{shown}")
}

/// Keys of this state, with this reason, and this text in their names.
fn wanted(state: Option<&str>, reason: Option<String>, text: Option<String>) -> Result<Wanted, Problem> {
    let named = |word| KeyState::ALL.into_iter().find(|state| state.as_str() == word);
    let unknown = |word| Problem::bad_request(format!("there is no state {word:?}: ready, cooling or disabled"));
    let state = state.map(|word| named(word).ok_or_else(|| unknown(word))).transpose()?;
    Ok(Wanted { state, reason, text })
}

fn no_pool(pool: &str) -> Problem {
    Problem::not_found(format!("there is no pool {pool:?}"))
}

pub(super) fn show_key(key: &KeySnapshot) -> Value {
    let attempts: Map<_, _> = AttemptResult::ALL
        .into_iter()
        .map(|result| (result.as_str().into(), key.attempts[result.index()].into()))
        .collect();
    json!({
        "id": key.id.to_string(),
        "name": key.name,
        "state": key.state,
        "reason": key.reason,
        "back_in": key.back_in.map(|left| left.as_secs_f64()),
        "requests": key.requests,
        "in_flight": key.in_flight,
        "last_used": key.last_used.map(rfc3339),
        "recheck_at": key.recheck_at.map(rfc3339),
        "attempts": attempts,
    })
}

// === changing ===

/// One key (`{"key": …, "name": …}`) or several (`{"keys": ["…", {"key": …}]}`).
pub(super) async fn add(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
    body: ObjectResult,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let candidates = candidates(object(body)?)?;
    let added =
        change(state.clone(), identity, move |manager, actor| manager.add_keys(&pool, candidates, actor)).await?;
    let errors: Vec<String> = added.bad.iter().map(|(line, error)| format!("keys[{}]: {error}", line - 1)).collect();
    if added.added.is_empty() && !errors.is_empty() {
        return Err(Problem { errors: errors.clone(), ..Problem::unprocessable(errors.join("\n")) });
    }
    let ids = |ids: &[KeyId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let status = if added.added.is_empty() { StatusCode::OK } else { StatusCode::CREATED };
    let bad: Vec<Value> = added.bad.iter().map(|(line, error)| json!({"line": line, "error": error})).collect();
    Ok((
        status,
        Json(json!({
            "added": added.added.len(), "duplicates": added.duplicates.len(), "failed": bad.len(),
            "ids": ids(&added.added), "known_ids": ids(&added.duplicates), "bad": bad,
        })),
    ))
}

fn candidates(mut body: Map<String, Value>) -> Result<Vec<Candidate>, Problem> {
    let wrong = || Problem::unprocessable("send {\"key\": …} or {\"keys\": [\"…\", {\"key\": …}]}");
    let entries = match body.remove("keys") {
        Some(Value::Array(entries)) if body.is_empty() => entries,
        Some(_) => return Err(wrong()),
        None => vec![Value::Object(body)],
    };
    let candidate = |(line, entry)| {
        let (key, details) = match entry {
            Value::String(key) => (key, Map::new()),
            Value::Object(mut details) => match details.remove("key") {
                Some(Value::String(key)) => (key, details),
                _ => return Err(wrong()),
            },
            _ => return Err(wrong()),
        };
        Ok(Candidate { line, key: Secret::new(key), details })
    };
    (1..).zip(entries).map(candidate).collect()
}

pub(super) async fn update(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(key): Path<String>,
    body: ObjectResult,
) -> Result<Json<Value>, Problem> {
    let (id, patch) = (id(&key)?, object(body)?);
    change(state.clone(), identity, move |manager, actor| manager.update_key(id, patch, actor)).await?;
    Ok(Json(show_by_id(&state, id)?))
}

pub(super) async fn remove(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(key): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = id(&key)?;
    change(state.clone(), identity, move |manager, actor| manager.remove_keys(&[id], actor)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn restore(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(key): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = id(&key)?;
    change(state.clone(), identity, move |manager, actor| manager.restore_key(id, actor)).await?;
    Ok(Json(show_by_id(&state, id)?))
}

pub(super) async fn act(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path((key, verb)): Path<(String, Verb)>,
) -> Result<Json<Value>, Problem> {
    let id = id(&key)?;
    let failed = change(state.clone(), identity, move |manager, actor| manager.act(&[id], verb.into(), actor)).await?;
    match failed.into_iter().next() {
        Some((_, error)) => Err(error.into()),
        None => Ok(Json(show_by_id(&state, id)?)),
    }
}

pub(super) async fn rotate_master(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
) -> Result<StatusCode, Problem> {
    change(state, identity, |manager, actor| manager.rotate_master(actor)).await?;
    Ok(StatusCode::NO_CONTENT)
}

// === many at once ===

/// What a request does to many keys.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum BulkVerb {
    Enable,
    Disable,
    Reset,
    Remove,
    Test,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bulk {
    action: BulkVerb,
    ids: Option<Vec<String>>,
    filter: Option<Filter>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    state: Option<String>,
    reason: Option<String>,
    q: Option<String>,
}

/// Does something to many keys of a pool: those listed, those that fit a filter, or with an empty filter all.
pub(super) async fn bulk(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
    headers: HeaderMap,
    bulk: Result<Json<Bulk>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(bulk) = bulk?;
    let ids: Vec<KeyId> = match (bulk.ids, bulk.filter) {
        (Some(ids), None) => {
            let ids: Vec<_> = ids.iter().map(|text| id(text)).collect::<Result<_, _>>()?;
            state.keypool.among(&pool, ids).ok_or_else(|| no_pool(&pool))?
        }
        (None, Some(filter)) => {
            let wanted = wanted(filter.state.as_deref(), filter.reason, filter.q)?;
            state.keypool.matching(&pool, &wanted).ok_or_else(|| no_pool(&pool))?
        }
        _ => return Err(Problem::bad_request("name the keys with either ids or filter; an empty filter means all")),
    };
    let action = match bulk.action {
        BulkVerb::Enable => Action::Enable,
        BulkVerb::Disable => Action::Disable,
        BulkVerb::Reset => Action::Reset,
        BulkVerb::Remove => return Ok(remove_all(&state, identity, ids).await?.into_response()),
        BulkVerb::Test => return key_tests::many(state, identity, &pool, ids, &headers).await,
    };
    Ok(Json(act_on_all(&state, identity, ids, action).await?).into_response())
}

async fn remove_all(state: &Arc<AdminState>, identity: Identity, ids: Vec<KeyId>) -> Result<Json<Value>, Problem> {
    identity.require(crate::config::Role::Admin)?;
    let matched = ids.len();
    let removed = change(state.clone(), identity, move |manager, actor| {
        let own: Vec<KeyId> = ids.into_iter().filter(|id| !manager.is_provisioned_key(*id)).collect();
        manager.remove_keys(&own, actor)
    });
    let removed = removed.await?;
    Ok(Json(json!({"matched": matched, "changed": removed, "provisioned": matched - removed})))
}

/// Does something to keys; those that can't be changed are told and don't stop the rest.
pub(super) async fn act_on_all(
    state: &Arc<AdminState>,
    identity: Identity,
    ids: Vec<KeyId>,
    action: Action,
) -> Result<Value, Problem> {
    let matched = ids.len();
    let failed = change(state.clone(), identity, move |manager, actor| manager.act(&ids, action, actor)).await?;
    let told: Vec<Value> =
        failed.iter().map(|(id, error)| json!({"id": id.to_string(), "error": error.to_string()})).collect();
    Ok(json!({"matched": matched, "changed": matched - told.len(), "failed": told}))
}

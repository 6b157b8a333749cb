//! `/api/v1/…/keys`: keys listed, added, changed and removed; enabled, disabled and reset.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::{NoContent, Page, Shaped, window};
use super::api::change;
use super::beside::Beside;
use super::extract::{Body, Object, Patch, Path, Query, Written};
use super::failures::KeyFailure;
use super::identity::Identity;
use super::import::BadLine;
use super::key_tests::{self, BulkOutcome};
use super::moment::Moment;
use super::openapi::{Operation, Output};
use super::problem::Problem;
use super::router::AdminState;
use super::stats::Sum;
use crate::config::{KeyId, Secret, raw};
use crate::keypool::{Action, ControlError, Wanted};
use crate::manage::{Added, Candidate, KeyDetail, no_pool};
use crate::telemetry::{AttemptResult, BalanceSnapshot, KeySnapshot, State as KeyState, json_amount};

/// What one request does to a key.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "KeyAction")]
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

/// A key, without its text.
#[derive(Serialize, JsonSchema)]
pub(super) struct Key {
    id: String,
    pool: String,
    name: String,
    /// The text's last four characters, if it is long enough for that to tell nothing.
    hint: String,
    state: KeyState,
    /// Why it is not ready.
    reason: Option<&'static str>,
    /// Seconds until it is ready again; `null` where time alone does not bring it back.
    back_in: Option<f64>,
    /// When a key that a rule disabled is asked again.
    recheck_at: Option<Moment>,
    /// Requests it was used for since the start.
    requests: u64,
    /// What was asked with it since midnight (UTC): requests count for the key that was tried last. `null` while the store
    /// does not tell.
    today: Option<Sum>,
    /// Attempts under way.
    in_flight: u32,
    /// Finished attempts by their results.
    attempts: BTreeMap<&'static str, u64>,
    last_used: Option<Moment>,
    /// What its provider refused it last, as far as the pool remembers; told to operators.
    last_failure: Option<KeyFailure>,
    /// What it has left; `null` = never asked, or its provider does not tell.
    balance: Option<Balance>,
    /// Keys of one account share its quota.
    account: Option<String>,
    /// Share of requests.
    weight: u32,
    /// Lower is tried first.
    priority: u32,
    /// It is in a keys file, and to be changed there.
    provisioned: bool,
    /// An operator's note.
    note: Option<String>,
    /// `null` for keys of files.
    created_at: Option<Moment>,
}

/// What a key has left, as its provider told.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyBalance")]
struct Balance {
    /// By unit; none where the key has no limit, or nothing was told so far.
    amounts: Vec<Amount>,
    /// When that was told.
    checked_at: Option<Moment>,
    /// Why it was not told when it was asked for last.
    error: Option<&'static str>,
}

/// So much of a unit.
#[derive(Serialize, JsonSchema)]
struct Amount {
    unit: String,
    #[schemars(with = "f64")]
    amount: Value,
}

impl From<&BalanceSnapshot> for Balance {
    fn from(balance: &BalanceSnapshot) -> Self {
        let amounts = balance.amounts.iter();
        let amounts = amounts.map(|held| Amount { unit: held.unit.to_string(), amount: json_amount(held.amount) });
        Self { amounts: amounts.collect(), checked_at: balance.told.map(Moment::from), error: balance.error }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeysQuery {
    /// Only keys in this state.
    #[schemars(with = "Option<KeyState>")]
    state: Option<String>,
    /// Only keys that are not ready for this reason.
    reason: Option<String>,
    /// A part of the name.
    q: Option<String>,
    /// Items per page, at most 1000; 100 if not given.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<usize>,
}

pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
    Query(query): Query<KeysQuery>,
) -> Result<Json<Page<Key>>, Problem> {
    let wanted = wanted(query.state.as_deref(), query.reason, query.q)?;
    let (start, most) = window(query.limit, query.cursor);
    let page = state.keypool.page(&pool, &wanted, start, most).ok_or_else(|| no_pool(&pool))?;
    let beside = Beside::of(&state, &identity, &pool, &page.keys).await;
    Ok(Json(Page::part(start, &page.keys, page.total, |key| show(&state, &pool, key, &beside))))
}

pub(super) async fn one(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(key): Path<String>,
) -> Result<Json<Key>, Problem> {
    show_by_id(&state, &identity, id(&key)?).await.map(Json)
}

async fn show_by_id(state: &AdminState, asker: &Identity, id: KeyId) -> Result<Key, Problem> {
    let (entry, key) = state.keypool.key(id).ok_or(ControlError::Unknown)?;
    let pool = &entry.config.name;
    let beside = Beside::of(state, asker, pool, std::slice::from_ref(&key)).await;
    Ok(show(state, pool, &key, &beside).ok_or(ControlError::Unknown)?)
}

/// `None` if the key was removed meanwhile.
fn show(state: &AdminState, pool: &str, key: &KeySnapshot, beside: &Beside) -> Option<Key> {
    let KeyDetail { spec, note, created_at, .. } = state.manager.key_detail(key.id)?;
    let attempts = AttemptResult::ALL.into_iter().map(|result| (result.as_str(), key.attempts[result.index()]));
    Some(Key {
        id: key.id.to_string(),
        pool: pool.to_owned(),
        name: key.name.clone(),
        hint: hint(&spec.key),
        state: key.state,
        reason: key.reason,
        back_in: key.back_in.map(|left| left.as_secs_f64()),
        recheck_at: key.recheck_at.map(Moment::from),
        requests: key.requests,
        today: beside.today(key),
        in_flight: key.in_flight,
        attempts: attempts.collect(),
        last_used: key.last_used.map(Moment::from),
        last_failure: beside.last_failure(key),
        balance: key.balance.as_ref().map(Balance::from),
        account: spec.account.clone(),
        weight: spec.weight,
        priority: spec.priority,
        provisioned: !spec.is_stored,
        note,
        created_at: created_at.map(Moment::of_ms),
    })
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

// === changing ===

/// What is said of a key, as in keys.yaml, and a note.
pub(super) struct KeyFields;

impl JsonSchema for KeyFields {
    fn schema_name() -> Cow<'static, str> {
        "Key".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = raw::keys::Key::json_schema(generator);
        if let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            fields.remove("key");
            fields.insert("note".into(), json!({"type": "string", "description": "At most 1000 bytes."}));
        }
        schema.remove("required");
        schema
    }
}

/// A key to be added.
struct NewKey;

impl JsonSchema for NewKey {
    fn schema_name() -> Cow<'static, str> {
        "NewKey".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = KeyFields::json_schema(generator);
        if let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            fields.insert("key".into(), json!({"type": "string", "description": "The key's text."}));
        }
        schema.insert("required".into(), json!(["key"]));
        schema
    }
}

/// One key (`{"key": …, "name": …}`) or several (`{"keys": ["…", {"key": …}]}`).
pub(super) struct NewKeys;

impl JsonSchema for NewKeys {
    fn schema_name() -> Cow<'static, str> {
        "NewKeys".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let key = generator.subschema_for::<NewKey>();
        json_schema!({"anyOf": [key, {
            "type": "object",
            "properties": {"keys": {"type": "array", "items": {"anyOf": [{"type": "string"}, key]}}},
            "required": ["keys"],
            "additionalProperties": false,
        }]})
    }
}

/// What became of keys that were to be added.
#[derive(Serialize, JsonSchema)]
pub(super) struct KeysAdded {
    added: usize,
    duplicates: usize,
    failed: usize,
    /// The new ones.
    ids: Vec<String>,
    /// Those that were there before.
    known_ids: Vec<String>,
    bad: Vec<BadLine>,
}

impl IntoResponse for KeysAdded {
    fn into_response(self) -> Response {
        let status = if self.added == 0 { StatusCode::OK } else { StatusCode::CREATED };
        (status, Json(self)).into_response()
    }
}

impl Output for KeysAdded {
    fn describe(operation: &mut Operation<'_>) {
        operation.gives_json::<Self>(StatusCode::CREATED);
        operation.gives_json::<Self>(StatusCode::OK);
    }
}

impl From<Added> for KeysAdded {
    fn from(Added { added, duplicates, bad }: Added) -> Self {
        let texts = |ids: &[KeyId]| ids.iter().map(ToString::to_string).collect();
        Self {
            added: added.len(),
            duplicates: duplicates.len(),
            failed: bad.len(),
            ids: texts(&added),
            known_ids: texts(&duplicates),
            bad: bad.into_iter().map(BadLine::from).collect(),
        }
    }
}

pub(super) async fn add(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
    Written(body, _): Written<NewKeys>,
) -> Result<KeysAdded, Problem> {
    let candidates = candidates(body)?;
    let added = change(state, identity, move |manager, actor| manager.add_keys(&pool, candidates, actor)).await?;
    let errors: Vec<String> = added.bad.iter().map(|(line, error)| format!("keys[{}]: {error}", line - 1)).collect();
    if added.added.is_empty() && !errors.is_empty() {
        return Err(Problem { errors: errors.clone(), ..Problem::unprocessable(errors.join("\n")) });
    }
    Ok(added.into())
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
    Written(patch, _): Written<Patch<KeyFields>>,
) -> Result<Json<Key>, Problem> {
    let id = id(&key)?;
    change(state.clone(), identity.clone(), move |manager, actor| manager.update_key(id, patch, actor)).await?;
    show_by_id(&state, &identity, id).await.map(Json)
}

pub(super) async fn remove(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(key): Path<String>,
) -> Result<NoContent, Problem> {
    let id = id(&key)?;
    change(state, identity, move |manager, actor| manager.remove_keys(&[id], actor)).await?;
    Ok(NoContent)
}

pub(super) async fn restore(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(key): Path<String>,
) -> Result<Json<Key>, Problem> {
    let id = id(&key)?;
    change(state.clone(), identity.clone(), move |manager, actor| manager.restore_key(id, actor)).await?;
    show_by_id(&state, &identity, id).await.map(Json)
}

/// A key and what to do to it.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ActionPath {
    key: String,
    action: Verb,
}

pub(super) async fn act(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(ActionPath { key, action }): Path<ActionPath>,
) -> Result<Json<Key>, Problem> {
    let id = id(&key)?;
    let failed =
        change(state.clone(), identity.clone(), move |manager, actor| manager.act(&[id], action.into(), actor)).await?;
    match failed.into_iter().next() {
        Some((_, error)) => Err(error.into()),
        None => show_by_id(&state, &identity, id).await.map(Json),
    }
}

pub(super) async fn rotate_master(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
) -> Result<NoContent, Problem> {
    change(state, identity, |manager, actor| manager.rotate_master(actor)).await?;
    Ok(NoContent)
}

// === many at once ===

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
    identity.require(crate::config::Role::Admin)?;
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

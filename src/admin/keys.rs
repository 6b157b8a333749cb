//! `/api/v1/…/keys`: keys listed, changed and removed; enabled, disabled and reset one by one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{NoContent, Page, window};
use super::api::change;
use super::beside::Beside;
use super::extract::{Expected, Patch, Path, Query, Written};
use super::failures::KeyFailure;
use super::identity::Identity;
use super::moment::Moment;
use super::problem::Problem;
use super::router::AdminState;
use super::stats::Sum;
use crate::config::{KeyId, Secret, raw};
use crate::keypool::{Action, ControlError, Wanted};
use crate::manage::{KeyDetail, no_pool};
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
    /// Its limits by name (`rpm`, `rpd`, `tpm`, `tpd`, `concurrency`), and what is used of them now: by all keys of its
    /// account that have limits.
    limits: BTreeMap<&'static str, Limit>,
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
    /// Differs after every change of what is said of it, for `If-Match`; `null` for keys of files.
    version: Option<u64>,
}

/// How much of a limit is used.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyLimit")]
struct Limit {
    used: u64,
    limit: u64,
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
    let KeyDetail { spec, note, created_at, version, .. } = state.manager.key_detail(key.id)?;
    let attempts = AttemptResult::ALL.into_iter().map(|result| (result.as_str(), key.attempts[result.index()]));
    let limits = key.limits.iter().map(|of| (of.limit, Limit { used: of.used, limit: of.most }));
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
        limits: limits.collect(),
        balance: key.balance.as_ref().map(Balance::from),
        account: spec.account.clone(),
        weight: spec.weight,
        priority: spec.priority,
        provisioned: !spec.is_stored,
        note,
        created_at: created_at.map(Moment::of_ms),
        version,
    })
}

/// The last four characters, of a text long enough for that to tell nothing.
fn hint(key: &Secret) -> String {
    let text = key.expose();
    let shown = if text.len() >= 16 { text.get(text.len() - 4..).unwrap_or_default() } else { "" };
    format!("…{shown}")
}

/// Keys of this state, with this reason, and this text in their names.
pub(super) fn wanted(state: Option<&str>, reason: Option<String>, text: Option<String>) -> Result<Wanted, Problem> {
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

pub(super) async fn update(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(key): Path<String>,
    Expected(version): Expected,
    Written(patch, _): Written<Patch<KeyFields>>,
) -> Result<Json<Key>, Problem> {
    let id = id(&key)?;
    change(state.clone(), identity.clone(), move |manager, actor| manager.update_key(id, patch, version, actor))
        .await?;
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

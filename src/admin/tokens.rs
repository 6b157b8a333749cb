//! `/api/v1/tokens`: the client tokens, what each may do and what was done with it. A token's text is told once, to
//! whoever adds it.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Created, NoContent, Page};
use super::api::change;
use super::extract::{Expected, Patch, Path, Query, Written};
use super::identity::Identity;
use super::moment::Moment;
use super::problem::Problem;
use super::router::AdminState;
use crate::config::raw;
use crate::config::raw::clients::Period;
use crate::telemetry::TokenSnapshot;

/// A client token: what it may do and what was done with it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ClientToken")]
pub(super) struct Token {
    id: String,
    name: String,
    /// It is in keyweir.yaml, and to be changed there.
    provisioned: bool,
    created_at: Option<Moment>,
    /// Differs after every change of what it may do, for `If-Match`; `null` for tokens of keyweir.yaml.
    version: Option<u64>,
    /// Its holder is told which key served.
    reveal_key: bool,
    /// Pools it may use; none = all.
    pools: Vec<String>,
    /// Models it may use (globs); none = all.
    models: Vec<String>,
    /// Requests within any minute.
    rpm: Option<u64>,
    /// Tokens of text within any minute.
    tpm: Option<u64>,
    /// Requests per day.
    rpd: Option<u64>,
    /// Requests at once.
    concurrency: Option<u64>,
    /// Money it may spend.
    budget: Option<TokenBudget>,
    /// Money it spent.
    spent: TokenSpent,
    /// From when on it is refused.
    expires: Option<Moment>,
    /// That is now.
    expired: bool,
    in_flight: u64,
    /// Requests let in that reached a provider.
    requests: u64,
    /// Requests refused by its limits.
    refused: u64,
    /// Tokens of text asked.
    tokens_in: u64,
    /// Tokens of text answered.
    tokens_out: u64,
    last_used: Option<Moment>,
}

/// So much money in each day or month, in the currency of `prices`.
#[derive(Serialize, JsonSchema)]
struct TokenBudget {
    amount: f64,
    per: Period,
}

/// Money, in the currency of `prices`.
#[derive(Serialize, JsonSchema)]
struct TokenSpent {
    /// Since midnight (UTC).
    day: f64,
    /// Since the month's first midnight (UTC).
    month: f64,
}

/// A client token with its text, which is told this once.
#[derive(Serialize, JsonSchema)]
pub(super) struct CreatedToken {
    token: String,
    #[serde(flatten)]
    shown: Token,
}

/// What a client token may do, as in keyweir.yaml.
pub(super) struct TokenFields;

impl JsonSchema for TokenFields {
    fn schema_name() -> Cow<'static, str> {
        "ClientToken".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = raw::clients::Token::json_schema(generator);
        if let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            fields.remove("token");
        }
        schema.insert("required".into(), json!(["name"]));
        schema
    }
}

/// A client token to be added.
pub(super) struct NewToken;

impl JsonSchema for NewToken {
    fn schema_name() -> Cow<'static, str> {
        "NewClientToken".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = TokenFields::json_schema(generator);
        let text = "Its text, 16 to 512 visible ASCII characters; made if not given.";
        if let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            fields.insert("token".into(), json!({"type": "string", "description": text}));
        }
        schema
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenQuery {
    /// A part of the name.
    q: Option<String>,
    /// Items per page, at most 1000; 100 if not given.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<usize>,
}

pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    Query(query): Query<TokenQuery>,
) -> Result<Json<Page<Token>>, Problem> {
    let mut tokens = (state.tokens)();
    tokens.retain(|token| token.name.contains(query.q.as_deref().unwrap_or_default()));
    Ok(Json(Page::of(query.limit, query.cursor, &tokens, |token| Some(show(&state, token)))))
}

pub(super) async fn add(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Written(fields, _): Written<NewToken>,
) -> Result<Created<CreatedToken>, Problem> {
    let (id, text) = change(state.clone(), identity, move |manager, actor| manager.add_token(fields, actor)).await?;
    Ok(Created(CreatedToken { token: text.expose().to_owned(), shown: show_by_id(&state, &id)? }))
}

pub(super) async fn update(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(id): Path<String>,
    Expected(version): Expected,
    Written(patch, _): Written<Patch<TokenFields>>,
) -> Result<Json<Token>, Problem> {
    let token = id.clone();
    change(state.clone(), identity, move |manager, actor| manager.update_token(&token, patch, version, actor)).await?;
    Ok(Json(show_by_id(&state, &id)?))
}

pub(super) async fn revoke(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(id): Path<String>,
) -> Result<NoContent, Problem> {
    change(state.clone(), identity, move |manager, actor| manager.remove_token(&id, actor)).await?;
    Ok(NoContent)
}

fn show_by_id(state: &AdminState, id: &str) -> Result<Token, Problem> {
    let tokens = (state.tokens)();
    let found = tokens.iter().find(|token| state.manager.token_view(&token.name).id == id);
    found.map(|token| show(state, token)).ok_or_else(|| Problem::not_found("there is no token with this id"))
}

fn show(state: &AdminState, token: &TokenSnapshot) -> Token {
    let view = state.manager.token_view(&token.name);
    Token {
        id: view.id,
        name: token.name.clone(),
        provisioned: view.is_provisioned,
        created_at: view.created_at.map(Moment::of_ms),
        version: view.version,
        reveal_key: token.reveal_key,
        pools: token.pools.clone(),
        models: token.models.clone(),
        rpm: token.limits.rpm,
        tpm: token.limits.tpm,
        rpd: token.limits.rpd,
        concurrency: token.limits.concurrency,
        budget: token.limits.budget.map(|budget| TokenBudget { amount: budget.amount.units(), per: budget.per }),
        spent: TokenSpent { day: token.spent.day.units(), month: token.spent.month.units() },
        expires: token.expires.map(Moment::from),
        expired: token.is_expired,
        in_flight: token.in_flight,
        requests: token.requests,
        refused: token.refused,
        tokens_in: token.tokens_in,
        tokens_out: token.tokens_out,
        last_used: token.last_used.map(Moment::from),
    }
}

//! `/api/v1/tokens`: the client tokens, what each may do and what was done with it. A token's text is told once, to
//! whoever adds it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::StatusCode;
use serde_json::{Value, json};

use super::api::{ObjectResult, PageQueryResult, change, object, page, parsed, rfc3339};
use super::identity::Identity;
use super::problem::Problem;
use super::router::AdminState;
use crate::telemetry::TokenSnapshot;

/// One page of tokens; `?q=` a part of the name.
pub(super) async fn list(State(state): State<Arc<AdminState>>, query: PageQueryResult) -> Result<Json<Value>, Problem> {
    let query = parsed(query)?;
    let mut tokens = (state.tokens)();
    tokens.retain(|token| token.name.contains(query.q.as_deref().unwrap_or_default()));
    Ok(page(query.limit, query.cursor, &tokens, |token| show(&state, token)))
}

pub(super) async fn add(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    body: ObjectResult,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let details = object(body)?;
    let (id, text) = change(state.clone(), identity, move |manager, actor| manager.add_token(details, actor)).await?;
    let mut shown = show_by_id(&state, &id)?;
    shown["token"] = text.expose().into();
    Ok((StatusCode::CREATED, Json(shown)))
}

pub(super) async fn update(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(id): Path<String>,
    body: ObjectResult,
) -> Result<Json<Value>, Problem> {
    let (patch, token) = (object(body)?, id.clone());
    change(state.clone(), identity, move |manager, actor| manager.update_token(&token, patch, actor)).await?;
    Ok(Json(show_by_id(&state, &id)?))
}

pub(super) async fn revoke(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    change(state.clone(), identity, move |manager, actor| manager.remove_token(&id, actor)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn show_by_id(state: &AdminState, id: &str) -> Result<Value, Problem> {
    let tokens = (state.tokens)();
    let found = tokens.iter().find(|token| state.manager.token_view(&token.name).id == id);
    found.map(|token| show(state, token)).ok_or_else(|| Problem::not_found("there is no token with this id"))
}

fn show(state: &AdminState, token: &TokenSnapshot) -> Value {
    let view = state.manager.token_view(&token.name);
    json!({
        "id": view.id,
        "name": token.name,
        "provisioned": view.is_provisioned,
        "created_at": view.created_at.map(super::api::from_ms),
        "reveal_key": token.reveal_key,
        "pools": token.pools,
        "models": token.models,
        "rpm": token.limits.rpm,
        "tpm": token.limits.tpm,
        "rpd": token.limits.rpd,
        "concurrency": token.limits.concurrency,
        "budget": token.limits.budget.map(|budget| json!({"amount": budget.amount.units(), "per": budget.per})),
        "spent": {"day": token.spent.day.units(), "month": token.spent.month.units()},
        "expires": token.expires.map(rfc3339),
        "expired": token.is_expired,
        "in_flight": token.in_flight,
        "requests": token.requests,
        "refused": token.refused,
        "tokens_in": token.tokens_in,
        "tokens_out": token.tokens_out,
        "last_used": token.last_used.map(rfc3339),
    })
}

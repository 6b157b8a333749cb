//! `GET /api/v1/tokens`: the client tokens by name, what each may do and what was done with it. Never the token itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::api::{PageQueryResult, page, parsed, rfc3339};
use super::problem::Problem;
use super::router::AdminState;
use crate::telemetry::TokenSnapshot;

/// One page of tokens; `?q=` a part of the name.
pub(super) async fn tokens(
    State(state): State<Arc<AdminState>>,
    query: PageQueryResult,
) -> Result<Json<Value>, Problem> {
    let query = parsed(query)?;
    let mut tokens = (state.tokens)();
    tokens.retain(|token| token.name.contains(query.q.as_deref().unwrap_or_default()));
    Ok(page(query.limit, query.cursor, &tokens, show))
}

fn show(token: &TokenSnapshot) -> Value {
    json!({
        "name": token.name,
        "reveal_key": token.reveal_key,
        "pools": token.pools,
        "models": token.models,
        "rpm": token.limits.rpm,
        "tpm": token.limits.tpm,
        "rpd": token.limits.rpd,
        "concurrency": token.limits.concurrency,
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

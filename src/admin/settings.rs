//! `/api/v1/settings` and `/api/v1/pools/{pool}/settings`: every field with its value and its origin.
//!
//! What is put here beats the file until it is reset with `null`. `ETag` and `If-Match` tell the second of two operators
//! who edit at once.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, header};
use serde_json::{Map, Value, json};

use super::api::{ObjectResult, change, object};
use super::identity::Identity;
use super::problem::Problem;
use super::router::AdminState;

pub(super) async fn of_server(State(state): State<Arc<AdminState>>) -> Result<Response, Problem> {
    show(&state, None)
}

pub(super) async fn of_pool(
    State(state): State<Arc<AdminState>>,
    Path(pool): Path<String>,
) -> Result<Response, Problem> {
    show(&state, Some(&pool))
}

pub(super) async fn set_of_server(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    body: ObjectResult,
) -> Result<Response, Problem> {
    set(state, identity, None, &headers, body).await
}

pub(super) async fn set_of_pool(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
    headers: HeaderMap,
    body: ObjectResult,
) -> Result<Response, Problem> {
    set(state, identity, Some(pool), &headers, body).await
}

async fn set(
    state: Arc<AdminState>,
    identity: Identity,
    pool: Option<String>,
    headers: &HeaderMap,
    body: ObjectResult,
) -> Result<Response, Problem> {
    let (written, expected) = (object(body)?, expected(headers)?);
    let name = pool.clone();
    change(state.clone(), identity, move |manager, actor| {
        manager.set_settings(name.as_deref(), &written, expected, actor)
    })
    .await?;
    show(&state, pool.as_deref())
}

fn show(state: &AdminState, pool: Option<&str>) -> Result<Response, Problem> {
    let missing = || Problem::not_found(format!("there is no pool {:?}", pool.unwrap_or_default()));
    let settings = state.manager.settings(pool).ok_or_else(missing)?;
    let field = |field: &crate::config::Field| {
        let mut shown = json!({"value": field.value, "origin": field.origin});
        if !field.choices.is_empty() {
            shown["choices"] = json!(field.choices);
        }
        (field.path.clone(), shown)
    };
    let fields: Map<String, Value> = settings.fields.iter().map(field).collect();
    let version = settings.version;
    Ok(([(header::ETAG, format!("\"{version}\""))], Json(json!({"settings": fields, "version": version})))
        .into_response())
}

fn expected(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim_matches('"').parse().ok());
    number.map(Some).ok_or_else(|| Problem::bad_request("If-Match must be the ETag that came with the settings"))
}

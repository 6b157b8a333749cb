//! `GET /api/v1/pools/{pool}/failures`, and what other rules would have made of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Map, Value, json};

use super::api::{LIMIT, LIMIT_MAX, PageQueryResult, parsed};
use super::problem::Problem;
use super::router::AdminState;
use crate::verdict::case::Words;
use crate::verdict::{Engine, Failure, Memory};

/// The failures a pool remembers, newest first. The cursor is the last one shown: newer ones shift nothing.
pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    Path(pool): Path<String>,
    query: PageQueryResult,
) -> Result<Json<Value>, Problem> {
    let query = parsed(query)?;
    let (failures, passed_over) = of(&state, &pool)?.failures();
    let is_behind = |failure: &&Arc<Failure>| query.cursor.is_none_or(|cursor| failure.id < cursor as u64);
    let behind: Vec<_> = failures.iter().filter(is_behind).collect();
    let limit = query.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let items: Vec<_> = behind.iter().take(limit).map(|failure| show(failure)).collect();
    let last = behind.get(limit - 1).filter(|_| behind.len() > limit);
    let next = last.map(|failure| failure.id.to_string());
    Ok(Json(json!({"items": items, "total": failures.len(), "next_cursor": next, "passed_over": passed_over})))
}

/// What a pool remembers.
pub(super) fn of(state: &AdminState, pool: &str) -> Result<Arc<Memory>, Problem> {
    state.keypool.failures(pool).ok_or_else(|| Problem::not_found(format!("there is no pool {pool:?}")))
}

/// What these rules make of each failure, beside what it was.
pub(super) fn replay(memory: &Memory, engine: &Engine) -> Value {
    let mut changed = 0;
    let (failures, _) = memory.failures();
    let items: Vec<_> = failures
        .iter()
        .map(|failure| {
            let (was, becomes) = (Words::from(&failure.verdict), Words::from(&failure.replay(engine)));
            let is_changed = was != becomes;
            changed += usize::from(is_changed);
            let mut item = head(failure);
            item["was"] = json!(was);
            item["becomes"] = json!(becomes);
            item["changed"] = is_changed.into();
            item
        })
        .collect();
    json!({"replayed": items.len(), "changed": changed, "items": items})
}

fn head(failure: &Failure) -> Value {
    let [code, kind, message] = &failure.words;
    json!({
        "id": failure.id.to_string(),
        "time": format!("{:.3}", failure.time),
        "request_id": &*failure.scene.request_id,
        "key": &*failure.scene.key,
        "target": &*failure.scene.target,
        "model": failure.model,
        "status": failure.scene.status,
        "in_band": failure.status.is_none(),
        "code": code,
        "type": kind,
        "message": message,
    })
}

fn show(failure: &Failure) -> Value {
    let mut shown = head(failure);
    let headers: Map<_, _> = failure
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    shown["rule"] = (&*failure.verdict.rule).into();
    shown["verdict"] = json!(Words::from(&failure.verdict));
    shown["shadow"] = json!(failure.shadow.as_ref().map(Words::from));
    shown["headers"] = headers.into();
    shown["body"] = failure.body.as_str().into();
    shown
}

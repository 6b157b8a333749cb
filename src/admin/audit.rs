//! `GET /api/v1/audit`: who changed what.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::from_ms;
use super::moment;
use super::problem::Problem;
use super::router::AdminState;
use crate::manage::ManageError;
use crate::store::{AuditFilter, AuditRow};

/// Lines per page unless asked otherwise.
const LIMIT: u64 = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    actor: Option<String>,
    action: Option<String>,
    subject: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<u64>,
    cursor: Option<i64>,
}

/// One page, newest first.
pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query?;
    let texts = [&query.actor, &query.action, &query.subject];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(Problem::bad_request("no value can have a NUL in it"));
    }
    let filter = AuditFilter {
        since: query.since.as_deref().map(|text| moment::parse("since", text)).transpose()?,
        until: query.until.as_deref().map(|text| moment::parse("until", text)).transpose()?,
        actor: query.actor,
        action: query.action,
        subject: query.subject,
    };
    let page = state.manager.store().audit(filter, query.cursor, query.limit.unwrap_or(LIMIT)).await;
    let page = page.map_err(ManageError::from)?;
    let items: Vec<Value> = page.rows.iter().map(show).collect();
    Ok(Json(json!({"items": items, "next_cursor": page.next.map(|next| next.to_string())})))
}

fn show(row: &AuditRow) -> Value {
    json!({
        "id": row.id.to_string(),
        "time": from_ms(row.at),
        "actor": row.actor,
        "address": (!row.address.is_empty()).then_some(&row.address),
        "action": row.action,
        "subject": row.subject,
        // What was too long was cut, and is text then.
        "details": serde_json::from_str(&row.details).unwrap_or_else(|_| Value::from(row.details.as_str())),
    })
}

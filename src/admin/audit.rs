//! `GET /api/v1/audit`: who changed what.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::extract::Query;
use super::moment::{self, Moment};
use super::problem::Problem;
use super::router::AdminState;
use crate::manage::ManageError;
use crate::store::{AuditFilter, AuditRow};

/// Lines per page unless asked otherwise, and at most.
const LIMIT: u64 = 100;
const LIMIT_MAX: u64 = 1000;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    /// The operator's name.
    actor: Option<String>,
    /// What was done, e.g. `keys.add`.
    action: Option<String>,
    /// To what.
    subject: Option<String>,
    /// From when on: `2026-01-31T12:00:00Z`, or how long ago, e.g. `1h30m`.
    since: Option<String>,
    /// Until when, written alike.
    until: Option<String>,
    /// Lines per page, at most 1000; 100 if not given.
    limit: Option<u64>,
    /// `next_cursor` of the page before.
    cursor: Option<i64>,
}

/// One page, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct AuditPage {
    items: Vec<AuditLine>,
    /// The `cursor` of the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// Somebody changed something.
#[derive(Serialize, JsonSchema)]
struct AuditLine {
    id: String,
    time: Moment,
    /// The operator's name.
    actor: String,
    /// Where the request came from.
    address: Option<String>,
    /// What was done, e.g. `keys.add`.
    action: String,
    /// To what.
    subject: String,
    /// More about it; text where it was too long and was cut.
    details: Value,
}

pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditPage>, Problem> {
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
    let limit = query.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let page = state.manager.store().audit(filter, query.cursor, limit).await;
    let page = page.map_err(ManageError::from)?;
    let next_cursor = page.next.map(|next| next.to_string());
    Ok(Json(AuditPage { items: page.rows.into_iter().map(AuditLine::from).collect(), next_cursor }))
}

impl From<AuditRow> for AuditLine {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id.to_string(),
            time: Moment::of_ms(row.at),
            actor: row.actor,
            address: Some(row.address).filter(|address| !address.is_empty()),
            action: row.action,
            subject: row.subject,
            details: serde_json::from_str(&row.details).unwrap_or(Value::String(row.details)),
        }
    }
}

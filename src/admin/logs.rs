//! `/api/v1/logs`: the request log, by page, by request, and whole as a file.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::Shaped;
use super::extract::{Path, Query};
use super::identity::Identity;
use super::moment::{self, Moment};
use super::openapi::{Operation, Output};
use super::problem::Problem;
use super::router::AdminState;
use crate::config::formats::guarded;
use crate::config::{KeyId, Role};
use crate::manage::{ManageError, Manager};
use crate::proxy::{Attempt, Trail};
use crate::store::{LoggedRequest, RequestFilter, RequestPage, StoreError};
use crate::telemetry::Outcome;

/// Rows per page unless asked otherwise, and at most.
const LIMIT: u64 = 100;
const LIMIT_MAX: u64 = 1000;

/// Which requests, and how.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogQuery {
    pool: Option<String>,
    /// A key's id or name.
    key: Option<String>,
    /// A client token's name.
    token: Option<String>,
    model: Option<String>,
    /// The client's address.
    client: Option<String>,
    /// How it ended.
    #[schemars(with = "Option<Outcome>")]
    outcome: Option<String>,
    /// `404`, `4xx` or `400-499`; 0 where none was sent.
    status: Option<String>,
    request_id: Option<String>,
    /// From when on: `2026-01-31T12:00:00Z`, or how long ago, e.g. `1h30m`.
    since: Option<String>,
    /// Until when, written alike.
    until: Option<String>,
    /// A part of the id, the path, the model, the error or the trail.
    q: Option<String>,
    /// Rows per page, at most 1000; 100 if not given.
    limit: Option<u64>,
    /// `next_cursor` of the page before.
    cursor: Option<i64>,
    /// Everything that fits, as a file.
    format: Option<Format>,
}

/// Everything that fits, as a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "LogFormat")]
enum Format {
    Csv,
    Json,
}

/// One page, newest first.
#[derive(Serialize, JsonSchema)]
struct LogPage {
    items: Vec<LogRow>,
    /// The `cursor` of the next page; `null` on the last.
    next_cursor: Option<String>,
}

/// A page, or everything that fits as a file.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "says what is answered; a file is written piece by piece")]
enum LogAnswer {
    Page(LogPage),
    File(Vec<LogRow>),
}

/// A request as the access log would put it, with its attempts.
#[derive(Serialize, JsonSchema)]
struct LogRow {
    id: String,
    time: Moment,
    request_id: String,
    /// The client's address.
    client: Option<String>,
    /// The client token's name.
    token: Option<String>,
    method: String,
    path: String,
    pool: Option<String>,
    /// The name of the key that served it.
    key: Option<String>,
    key_id: Option<String>,
    model: Option<String>,
    /// 0 if none was sent.
    status: u16,
    outcome: String,
    /// The code of our own error, if one was sent.
    error: Option<String>,
    attempts: u32,
    trail: Vec<Attempt>,
    /// Attempts that are not in the trail, because it would be too long.
    trail_omitted: usize,
    bytes_in: u64,
    bytes_out: u64,
    tokens_in: Option<u64>,
    tokens_out: Option<u64>,
    duration_ms: u64,
    first_byte_ms: Option<u64>,
}

/// A request, with what is kept of its body.
#[derive(Serialize, JsonSchema)]
pub(super) struct LogEntry {
    #[serde(flatten)]
    row: LogRow,
    /// What is kept of the body; `null` for viewers, too.
    body: Option<String>,
    has_body: bool,
    /// How many requests have this id.
    same_id: usize,
}

/// One page, or with `?format=` all of it.
pub(super) struct Logs;

impl Output for Logs {
    fn describe(operation: &mut Operation<'_>) {
        operation.gives_json::<LogAnswer>(StatusCode::OK);
        operation.gives(StatusCode::OK, [("text/csv; charset=utf-8", json!({"type": "string"}))]);
    }
}

/// One page, newest first, or with `?format=` all of them.
pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    Query(query): Query<LogQuery>,
) -> Result<Shaped<Logs>, Problem> {
    let (limit, cursor, format) = (query.limit, query.cursor, query.format);
    let filter = query.filter(&state)?;
    let Some(format) = format else {
        let limit = limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
        let page = read(&state.manager, filter, cursor, limit).await?;
        let next_cursor = page.next.map(|next| next.to_string());
        return Ok(Shaped::new(Json(LogPage { items: page.rows.iter().map(LogRow::from).collect(), next_cursor })));
    };
    let left = limit.unwrap_or(u64::MAX);
    // Whatever is wrong shows here, where it can still be told by a status.
    let page = read(&state.manager, filter.clone(), cursor, left.clamp(1, LIMIT_MAX)).await?;
    let export = Export { manager: state.manager.clone(), filter, format, left, is_first: true };
    Ok(Shaped::new(export.answer(page)))
}

/// The newest request of this id, with what is kept of its body.
pub(super) async fn one(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(request_id): Path<String>,
) -> Result<Json<LogEntry>, Problem> {
    let found = state.manager.store().request(request_id).await.map_err(ManageError::from)?;
    let missing = || Problem::not_found("the log has no request with this id: store.request_log says which are kept");
    let newest = found.first().ok_or_else(missing)?;
    let body = newest.request.body.as_deref().map(|body| String::from_utf8_lossy(body).into_owned());
    Ok(Json(LogEntry {
        row: newest.into(),
        has_body: body.is_some(),
        // What people write to a model is not for everybody who may look at graphs.
        body: body.filter(|_| identity.role >= Role::Operator),
        same_id: found.len(),
    }))
}

async fn read(
    manager: &Manager,
    filter: RequestFilter,
    before: Option<i64>,
    limit: u64,
) -> Result<RequestPage, ManageError> {
    Ok(manager.store().requests(filter, before, limit).await?)
}

impl LogQuery {
    fn filter(self, state: &AdminState) -> Result<RequestFilter, Problem> {
        let texts = [&self.pool, &self.key, &self.token, &self.model, &self.client, &self.request_id, &self.q];
        if texts.into_iter().flatten().any(|text| text.contains('\0')) {
            return Err(Problem::bad_request("no value can have a NUL in it"));
        }
        let outcome = self.outcome.as_deref().map(known_outcome).transpose()?;
        let mut filter = RequestFilter {
            since: self.since.as_deref().map(|text| moment::parse("since", text)).transpose()?,
            until: self.until.as_deref().map(|text| moment::parse("until", text)).transpose()?,
            pool: self.pool,
            token: self.token,
            model: self.model,
            client: self.client,
            outcome,
            status: self.status.as_deref().map(statuses).transpose()?,
            request_id: self.request_id,
            text: self.q,
            ..RequestFilter::default()
        };
        match self.key.map(|key| (key.parse::<KeyId>(), key)) {
            Some((Ok(id), _)) => {
                filter.key = Some(id);
                // The trail knows keys by name.
                if let Some((entry, key)) = state.keypool.key(id) {
                    filter.key_name = Some(key.name);
                    filter.pool.get_or_insert_with(|| entry.config.name.clone());
                }
            }
            Some((Err(_), name)) => filter.key_name = Some(name),
            None => {}
        }
        Ok(filter)
    }
}

fn known_outcome(word: &str) -> Result<String, Problem> {
    let words = Outcome::ALL.map(Outcome::as_str);
    if words.contains(&word) {
        return Ok(word.to_owned());
    }
    Err(Problem::bad_request(format!("there is no outcome {word:?}: {}", words.join(", "))))
}

/// `404`, `4xx` or `400-499`; 0 = none was sent.
fn statuses(text: &str) -> Result<(u16, u16), Problem> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|status| *status < 1000);
    let class = |text: &str| {
        let hundreds: u16 = text.strip_suffix("xx")?.parse().ok().filter(|class| (1..10).contains(class))?;
        Some((hundreds * 100, hundreds * 100 + 99))
    };
    let range = |text: &str| {
        let (low, high) = text.split_once('-')?;
        Some((number(low)?, number(high)?))
    };
    let one = |text: &str| number(text).map(|status| (status, status));
    one(text).or_else(|| class(text)).or_else(|| range(text)).ok_or_else(|| {
        Problem::bad_request(format!("{text:?} is no status: write 404, 4xx or 400-499; 0 where none was sent"))
    })
}

impl From<&LoggedRequest> for LogRow {
    fn from(row: &LoggedRequest) -> Self {
        let request = &row.request;
        let trail: Trail = serde_json::from_str(&request.trail).unwrap_or_default();
        Self {
            id: row.id.to_string(),
            time: Moment::of_ms(request.at),
            request_id: request.request_id.clone(),
            client: some(&request.client),
            token: some(&request.token),
            method: request.method.clone(),
            path: request.path.clone(),
            pool: some(&request.pool),
            key: some(&request.key_name),
            key_id: request.key.map(|key| key.to_string()),
            model: some(&request.model),
            status: request.status,
            outcome: request.outcome.clone(),
            error: trail.error,
            attempts: request.attempts,
            trail: trail.attempts,
            trail_omitted: trail.omitted,
            bytes_in: request.bytes_in,
            bytes_out: request.bytes_out,
            tokens_in: request.prompt_tokens,
            tokens_out: request.completion_tokens,
            duration_ms: request.duration_ms,
            first_byte_ms: request.first_byte_ms,
        }
    }
}

/// `None` for what does not apply.
fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

// === files ===

/// The fields of a file, in their order.
const COLUMNS: [&str; 21] = [
    "time",
    "request_id",
    "client",
    "token",
    "method",
    "path",
    "pool",
    "key",
    "key_id",
    "model",
    "status",
    "outcome",
    "error",
    "attempts",
    "bytes_in",
    "bytes_out",
    "tokens_in",
    "tokens_out",
    "duration_ms",
    "first_byte_ms",
    "trail",
];

/// A file under way: read page by page, as fast as the client takes it.
struct Export {
    manager: Arc<Manager>,
    filter: RequestFilter,
    format: Format,
    /// Rows that may still be written.
    left: u64,
    is_first: bool,
}

impl Export {
    fn answer(self, first: RequestPage) -> Response {
        let (kind, disposition) = match self.format {
            Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"requests.csv\""),
            Format::Json => ("application/json", "attachment; filename=\"requests.json\""),
        };
        let pieces = stream::try_unfold((self, Some(first)), async |(mut export, page)| {
            let Some(page) = page else { return Ok::<_, StoreError>(None) };
            let piece = export.piece(&page);
            let next = match page.next.filter(|_| export.left > 0) {
                None => None,
                next => {
                    let limit = export.left.min(LIMIT_MAX);
                    Some(export.manager.store().requests(export.filter.clone(), next, limit).await?)
                }
            };
            Ok(Some((piece, (export, next))))
        });
        let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, disposition)]
            .map(|(name, value)| (name, HeaderValue::from_static(value)));
        (headers, Body::from_stream(pieces)).into_response()
    }

    /// The text of a page, with what goes before the first and after the last.
    fn piece(&mut self, page: &RequestPage) -> Bytes {
        let is_first = std::mem::take(&mut self.is_first);
        self.left = self.left.saturating_sub(page.rows.len() as u64);
        let is_last = page.next.is_none() || self.left == 0;
        match self.format {
            Format::Csv => table(&page.rows, is_first),
            Format::Json => {
                let rows: Vec<String> = page.rows.iter().map(|row| json!(LogRow::from(row)).to_string()).collect();
                let begin = if is_first { "[\n" } else { ",\n" };
                let end = if is_last { "\n]\n" } else { "" };
                // A page may be empty where the one before was full to the last row.
                let begin = if rows.is_empty() && !is_first { "" } else { begin };
                format!("{begin}{}{end}", rows.join(",\n")).into()
            }
        }
    }
}

fn table(rows: &[LoggedRequest], with_head: bool) -> Bytes {
    let mut table = csv::Writer::from_writer(Vec::new());
    let write = |table: &mut csv::Writer<Vec<u8>>| -> Result<(), csv::Error> {
        if with_head {
            table.write_record(COLUMNS)?;
        }
        rows.iter()
            .map(|row| json!(LogRow::from(row)))
            .try_for_each(|row| table.write_record(COLUMNS.map(|column| cell(&row[column]))))
    };
    // Writing to memory does not fail, and every record has the same length.
    write(&mut table).ok().and_then(|()| table.into_inner().ok()).unwrap_or_default().into()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => guarded(text),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_number_a_class_or_a_range() {
        for (text, expected) in [("404", (404, 404)), ("4xx", (400, 499)), ("400-503", (400, 503)), ("0", (0, 0))] {
            assert_eq!(statuses(text).unwrap(), expected);
        }
        for wrong in ["", "-1", "x", "0xx", "1234", "4xxx", "400-", "4-x", "99999999999"] {
            assert!(statuses(wrong).is_err(), "{wrong}");
        }
    }
}

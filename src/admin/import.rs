//! Many keys at once: imported in any format, exported with a line in the audit.
//!
//! Whoever asks for `application/x-ndjson` hears how far the import is, a line for each lot.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::api::change;
use super::identity::Identity;
use super::problem::Problem;
use super::router::AdminState;
use crate::config::formats::{self, ExportFormat, Format};
use crate::manage::{Added, Candidate, ManageError};

/// Keys of one lot: each is committed by itself.
const LOT: usize = 10_000;
/// Bad lines that are told.
const BAD: usize = 100;
pub(super) const PROGRESS: &str = "application/x-ndjson";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportQuery {
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportQuery {
    #[serde(default)]
    format: Exported,
}

/// How keys are exported.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Exported {
    #[default]
    Yaml,
    Text,
    Json,
    Csv,
}

/// What an import did, so far.
#[derive(Default)]
struct Report {
    format: String,
    total: usize,
    done: usize,
    added: usize,
    duplicates: usize,
    bad: Vec<(usize, String)>,
}

impl Report {
    fn take(&mut self, lot: usize, outcome: Added) {
        self.done += lot;
        self.added += outcome.added.len();
        self.duplicates += outcome.duplicates.len();
        self.bad.extend(outcome.bad);
    }

    fn show(&self) -> Value {
        let bad: Vec<Value> =
            self.bad.iter().take(BAD).map(|(line, error)| json!({"line": line, "error": error})).collect();
        json!({
            "format": self.format, "total": self.total, "added": self.added, "duplicates": self.duplicates,
            "failed": self.bad.len(), "bad": bad,
        })
    }
}

pub(super) async fn import(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
    query: Result<Query<ImportQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let body = body.map_err(|error| Problem::new(error.status(), "bad_request", error.body_text()))?;
    let text = String::from_utf8(body.into()).map_err(|_| Problem::bad_request("not UTF-8; send the text as UTF-8"))?;
    state.pool(Some(&pool))?;
    let wants_progress = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes() == PROGRESS.as_bytes());
    let (tell, told) = mpsc::unbounded_channel();
    let work = change(Arc::clone(&state), identity, move |manager, actor| {
        let reading = formats::read_as(&text, query.format, &std::collections::HashMap::new());
        let mut report = Report {
            format: format!("{:?}", reading.format).to_lowercase(),
            total: reading.entries.len(),
            duplicates: reading.duplicates.len(),
            bad: reading.bad.into_iter().map(|bad| (bad.line, bad.message)).collect(),
            ..Report::default()
        };
        let mut entries = reading.entries.into_iter().peekable();
        while entries.peek().is_some() {
            let lot: Vec<Candidate> = entries.by_ref().take(LOT).map(Candidate::from).collect();
            let count = lot.len();
            report.take(count, manager.add_keys(&pool, lot, actor)?);
            // Nobody may listen.
            let _unheard = tell.send(json!({"done": report.done, "total": report.total}));
        }
        Ok::<_, ManageError>(report)
    });
    if wants_progress {
        return Ok(progress(told, work));
    }
    Ok(Json(work.await?.show()).into_response())
}

/// Lines as the lots are done, and the report at the end.
fn progress(
    told: mpsc::UnboundedReceiver<Value>,
    work: impl Future<Output = Result<Report, Problem>> + Send + 'static,
) -> Response {
    // It goes on if the asker leaves.
    let work = tokio::spawn(work);
    let line = |value: &Value| Ok::<_, std::convert::Infallible>(Bytes::from(format!("{value}\n")));
    let lines = stream::unfold((told, Some(work)), move |(mut told, work)| async move {
        if let Some(value) = told.recv().await {
            return Some((line(&value), (told, work)));
        }
        let last = match work?.await {
            Ok(Ok(report)) => report.show(),
            Ok(Err(problem)) => json!({"error": problem.detail, "code": problem.code}),
            Err(_) => json!({"error": "the import broke off; the log says where", "code": "internal"}),
        };
        Some((line(&last), (told, None)))
    });
    ([(header::CONTENT_TYPE, PROGRESS)], Body::from_stream(lines)).into_response()
}

pub(super) async fn export(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
    query: Result<Query<ExportQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let (name, kind, format) = match query.format {
        Exported::Yaml => ("yaml", "application/yaml", ExportFormat::Yaml),
        Exported::Text => ("text", "text/plain; charset=utf-8", ExportFormat::Text),
        Exported::Json => ("json", "application/json", ExportFormat::Json),
        Exported::Csv => ("csv", "text/csv; charset=utf-8", ExportFormat::Csv),
    };
    let file = format!("attachment; filename=\"{pool}-keys.{}\"", if name == "text" { "txt" } else { name });
    let keys = change(state, identity, move |manager, actor| {
        Ok(formats::export(format, &manager.export_keys(&pool, name, actor)?))
    });
    Ok(([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, file)], keys.await?).into_response())
}

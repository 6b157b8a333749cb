//! `POST /pools/{pool}/keys/import`: many keys at once, in any format.
//!
//! Whoever asks for `application/x-ndjson` hears how far the import is, a line for each lot, and stops it by leaving: what
//! was added by then stays.

use std::cell::RefCell;
use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use futures::{Stream, future, stream};
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::answer::{self, Broken, PROGRESS, Shaped};
use super::api::change;
use super::extract::{Path, Query};
use super::identity::Identity;
use super::intake::Text;
use super::openapi::{Operation, Output};
use super::problem::Problem;
use super::router::AdminState;
use crate::config::formats::{Entry, Format, Reading};
use crate::manage::Added;

/// Bad lines that are told.
const BAD: usize = 100;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportQuery {
    /// How the keys are written; found by content if not given.
    #[serde(default)]
    format: Format,
    /// Only tell what would happen.
    #[serde(default)]
    dry_run: bool,
}

/// What could not be added.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct BadLine {
    /// Where it stood, from 1.
    pub(super) line: usize,
    pub(super) error: String,
}

impl From<(usize, String)> for BadLine {
    fn from((line, error): (usize, String)) -> Self {
        Self { line, error }
    }
}

/// What an import did.
#[derive(Default, Serialize, JsonSchema)]
pub(super) struct ImportReport {
    /// How the keys were written.
    format: String,
    /// Keys that were read.
    total: usize,
    #[serde(skip)]
    done: usize,
    /// How many keys there seem to be, by what was read.
    #[serde(skip)]
    expected: usize,
    added: usize,
    /// Keys that were there before, or were written twice.
    duplicates: usize,
    /// Lines that could not be added.
    failed: usize,
    /// The first hundred of them.
    bad: Vec<BadLine>,
}

impl ImportReport {
    /// Takes in what was read, where the whole is so many times as long, and gives the keys on.
    pub(super) fn read(&mut self, reading: Reading, ratio: f64) -> Vec<Entry> {
        self.format = format!("{:?}", reading.format).to_lowercase();
        self.total += reading.entries.len();
        self.expected = (self.total as f64 * ratio) as usize;
        self.duplicates += reading.duplicates.len();
        self.refuse(reading.bad.into_iter().map(|bad| (bad.line, bad.message)));
        reading.entries
    }

    fn take(&mut self, lot: usize, outcome: Added) {
        self.done += lot;
        self.added += outcome.added.len();
        self.duplicates += outcome.duplicates.len();
        self.refuse(outcome.bad);
    }

    fn refuse(&mut self, bad: impl IntoIterator<Item = (usize, String)>) {
        for line in bad {
            self.failed += 1;
            if self.bad.len() < BAD {
                self.bad.push(line.into());
            }
        }
    }
}

/// How far an import is.
#[derive(Serialize, JsonSchema)]
struct ImportProgress {
    done: usize,
    /// By what was read so far: the text is read piece by piece.
    total: usize,
}

/// A line of an import under way: the last one is a report or an error.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum ImportLine {
    Progress(ImportProgress),
    Report(ImportReport),
    Error(Broken),
}

/// A report, or for whoever accepts `application/x-ndjson` lines as it goes.
pub(super) struct Imported;

impl Output for Imported {
    fn describe(operation: &mut Operation<'_>) {
        operation.gives_json::<ImportReport>(StatusCode::OK);
        let line = operation.schema_given::<ImportLine>();
        operation.gives(StatusCode::OK, [(PROGRESS, line)]);
    }
}

pub(super) async fn import(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
    Query(query): Query<ImportQuery>,
    headers: HeaderMap,
    text: Text,
) -> Result<Shaped<Imported>, Problem> {
    state.pool(Some(&pool))?;
    let (tell, told) = mpsc::unbounded_channel();
    let (receiving, unread) = text.split(query.format);
    let work = change(Arc::clone(&state), identity, move |manager, actor| {
        let report = RefCell::new(ImportReport::default());
        let lots = unread.lots(&report);
        let tell = |size, outcome| {
            let mut report = report.borrow_mut();
            report.take(size, outcome);
            // Whoever leaves wants no more of it.
            tell.send(ImportProgress { done: report.done, total: report.expected.max(report.total) }).is_ok()
        };
        if query.dry_run {
            manager.judge_keys(&pool, lots, tell)?;
        } else {
            manager.import_keys(&pool, lots, actor, tell)?;
        }
        Ok::<_, Problem>(report.into_inner())
    });
    let work = async { future::join(work, receiving).await.0 };
    if answer::wants_progress(&headers) {
        return Ok(Shaped::new(answer::progress(steps(told, work))));
    }
    Ok(Shaped::new(Json(work.await?)))
}

/// Lines as the lots are done, and the report at the end.
fn steps(
    told: mpsc::UnboundedReceiver<ImportProgress>,
    work: impl Future<Output = Result<ImportReport, Problem>> + Send + 'static,
) -> impl Stream<Item = ImportLine> + Send + 'static {
    // What is being added is added whole, if the asker leaves.
    let work = tokio::spawn(work);
    stream::unfold((told, Some(work)), move |(mut told, work)| async move {
        if let Some(done) = told.recv().await {
            return Some((ImportLine::Progress(done), (told, work)));
        }
        let last = match work?.await {
            Ok(Ok(report)) => ImportLine::Report(report),
            Ok(Err(problem)) => ImportLine::Error(problem.into()),
            Err(_) => ImportLine::Error(Problem::internal().into()),
        };
        Some((last, (told, None)))
    })
}

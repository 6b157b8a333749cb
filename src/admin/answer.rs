//! Answers that more than one handler gives.

use std::convert::Infallible;
use std::marker::PhantomData;

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{HeaderMap, HeaderName, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::openapi::{Operation, Output};
use super::problem::Problem;

/// Items per page unless asked otherwise, and at most.
pub(super) const LIMIT: usize = 100;
pub(super) const LIMIT_MAX: usize = 1000;

/// One page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// How many fit, on all pages.
    pub(super) total: usize,
    /// The `cursor` of the next page; `null` on the last.
    pub(super) next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The page that begins at `cursor`, without what is gone meanwhile.
    pub(super) fn of<I, O>(limit: Option<usize>, cursor: Option<usize>, all: &[I], show: impl Fn(&I) -> O) -> Self
    where
        O: IntoIterator<Item = T>,
    {
        let (start, most) = window(limit, cursor);
        let start = start.min(all.len());
        let end = start.saturating_add(most).min(all.len());
        Self::part(start, all.get(start..end).unwrap_or_default(), all.len(), show)
    }

    /// The page of `some` of `total`, from the one at `start` on, without what is gone meanwhile.
    pub(super) fn part<I, O>(start: usize, some: &[I], total: usize, show: impl Fn(&I) -> O) -> Self
    where
        O: IntoIterator<Item = T>,
    {
        let end = start.saturating_add(some.len());
        let next_cursor = (end < total).then(|| end.to_string());
        Self { items: some.iter().flat_map(show).collect(), total, next_cursor }
    }
}

/// Where a page begins, and how many items it has at most.
pub(super) fn window(limit: Option<usize>, cursor: Option<usize>) -> (usize, usize) {
    (cursor.unwrap_or(0), limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX))
}

/// What whoever wants to hear how far something is accepts: a line of JSON for each step.
pub(super) const PROGRESS: &str = "application/x-ndjson";

/// Whether somebody does.
pub(super) fn wants_progress(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes() == PROGRESS.as_bytes())
}

/// The steps, as they are made.
pub(super) fn progress<T: Serialize>(steps: impl Stream<Item = T> + Send + 'static) -> Response {
    let lines = steps.map(|step| Ok::<_, Infallible>(Bytes::from(format!("{}\n", json!(step)))));
    ([(header::CONTENT_TYPE, PROGRESS)], Body::from_stream(lines)).into_response()
}

/// Why something that was told step by step broke off; what was done before holds.
#[derive(Serialize, JsonSchema)]
pub(super) struct Broken {
    error: String,
    /// A word for programs.
    code: &'static str,
}

impl From<Problem> for Broken {
    fn from(problem: Problem) -> Self {
        Self { error: problem.detail, code: problem.code }
    }
}

/// Something was added.
pub(super) struct Created<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}

impl<T: JsonSchema> Output for Created<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.gives_json::<T>(StatusCode::CREATED);
    }
}

/// It was done, and there is nothing to tell.
pub(super) struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl Output for NoContent {
    fn describe(operation: &mut Operation<'_>) {
        operation.gives(StatusCode::NO_CONTENT, []);
    }
}

impl<const N: usize, V, T: Output> Output for ([(HeaderName, V); N], T) {
    fn describe(operation: &mut Operation<'_>) {
        T::describe(operation);
    }
}

/// A response whose type does not say what is in it; `D` does.
pub(super) struct Shaped<D>(Response, PhantomData<D>);

impl<D> Shaped<D> {
    pub(super) fn new(response: impl IntoResponse) -> Self {
        Self(response.into_response(), PhantomData)
    }
}

impl<D> IntoResponse for Shaped<D> {
    fn into_response(self) -> Response {
        self.0
    }
}

impl<D: Output> Output for Shaped<D> {
    fn describe(operation: &mut Operation<'_>) {
        D::describe(operation);
    }
}

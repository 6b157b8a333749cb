//! Errors as `application/problem+json` (RFC 9457).

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

use crate::config::without_values;
use crate::manage::ManageError;
use crate::store::StoreError;

/// An error answer; `detail` says what to do about it.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// A word for programs.
    pub(super) code: &'static str,
    pub(super) detail: String,
    /// Every single mistake, where there may be several.
    pub(super) errors: Vec<String>,
    /// Seconds after which it is worth another try.
    pub(super) retry_after: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    pub(super) fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// The work for the answer panicked.
    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "it broke off; the log says where")
    }
}

/// A body that was not understood; it may hold a key or a token where none belongs.
impl From<JsonRejection> for Problem {
    fn from(error: JsonRejection) -> Self {
        let detail = match &error {
            JsonRejection::JsonDataError(error) => without_values(&error.body_text()),
            _ => error.body_text(),
        };
        Self::new(error.status(), "bad_request", detail)
    }
}

impl From<PathRejection> for Problem {
    fn from(error: PathRejection) -> Self {
        Self::new(error.status(), "bad_request", error.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(error: QueryRejection) -> Self {
        Self::bad_request(error.body_text())
    }
}

impl From<ManageError> for Problem {
    fn from(error: ManageError) -> Self {
        let (status, code) = match &error {
            ManageError::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            ManageError::Provisioned(_) => (StatusCode::CONFLICT, "provisioned"),
            ManageError::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            ManageError::Stale(_) => (StatusCode::PRECONDITION_FAILED, "stale"),
            ManageError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            ManageError::Store(StoreError::Full(_)) => (StatusCode::INSUFFICIENT_STORAGE, "store_full"),
            ManageError::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"),
        };
        let problem = Self::new(status, code, error.to_string());
        match error {
            ManageError::Invalid(errors) => Self { errors, ..problem },
            _ => problem,
        }
    }
}

/// What the asker is told.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct Told {
    /// `about:blank`: `code` says more.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    status: u16,
    /// A word for programs.
    code: &'static str,
    /// What to do about it.
    detail: String,
    /// Every single mistake, where there may be several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Told {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: self.detail,
            errors: self.errors,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"keyweir\""));
        }
        response
    }
}

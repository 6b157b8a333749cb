//! `/pools/{pool}/keys/export`: keys with their texts, all or some, in one of the formats.
//!
//! Invariant: nothing secret leaves without a line in the audit.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequest, Request, State};
use bytes::Bytes;
use http::{StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::answer::Shaped;
use super::api::change;
use super::bulk::{Filter, meant};
use super::extract::{self, Object, Path, Query};
use super::identity::Identity;
use super::openapi::{Input, Operation, Output};
use super::problem::Problem;
use super::router::AdminState;
use crate::config::KeyId;
use crate::config::formats::{self, ExportFormat};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportQuery {
    /// How to write the keys; `yaml` if not given.
    #[serde(default)]
    format: Exported,
}

/// How keys are exported.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Exported {
    #[default]
    Yaml,
    Text,
    Json,
    Csv,
}

/// The keys as a file.
pub(super) struct KeysFile;

impl Output for KeysFile {
    fn describe(operation: &mut Operation<'_>) {
        let text = json!({"type": "string"});
        let kinds = [Exported::Yaml, Exported::Text, Exported::Json, Exported::Csv].map(Exported::form);
        let json = json!({"description": "A list of objects with `key`, `name`, ….", "type": "array"});
        let yaml = json!({"description": "Pools with their keys, as in `keys.yaml`.", "type": "object"});
        let schema = |kind: &str| match kind {
            "application/json" => json.clone(),
            "application/yaml" => yaml.clone(),
            _ => text.clone(),
        };
        operation.gives(StatusCode::OK, kinds.map(|(_, _, kind, _)| (kind, schema(kind))));
    }
}

impl Exported {
    /// The word for it, the file's ending, the media type and the form.
    fn form(self) -> (&'static str, &'static str, &'static str, ExportFormat) {
        match self {
            Self::Yaml => ("yaml", "yaml", "application/yaml", ExportFormat::Yaml),
            Self::Text => ("text", "txt", "text/plain; charset=utf-8", ExportFormat::Text),
            Self::Json => ("json", "json", "application/json", ExportFormat::Json),
            Self::Csv => ("csv", "csv", "text/csv; charset=utf-8", ExportFormat::Csv),
        }
    }
}

/// Which keys to export: those listed, or those that fit a filter. Without it, all.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "KeySelection")]
struct Selection {
    /// Either these,
    ids: Option<Vec<String>>,
    /// or these.
    filter: Option<Object<Filter>>,
}

/// A body with a selection, or none.
pub(super) struct Selected(Option<Selection>);

impl<S: Send + Sync> FromRequest<S> for Selected {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let body = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await;
        let body = body.map_err(|error| Problem::new(error.status(), "bad_request", error.body_text()))?;
        if body.is_empty() {
            return Ok(Self(None));
        }
        let request = Request::from_parts(parts, body.into());
        let extract::Body(selection) = extract::Body::from_request(request, state).await?;
        Ok(Self(Some(selection)))
    }
}

impl Input for Selected {
    fn describe(operation: &mut Operation<'_>) {
        operation.takes_json::<Selection>(false);
    }
}

pub(super) async fn all(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
    Query(query): Query<ExportQuery>,
) -> Result<Shaped<KeysFile>, Problem> {
    file(state, identity, pool, None, query.format).await
}

pub(super) async fn selected(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
    Query(query): Query<ExportQuery>,
    Selected(selection): Selected,
) -> Result<Shaped<KeysFile>, Problem> {
    let only = match selection {
        None | Some(Selection { ids: None, filter: None }) => None,
        Some(Selection { ids, filter }) => Some(meant(&state, &pool, ids, filter)?),
    };
    file(state, identity, pool, only, query.format).await
}

async fn file(
    state: Arc<AdminState>,
    identity: Identity,
    pool: String,
    only: Option<Vec<KeyId>>,
    format: Exported,
) -> Result<Shaped<KeysFile>, Problem> {
    let (word, ending, kind, format) = format.form();
    let file = format!("attachment; filename=\"{pool}-keys.{ending}\"");
    let keys = change(state, identity, move |manager, actor| {
        let only = only.map(|ids| ids.into_iter().collect());
        manager.export_keys(&pool, only.as_ref(), word, actor).map(|keys| formats::export(format, &keys))
    });
    let keys = keys.await?;
    Ok(Shaped::new(([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, file)], keys)))
}

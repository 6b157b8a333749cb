//! `POST /pools/{pool}/keys`: keys added one by one or a few at once, each with what is said of it.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::api::change;
use super::extract::{Path, Written};
use super::identity::Identity;
use super::import::BadLine;
use super::keys::KeyFields;
use super::openapi::{Operation, Output};
use super::problem::Problem;
use super::router::AdminState;
use crate::config::{KeyId, Secret};
use crate::manage::{Added, Candidate};

/// A key to be added.
struct NewKey;

impl JsonSchema for NewKey {
    fn schema_name() -> Cow<'static, str> {
        "NewKey".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = KeyFields::json_schema(generator);
        if let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            fields.insert("key".into(), json!({"type": "string", "description": "The key's text."}));
        }
        schema.insert("required".into(), json!(["key"]));
        schema
    }
}

/// One key (`{"key": …, "name": …}`) or several (`{"keys": ["…", {"key": …}]}`).
pub(super) struct NewKeys;

impl JsonSchema for NewKeys {
    fn schema_name() -> Cow<'static, str> {
        "NewKeys".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let key = generator.subschema_for::<NewKey>();
        json_schema!({"anyOf": [key, {
            "type": "object",
            "properties": {"keys": {"type": "array", "items": {"anyOf": [{"type": "string"}, key]}}},
            "required": ["keys"],
            "additionalProperties": false,
        }]})
    }
}

/// What became of keys that were to be added.
#[derive(Serialize, JsonSchema)]
pub(super) struct KeysAdded {
    added: usize,
    duplicates: usize,
    failed: usize,
    /// The new ones.
    ids: Vec<String>,
    /// Those that were there before.
    known_ids: Vec<String>,
    bad: Vec<BadLine>,
}

impl IntoResponse for KeysAdded {
    fn into_response(self) -> Response {
        let status = if self.added == 0 { StatusCode::OK } else { StatusCode::CREATED };
        (status, Json(self)).into_response()
    }
}

impl Output for KeysAdded {
    fn describe(operation: &mut Operation<'_>) {
        operation.gives_json::<Self>(StatusCode::CREATED);
        operation.gives_json::<Self>(StatusCode::OK);
    }
}

impl From<Added> for KeysAdded {
    fn from(Added { added, duplicates, bad }: Added) -> Self {
        let texts = |ids: &[KeyId]| ids.iter().map(ToString::to_string).collect();
        Self {
            added: added.len(),
            duplicates: duplicates.len(),
            failed: bad.len(),
            ids: texts(&added),
            known_ids: texts(&duplicates),
            bad: bad.into_iter().map(BadLine::from).collect(),
        }
    }
}

pub(super) async fn add(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
    Written(body, _): Written<NewKeys>,
) -> Result<KeysAdded, Problem> {
    let candidates = candidates(body)?;
    let added = change(state, identity, move |manager, actor| manager.add_keys(&pool, candidates, actor)).await?;
    let errors: Vec<String> = added.bad.iter().map(|(line, error)| format!("keys[{}]: {error}", line - 1)).collect();
    if added.added.is_empty() && !errors.is_empty() {
        return Err(Problem { errors: errors.clone(), ..Problem::unprocessable(errors.join("\n")) });
    }
    Ok(added.into())
}

fn candidates(mut body: Map<String, Value>) -> Result<Vec<Candidate>, Problem> {
    let wrong = || Problem::unprocessable("send {\"key\": …} or {\"keys\": [\"…\", {\"key\": …}]}");
    let entries = match body.remove("keys") {
        Some(Value::Array(entries)) if body.is_empty() => entries,
        Some(_) => return Err(wrong()),
        None => vec![Value::Object(body)],
    };
    let candidate = |(line, entry)| {
        let (key, details) = match entry {
            Value::String(key) => (key, Map::new()),
            Value::Object(mut details) => match details.remove("key") {
                Some(Value::String(key)) => (key, details),
                _ => return Err(wrong()),
            },
            _ => return Err(wrong()),
        };
        Ok(Candidate { line, key: Secret::new(key), details })
    };
    (1..).zip(entries).map(candidate).collect()
}

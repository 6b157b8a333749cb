//! `/api/v1/settings` and `/api/v1/pools/{pool}/settings`: every field with its value and its origin.
//!
//! What is put here beats the file until it is reset with `null`. `ETag` and `If-Match` tell the second of two operators
//! who edit at once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use http::{HeaderName, header};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value};

use super::api::change;
use super::extract::{Expected, Path, Written};
use super::identity::Identity;
use super::problem::Problem;
use super::router::AdminState;
use crate::config::Origin;
use crate::manage::no_pool;

/// Settings to be changed.
pub(super) struct Settings;

impl JsonSchema for Settings {
    fn schema_name() -> Cow<'static, str> {
        "NewSettings".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "Fields as in keyweir.yaml, nested or by their paths (`retry.attempts`); `null` resets one \
                            to what the file says.",
            "additionalProperties": true,
        })
    }
}

/// All fields.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Settings")]
pub(super) struct ShownSettings {
    /// By path, e.g. `retry.attempts`.
    settings: BTreeMap<String, Setting>,
    /// Differs after every change; the `ETag` without its quotes.
    version: u64,
}

/// One field.
#[derive(Serialize, JsonSchema)]
struct Setting {
    /// Its value; secrets are redacted.
    value: Value,
    origin: Origin,
    /// The words it may be, where it can be nothing else.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    choices: Vec<String>,
}

/// The settings with their `ETag`.
type Tagged = ([(HeaderName, String); 1], Json<ShownSettings>);

pub(super) async fn of_server(State(state): State<Arc<AdminState>>) -> Result<Tagged, Problem> {
    show(&state, None)
}

pub(super) async fn of_pool(State(state): State<Arc<AdminState>>, Path(pool): Path<String>) -> Result<Tagged, Problem> {
    show(&state, Some(&pool))
}

pub(super) async fn set_of_server(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    expected: Expected,
    Written(fields, _): Written<Settings>,
) -> Result<Tagged, Problem> {
    set(state, identity, None, expected, fields).await
}

pub(super) async fn set_of_pool(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Path(pool): Path<String>,
    expected: Expected,
    Written(fields, _): Written<Settings>,
) -> Result<Tagged, Problem> {
    set(state, identity, Some(pool), expected, fields).await
}

async fn set(
    state: Arc<AdminState>,
    identity: Identity,
    pool: Option<String>,
    Expected(version): Expected,
    fields: Map<String, Value>,
) -> Result<Tagged, Problem> {
    let name = pool.clone();
    change(state.clone(), identity, move |manager, actor| {
        manager.set_settings(name.as_deref(), &fields, version, actor)
    })
    .await?;
    show(&state, pool.as_deref())
}

fn show(state: &AdminState, pool: Option<&str>) -> Result<Tagged, Problem> {
    let settings = state.manager.settings(pool).ok_or_else(|| no_pool(pool.unwrap_or_default()))?;
    let field = |field: crate::config::Field| {
        (field.path, Setting { value: field.value, origin: field.origin, choices: field.choices })
    };
    let (fields, version) = (settings.fields.into_iter().map(field).collect(), settings.version);
    Ok(([(header::ETAG, format!("\"{version}\""))], Json(ShownSettings { settings: fields, version })))
}

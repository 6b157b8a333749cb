//! `/api/v1/keys/…` and `…/keys/bulk`: what operators do to keys while the server runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{check_state, fits, show_key};
use super::problem::Problem;
use super::router::AdminState;
use crate::config::keys::KeyId;
use crate::keypool::{Action, ControlError};

/// What one request does to keys.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verb {
    Enable,
    Disable,
    Reset,
}

impl From<Verb> for Action {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Enable => Self::Enable,
            Verb::Disable => Self::Disable,
            Verb::Reset => Self::Reset,
        }
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Unknown => Self::not_found(error.to_string()),
            ControlError::OffInFile => Self::new(StatusCode::CONFLICT, "provisioned", error.to_string()),
        }
    }
}

fn id(text: &str) -> Result<KeyId, Problem> {
    text.parse().map_err(|error: crate::config::keys::BadKeyId| Problem::not_found(error.to_string()))
}

pub(super) async fn one(State(state): State<Arc<AdminState>>, Path(key): Path<String>) -> Result<Json<Value>, Problem> {
    let (entry, key) = state.keypool.key(id(&key)?).ok_or(ControlError::Unknown)?;
    let mut shown = show_key(&key);
    shown["pool"] = entry.config.name.as_str().into();
    Ok(Json(shown))
}

pub(super) async fn act(
    State(state): State<Arc<AdminState>>,
    Path((key, verb)): Path<(String, Verb)>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(show_key(&state.keypool.act(id(&key)?, verb.into())?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bulk {
    action: Verb,
    ids: Option<Vec<String>>,
    filter: Option<Filter>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    state: Option<String>,
    reason: Option<String>,
    q: Option<String>,
}

/// Does something to many keys of a pool: those listed, those that fit a filter, or with an empty filter all.
pub(super) async fn bulk(
    State(state): State<Arc<AdminState>>,
    Path(pool): Path<String>,
    bulk: Result<Json<Bulk>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(bulk) = bulk.map_err(|error| Problem::bad_request(error.body_text()))?;
    let pool = state.pool(Some(&pool))?;
    let ids: Vec<KeyId> = match (bulk.ids, bulk.filter) {
        (Some(ids), None) => {
            let ids: Vec<_> = ids.iter().map(|text| id(text)).collect::<Result<_, _>>()?;
            let known: std::collections::HashSet<_> = pool.keys.iter().map(|key| key.id).collect();
            ids.into_iter().filter(|id| known.contains(id)).collect()
        }
        (None, Some(filter)) => {
            check_state(filter.state.as_deref())?;
            let is_meant = |key: &&_| fits(key, filter.state.as_deref(), filter.reason.as_deref(), filter.q.as_deref());
            pool.keys.iter().filter(is_meant).map(|key| key.id).collect()
        }
        _ => return Err(Problem::bad_request("name the keys with either ids or filter; an empty filter means all")),
    };
    Ok(Json(act_on_all(&state, &ids, bulk.action.into())))
}

/// Does something to keys; those that can't be changed are told and don't stop the rest.
pub(super) fn act_on_all(state: &AdminState, ids: &[KeyId], action: Action) -> Value {
    let failed: Vec<_> = ids
        .iter()
        .filter_map(|id| Some((id, state.keypool.act(*id, action).err()?)))
        .map(|(id, error)| json!({"id": id.to_string(), "error": error.to_string()}))
        .collect();
    json!({"matched": ids.len(), "changed": ids.len() - failed.len(), "failed": failed})
}

//! `/api/v1/log-level`: how talkative the application log is, until the next change of the configuration or restart.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use log::LevelFilter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::extract::Body;
use super::identity::Identity;
use super::problem::Problem;
use super::router::AdminState;
use crate::config::raw;
use crate::store::Audit;
use crate::telemetry::logger;

/// How talkative the log is.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "LogLevel")]
pub(super) struct Level {
    /// The least important messages that are written.
    #[schemars(with = "raw::server::Level")]
    level: String,
}

pub(super) async fn show() -> Json<Level> {
    Json(Level { level: log::max_level().as_str().to_lowercase() })
}

/// Takes effect at once, also while the store is down: then it may be needed most.
pub(super) async fn set(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    Body(Level { level }): Body<Level>,
) -> Result<Json<Level>, Problem> {
    let unknown = |_| Problem::unprocessable("level: write off, error, warn, info, debug or trace");
    let wanted: LevelFilter = level.parse().map_err(unknown)?;
    logger::set_level(wanted);
    let level = wanted.as_str().to_lowercase();
    let audit = Audit {
        actor: identity.name.to_string(),
        address: identity.peer,
        action: "log_level.set".into(),
        subject: level.clone(),
        details: "{}".into(),
    };
    if let Err(error) = state.manager.store().note(audit).await {
        log::warn!(user = &*identity.name, level = level.as_str(), error:%; "The log level was changed, and the audit can't tell.");
    }
    Ok(show().await)
}

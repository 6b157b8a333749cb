//! `store:`

use std::path::PathBuf;

use super::{Context, secret};
use crate::config::model::Store;
use crate::config::problem::At;
use crate::config::raw::server as raw;
use crate::config::secret::Secret;

/// Shortest master key: what `openssl rand -base64 24` makes.
const MIN_MASTER_KEY: usize = 32;

pub(crate) fn store(raw: &raw::Store, at: &At<'_>, context: &Context<'_>) -> Store {
    check_url(&raw.url.0, &at.field("url"));
    let master_at = at.field("master_key");
    let written =
        raw.master_key.as_ref().and_then(|key| secret::resolve(key, &master_at, context)).filter(|key| !key.is_empty());
    let variable = |name| context.env.variable(name).filter(|text| !text.is_empty());
    let master_key = written.or_else(|| variable("KEYWEIR_MASTER_KEY"));
    let previous = variable("KEYWEIR_MASTER_KEY_PREVIOUS");
    if master_key.iter().chain(&previous).any(|key| key.len() < MIN_MASTER_KEY) {
        master_at.error("shorter than 32 characters; make one with `openssl rand -base64 32`");
    }
    Store {
        url: Secret::new(raw.url.0.clone()),
        directory: context.env.variable("STATE_DIRECTORY").map(PathBuf::from).unwrap_or_default(),
        request_log: raw.request_log,
        request_body: raw.request_body,
        retention: raw.retention.0,
        max_size: raw.max_size.0,
        master_key: master_key.map(Secret::new),
        previous_master_key: previous.map(Secret::new),
    }
}

fn check_url(url: &str, at: &At<'_>) {
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    match scheme {
        "sqlite" if rest.starts_with(":memory:") => at.error("would forget everything; name a file, e.g. sqlite://keyweir.db"),
        "sqlite" | "mysql" | "mariadb" | "postgres" | "postgresql" if !rest.is_empty() => {}
        _ => at.error(
            "not a database's URL; write sqlite://FILE, mysql://USER:PASSWORD@HOST/DATABASE or postgres://USER:PASSWORD@HOST/DATABASE",
        ),
    }
}

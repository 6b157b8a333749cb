//! The admin router: which path is answered by whom, and what it must pass first.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Html;
use axum::routing::{get, post};
use http::StatusCode;

use super::problem::Problem;
use super::reload::{Last, Reload};
use super::{api, guard, health, legacy};
use crate::config::TokenDigest;
use crate::health::Checker;
use crate::keypool::KeyPool;
use crate::telemetry::{KeyChance, PoolSnapshot, Readiness, Snapshots, TokenSnapshots};

/// By what requests to the operators' listeners are judged; swapped by a reload.
#[derive(Debug, Clone)]
pub struct Access {
    /// Digest of the admin token.
    pub token: TokenDigest,
    /// Names besides `localhost` and IP literals that `Host` may carry.
    pub hosts: Vec<String>,
    /// Digest of the token a scraper must send; `None` = open.
    pub metrics_token: Option<TokenDigest>,
}

/// Tells why each key of a pool would or would not be handed out for a model; `None` if there is no such pool.
pub type Explain = Arc<dyn Fn(&str, &str) -> Option<Vec<KeyChance>> + Send + Sync>;

/// What the admin listener shows and does.
pub struct AdminState {
    /// The pools.
    pub snapshots: Snapshots,
    /// What operators change.
    pub keypool: Arc<KeyPool>,
    /// Answers `GET /api/v1/explain`.
    pub explain: Explain,
    /// Tests proxies.
    pub egress: Arc<Checker>,
    /// The client tokens.
    pub tokens: TokenSnapshots,
    /// Answers `/readyz`.
    pub readiness: Arc<Readiness>,
    /// Who may come in.
    pub access: Arc<ArcSwap<Access>>,
    /// What `POST /api/v1/reload` and `/reload-keys` do.
    pub reload: Reload,
    /// The last reload, whoever asked for it.
    pub last_reload: Arc<ArcSwap<Last>>,
}

impl AdminState {
    /// The pool called `name`, or the default one where none is named.
    pub(super) fn pool(&self, name: Option<&str>) -> Result<PoolSnapshot, Problem> {
        let mut pools = (self.snapshots)();
        let index = match name {
            Some(name) => pools.iter().position(|pool| pool.pool == name),
            None => pools.iter().position(|pool| pool.is_default),
        };
        match (index, name) {
            (Some(index), _) => Ok(pools.swap_remove(index)),
            (None, Some(name)) => Err(Problem::not_found(format!("there is no pool {name:?}"))),
            (None, None) => Err(Problem::not_found("there is no default pool: name one with ?pool=")),
        }
    }
}

/// The admin listener's routes.
pub fn router(state: AdminState) -> Router {
    let state = Arc::new(state);
    let open = Router::new()
        .route("/", get(front_page))
        .route("/livez", get(health::live))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/health", get(legacy::health))
        .route("/info", get(legacy::info));
    let protected = Router::new()
        .route("/stats", get(legacy::stats))
        .route("/balance", get(legacy::balance))
        .route("/blacklist", get(legacy::blacklist))
        .route("/reload-keys", post(legacy::reload_keys))
        .route("/reset-keys", get(legacy::reset_keys).post(legacy::reset_keys))
        .nest("/api/v1", api::router())
        .layer(from_fn_with_state(Arc::clone(&state), guard::check_token));
    open.merge(protected)
        .fallback(async || Problem::not_found("there is nothing at this path"))
        .method_not_allowed_fallback(async || {
            let detail = "this path takes another method, see Allow";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        })
        .layer(from_fn_with_state(Arc::clone(&state), guard::check_host))
        .layer(from_fn(guard::harden))
        .with_state(state)
}

async fn front_page() -> Html<&'static str> {
    Html(concat!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>keyweir</title>\n",
        "<h1>keyweir ",
        env!("CARGO_PKG_VERSION"),
        "</h1>\n",
        "<p>This is the admin listener. The console comes in a later version; until then there are:</p>\n",
        "<ul>\n<li><a href=\"/livez\">/livez</a>, <a href=\"/readyz?verbose\">/readyz</a>, ",
        "<a href=\"/health\">/health</a>, <a href=\"/info\">/info</a>\n",
        "<li>with the admin token as bearer: /stats, /blacklist, /balance, /api/v1/pools, ",
        "/api/v1/pools/NAME/keys, POST /api/v1/reload\n</ul>\n"
    ))
}

#[cfg(test)]
mod tests;

//! The admin router: what it is made of and what every request passes first.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{from_fn, from_fn_with_state};
use http::StatusCode;

use super::identity::{self, User};
use super::problem::Problem;
use super::routes::{Need, Route, get, group};
use super::session::Sessions;
use super::throttle::Throttle;
use super::{api, console, guard, health, legacy};
use crate::config::{Role, TokenDigest};
use crate::health::{Balances, Checker, Prober};
use crate::keypool::KeyPool;
use crate::manage::{Manager, no_pool};
use crate::telemetry::{KeyChance, PoolSnapshot, Readiness, Snapshots, TokenSnapshots};

/// Where the API begins.
const API: &str = "/api/v1";
/// Largest body of a request (bytes): a hundred thousand ids.
const BODY_MAX: usize = 16 * 1024 * 1024;

/// By what requests to the operators' listeners are judged; swapped by a reload.
#[derive(Debug, Clone)]
pub struct Access {
    /// Who may come in, the holder of the admin token among them.
    pub users: Vec<User>,
    /// Names besides `localhost` and IP literals that `Host` may carry.
    pub hosts: Vec<String>,
    /// Digest of the token a scraper must send; `None` = open.
    pub metrics_token: Option<TokenDigest>,
}

impl Access {
    /// Whether this is an operator's token.
    pub fn is_token(&self, word: &[u8]) -> bool {
        self.user(&TokenDigest::of(word)).is_some()
    }
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
    /// Asks what keys have left.
    pub balances: Arc<Balances>,
    /// Tests keys.
    pub prober: Arc<Prober>,
    /// The client tokens.
    pub tokens: TokenSnapshots,
    /// Answers `/readyz`.
    pub readiness: Arc<Readiness>,
    /// Who may come in.
    pub access: Arc<ArcSwap<Access>>,
    /// What operators change.
    pub manager: Arc<Manager>,
    /// Who came in by the console.
    pub sessions: Sessions,
    /// Who tried in vain.
    pub throttle: Throttle,
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
            (None, Some(name)) => Err(no_pool(name).into()),
            (None, None) => Err(Problem::not_found("there is no default pool: name one with ?pool=")),
        }
    }
}

/// The admin listener's route table.
pub fn routes() -> Vec<Route> {
    let console = group(
        "Console",
        [
            get("/", Need::Nothing, "The console", console::page),
            get("/console", Need::Nothing, "The console", console::page),
            get("/console/", Need::Nothing, "The console", console::page),
            get("/console/{*file}", Need::Nothing, "A file of the console, or one of its pages", console::below),
        ],
    );
    let health = group(
        "Health",
        [
            get("/livez", Need::Nothing, "Tells that the process answers", health::live),
            get("/healthz", Need::Nothing, "The same", health::live),
            get("/readyz", Need::Nothing, "Tells whether it should be given requests", health::ready),
        ],
    );
    let mut routes: Vec<Route> = console.chain(health).chain(legacy::routes()).collect();
    routes.extend(api::routes().into_iter().map(|route| route.under(API)));
    routes
}

/// Puts routes up, each behind what it needs.
pub(super) fn mount(routes: impl IntoIterator<Item = Route>, state: &Arc<AdminState>) -> Router<Arc<AdminState>> {
    routes.into_iter().fold(Router::new(), |router, route| {
        let gate = from_fn_with_state((Arc::clone(state), route.need), guard::authorize);
        router.route(&route.path, route.handler.route_layer(gate))
    })
}

/// Serves the admin listener's routes.
pub fn router(state: impl Into<Arc<AdminState>>) -> Router {
    let state: Arc<AdminState> = state.into();
    mount(routes(), &state)
        .fallback(missing)
        .method_not_allowed_fallback(async || {
            let detail = "this path takes another method, see Allow";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn_with_state(Arc::clone(&state), guard::check_host))
        .layer(from_fn(guard::harden))
        .with_state(state)
}

/// Nothing is here; which paths of the API exist is told only to those who may use it.
async fn missing(State(state): State<Arc<AdminState>>, request: Request) -> Problem {
    let is_api = request.uri().path().starts_with(API);
    let need = if is_api { Need::Role(Role::Viewer) } else { Need::Nothing };
    match identity::admit(&state, need, &request) {
        Ok(_) => Problem::not_found("this version has nothing at this path"),
        Err(problem) => problem,
    }
}

#[cfg(test)]
mod tests;

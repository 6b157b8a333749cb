//! The admin router: what it is made of and what every request passes first.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{from_fn, from_fn_with_state};
use http::StatusCode;

use super::identity::{self, User};
use super::problem::Problem;
use super::routes::{Need, Route, get};
use super::session::Sessions;
use super::throttle::Throttle;
use super::{api, console, guard, health, legacy};
use crate::config::{Role, TokenDigest};
use crate::health::{Checker, Prober};
use crate::keypool::KeyPool;
use crate::manage::Manager;
use crate::telemetry::{KeyChance, PoolSnapshot, Readiness, Snapshots, TokenSnapshots};

/// Where the API begins.
const API: &str = "/api/v1";

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
            (None, Some(name)) => Err(Problem::not_found(format!("there is no pool {name:?}"))),
            (None, None) => Err(Problem::not_found("there is no default pool: name one with ?pool=")),
        }
    }
}

/// The admin listener's route table.
pub fn routes() -> Vec<Route> {
    let mut routes = vec![
        get("/", Need::Nothing, console::page),
        get("/console", Need::Nothing, console::page),
        get("/console/", Need::Nothing, console::page),
        get("/console/{*file}", Need::Nothing, console::below),
        get("/livez", Need::Nothing, health::live),
        get("/healthz", Need::Nothing, health::live),
        get("/readyz", Need::Nothing, health::ready),
    ];
    routes.extend(legacy::routes());
    routes.extend(api::routes().into_iter().map(|route| route.under(API)));
    routes
}

/// Serves the admin listener's routes.
pub fn router(state: impl Into<Arc<AdminState>>) -> Router {
    let state: Arc<AdminState> = state.into();
    let gate = |need| from_fn_with_state((Arc::clone(&state), need), guard::authorize);
    let add = |router: Router<_>, route: Route| router.route(&route.path, route.handler.route_layer(gate(route.need)));
    routes()
        .into_iter()
        .fold(Router::new(), add)
        .fallback(missing)
        .method_not_allowed_fallback(async || {
            let detail = "this path takes another method, see Allow";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        })
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

//! `/api/v1`: what is at which path, and what its handlers share.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::identity::Identity;
use super::problem::Problem;
use super::router::AdminState;
use super::routes::{Need, Route, delete, get, group, patch, post, put};
use super::{
    about, audit, bulk, egress, events, explain, export, failures, import, key_tests, keys, log_level, logs, new_keys,
    openapi, pools, reload, schedule, session, settings, stats, tokens, verdict,
};
use crate::background;
use crate::config::Role::{Admin, Operator, Viewer};
use crate::manage::{Actor, Manager};

/// Largest body of a login (bytes): whoever sends it has shown nothing yet.
const LOGIN_MAX: usize = 4096;
/// Keys of one lot where there are many: each lot is committed by itself.
pub(super) const LOT: usize = 10_000;

/// The routes, without `/api/v1`.
pub(super) fn routes() -> Vec<Route> {
    let session = group(
        "Session",
        [
            get("/session", Viewer, "Tells who the caller is", session::show_own),
            post("/session", Need::Nothing, "Opens a session for an operator's token", session::login)
                .limited(LOGIN_MAX),
            delete("/session", Viewer, "Ends the session", session::logout),
        ],
    );
    let pools = group(
        "Pools",
        [
            get("/pools", Viewer, "Lists the pools", pools::list),
            post("/pools", Admin, "Adds a pool", pools::add),
            get("/pools/{pool}", Viewer, "Shows a pool", pools::one),
            patch("/pools/{pool}", Admin, "Changes a pool's settings", pools::set),
            delete("/pools/{pool}", Admin, "Removes a pool that was added at run time", pools::remove),
            // Errors may quote what somebody wrote.
            get("/pools/{pool}/failures", Operator, "Lists the pool's last failures, newest first", failures::list),
            get("/explain", Viewer, "Tells why each key would or would not be picked now", explain::explain),
            post("/verdict", Operator, "Tries an answer, or other rules on the last failures", verdict::verdict),
        ],
    );
    let settings = group(
        "Settings",
        [
            get("/settings", Viewer, "Shows the server's settings with their origins", settings::of_server),
            put("/settings", Admin, "Changes the server's settings", settings::set_of_server),
            get("/pools/{pool}/settings", Viewer, "Shows a pool's settings with their origins", settings::of_pool),
            put("/pools/{pool}/settings", Admin, "Changes a pool's settings", settings::set_of_pool),
            get("/server", Viewer, "Tells where clients reach the proxy", about::server),
            get("/schedule", Viewer, "Tells when a cron line or an interval would run", schedule::runs),
            get("/providers", Viewer, "Lists the providers a pool can name", about::providers),
            get("/log-level", Viewer, "Tells how talkative the log is", log_level::show),
            put("/log-level", Admin, "Sets it until the configuration changes, or a restart", log_level::set),
            get("/reload", Viewer, "Tells how the last reload went", reload::last),
            post("/reload", Operator, "Reads the files again", reload::reload),
            post(
                "/master-key/rotate",
                Admin,
                "Seals everything in the store with a new master key",
                keys::rotate_master,
            ),
        ],
    );
    let keys = group(
        "Keys",
        [
            get("/pools/{pool}/keys", Viewer, "Lists a pool's keys", keys::list),
            post("/pools/{pool}/keys", Admin, "Adds one key or several", new_keys::add),
            post("/pools/{pool}/keys/bulk", Operator, "Does something to many keys", bulk::bulk),
            post("/pools/{pool}/keys/import", Admin, "Adds keys written in any format", import::import),
            get("/pools/{pool}/keys/export", Need::Token(Admin), "Exports the keys with their texts", export::all),
            post(
                "/pools/{pool}/keys/export",
                Admin,
                "Exports the keys, or some of them, with their texts, also by session",
                export::selected,
            ),
            get("/keys/{key}", Viewer, "Shows a key", keys::one),
            patch("/keys/{key}", Admin, "Changes what is said of a key", keys::update),
            delete("/keys/{key}", Admin, "Removes a key that was added at run time", keys::remove),
            post("/keys/{key}/test", Operator, "Asks the provider whether a key works", key_tests::one),
            post("/keys/{key}/restore", Admin, "Brings a key back that was removed within 7 days", keys::restore),
            post("/keys/{key}/{action}", Operator, "Enables, disables or resets a key", keys::act),
        ],
    );
    let egress = group(
        "Egress",
        [
            get("/egress", Viewer, "Lists the proxies and how they do", egress::list),
            post("/egress/test", Operator, "Checks proxies now", egress::test),
        ],
    );
    let observed = group(
        "Observation",
        [
            get("/stats", Viewer, "Tells how it goes now", stats::overview),
            get("/stats/series", Viewer, "Tells how it went, by the hour or day", stats::series),
            get("/logs", Viewer, "Lists logged requests, newest first, or gives all as a file", logs::list),
            get("/logs/{request_id}", Viewer, "Shows a logged request", logs::one),
            get("/audit", Viewer, "Lists who changed what, newest first", audit::list),
            get("/events", Viewer, "Tells what happens, as server-sent events", events::listen),
            get("/openapi.json", Viewer, "This document", openapi::show),
        ],
    );
    let tokens = group(
        "Client tokens",
        [
            get("/tokens", Viewer, "Lists the client tokens", tokens::list),
            post("/tokens", Admin, "Adds a client token, whose text is told this once", tokens::add),
            patch("/tokens/{token}", Admin, "Changes what a client token may do", tokens::update),
            delete("/tokens/{token}", Admin, "Revokes a client token", tokens::revoke),
        ],
    );
    session.chain(pools).chain(settings).chain(keys).chain(egress).chain(observed).chain(tokens).collect()
}

/// A page of a list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// Items per page, at most 1000; 100 if not given.
    pub(super) limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<usize>,
}

/// An operator's change, in a thread that may wait for the store.
pub(super) async fn change<T: Send + 'static, E: Into<Problem> + Send + 'static>(
    state: Arc<AdminState>,
    identity: Identity,
    act: impl FnOnce(&Manager, &Actor) -> Result<T, E> + Send + 'static,
) -> Result<T, Problem> {
    let (manager, actor) = (state.manager.clone(), identity.actor());
    let done = background::run(move || act(&manager, &actor)).await;
    done.map_err(|_| Problem::internal())?.map_err(Into::into)
}

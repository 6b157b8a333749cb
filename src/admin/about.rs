//! `/api/v1/server` and `/api/v1/providers`: where clients reach the proxy, and which providers it knows. What somebody
//! who begins has to be told.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::router::AdminState;
use crate::config::Address;
use crate::verdict::pack::{self, PACKS};

/// This server.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct About {
    version: &'static str,
    /// The pool that paths without one's name belong to.
    default_pool: Option<String>,
    /// Whether the proxy answers without a client token.
    anonymous: bool,
    /// Where the proxy listens.
    proxy: Vec<Place>,
}

/// One listener of the proxy's.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Place {
    /// An IP address; of all addresses of the machine it is `0.0.0.0` or `::`.
    address: String,
    port: u16,
    tls: bool,
}

pub(super) async fn server(State(state): State<Arc<AdminState>>) -> Json<About> {
    let manager = &state.manager;
    let config = manager.live().config.load();
    let places = config.server.proxy.listen.iter().filter_map(|listen| match &listen.address {
        Address::Tcp(at) => Some(Place { address: at.ip().to_string(), port: at.port(), tls: listen.tls.is_some() }),
        // No client gets there by an address one could copy.
        Address::Unix(_) => None,
    });
    Json(About {
        version: env!("CARGO_PKG_VERSION"),
        default_pool: manager.default_pool(),
        anonymous: config.clients.anonymous,
        proxy: places.collect(),
    })
}

/// All providers a pool can name.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Providers {
    items: Vec<Provider>,
}

/// One of them.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Provider {
    name: &'static str,
    /// Where it lives; the first is used where the pool names no target. None = the pool must name one.
    base_urls: &'static [String],
    /// A key can be tested without spending anything.
    probe: bool,
    /// It tells a key's balance.
    balance: bool,
}

pub(super) async fn providers() -> Json<Providers> {
    let show = |pack: &'static Arc<pack::Pack>| Provider {
        name: &pack.name,
        base_urls: &pack.base_urls,
        probe: pack.probe.is_some(),
        balance: pack.balance.is_some(),
    };
    Json(Providers { items: PACKS.iter().map(show).collect() })
}

//! The configuration as the data path reads it: one immutable snapshot, loaded once per request.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;

use crate::config::{ClientToken, Config, Cors, Limits, TokenDigest};
use crate::keypool::Entry;
use crate::upstream::Targets;
use crate::upstream::target::TargetError;

use super::route::{PathTable, RouteFilter};

/// A snapshot of everything a request is judged by.
pub struct Edge {
    pub(super) pools: Vec<EdgePool>,
    pub(super) paths: PathTable,
    pub(super) clients: HashMap<TokenDigest, Arc<Client>>,
    pub(super) anonymous: bool,
    pub(super) limits: Limits,
    pub(super) cors: Cors,
    pub(super) trusted_proxies: Vec<ipnet::IpNet>,
}

/// One pool, with what only the data path needs.
pub(super) struct EdgePool {
    pub(super) entry: Arc<Entry>,
    /// The pool's name, ready for an answer's head.
    pub(super) name: HeaderValue,
    pub(super) targets: Targets,
    pub(super) routes: RouteFilter,
}

/// Whoever holds a client token.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: String,
    pub(super) reveal_key: bool,
}

impl Edge {
    /// Builds the snapshot for these pools of `config`. `extra` are tokens that are not in the file.
    ///
    /// # Errors
    /// If a target can't be used.
    pub fn new(config: &Config, entries: &[Arc<Entry>], extra: &[ClientToken]) -> Result<Self, TargetError> {
        let pools = entries
            .iter()
            .map(|entry| {
                let targets = Targets::new(&entry.config)?;
                // A pool's name is a valid header value by its syntax.
                let name = HeaderValue::from_str(&entry.config.name).unwrap_or(HeaderValue::from_static(""));
                Ok(EdgePool { entry: entry.clone(), name, targets, routes: RouteFilter::new(&entry.config.routes) })
            })
            .collect::<Result<Vec<_>, TargetError>>()?;
        let client = |token: &ClientToken| {
            let client = Client { name: token.name.clone(), reveal_key: token.reveal_key };
            (token.token.digest(), Arc::new(client))
        };
        Ok(Self {
            paths: PathTable::new(&config.pools, config.default_pool),
            pools,
            clients: config.clients.tokens.iter().chain(extra).map(client).collect(),
            anonymous: config.clients.anonymous,
            limits: config.server.limits.clone(),
            cors: config.server.proxy.cors.clone(),
            trusted_proxies: config.server.proxy.trusted_proxies.clone(),
        })
    }
}

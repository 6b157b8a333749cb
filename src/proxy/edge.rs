//! The configuration as the data path reads it: one immutable snapshot, loaded once per request.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderValue;

use crate::clients::{Clients, Spent};
use crate::config::{ClientToken, Config, Cors, KeyId, Limits, RequestLog};
use crate::keypool::Entry;
use crate::telemetry::{PoolSnapshot, TokenSnapshot};
use crate::upstream::Targets;
use crate::upstream::target::TargetError;

use super::catalog::Catalog;
use super::route::{PathTable, RouteFilter};

/// A snapshot of everything a request is judged by.
pub struct Edge {
    pub(super) pools: Vec<EdgePool>,
    pub(super) paths: PathTable,
    pub(super) clients: Clients,
    pub(super) anonymous: bool,
    pub(super) limits: Limits,
    pub(super) cors: Cors,
    pub(super) trusted_proxies: Vec<ipnet::IpNet>,
    /// The older balancers' endpoints are open here too.
    pub(super) status_endpoints: bool,
    /// Which requests leave a row in the request log, and whether with their bodies.
    pub(super) request_log: RequestLog,
    pub(super) keeps_bodies: bool,
}

/// One pool, with what only the data path needs.
pub(super) struct EdgePool {
    pub(super) entry: Arc<Entry>,
    /// The pool's name, ready for an answer's head.
    pub(super) name: HeaderValue,
    pub(super) targets: Arc<Targets>,
    pub(super) routes: RouteFilter,
    /// Stands in for the key of requests that got none.
    pub(super) no_key: KeyId,
    pub(super) catalog: Arc<Catalog>,
}

impl Edge {
    /// Builds the snapshot for these pools of `config`. `extra` are tokens that are not in the file. What was counted of
    /// the clients of the snapshot `before` goes on being counted.
    ///
    /// # Errors
    /// If a target can't be used.
    pub fn new(
        config: &Config,
        entries: &[Arc<Entry>],
        extra: &[ClientToken],
        before: Option<&Self>,
    ) -> Result<Self, TargetError> {
        let pools = entries
            .iter()
            .map(|entry| {
                let known = before.and_then(|before| before.pool(&entry.config.name));
                let targets = Targets::new(&entry.config, known.map(|pool| &*pool.targets)).map(Arc::new)?;
                // A pool's name is a valid header value by its syntax.
                let name = HeaderValue::from_str(&entry.config.name).unwrap_or(HeaderValue::from_static(""));
                let routes = RouteFilter::new(&entry.config.routes);
                let no_key = KeyId::of(&entry.config.name, "");
                let catalog = before.and_then(|before| before.catalog_of(entry)).unwrap_or_default();
                Ok(EdgePool { entry: entry.clone(), name, targets, routes, no_key, catalog })
            })
            .collect::<Result<Vec<_>, TargetError>>()?;
        let tokens = config.clients.tokens.iter().chain(extra);
        Ok(Self {
            paths: PathTable::new(&config.pools, config.default_pool),
            pools,
            clients: Clients::new(tokens, before.map(|before| &before.clients)),
            anonymous: config.clients.anonymous,
            limits: config.server.limits.clone(),
            cors: config.server.proxy.cors.clone(),
            trusted_proxies: config.server.proxy.trusted_proxies.clone(),
            status_endpoints: config.server.proxy.status_endpoints,
            request_log: config.store.request_log,
            keeps_bodies: config.store.request_body,
        })
    }

    fn pool(&self, name: &str) -> Option<&EdgePool> {
        self.pools.iter().find(|pool| pool.entry.config.name == name)
    }

    /// The pools and their targets, for those who look after them.
    pub fn targets(&self) -> impl Iterator<Item = (&Arc<Entry>, &Arc<Targets>)> {
        self.pools.iter().map(|pool| (&pool.entry, &pool.targets))
    }

    /// The same of one pool.
    pub fn targets_of(&self, pool: &str) -> Option<(&Arc<Entry>, &Arc<Targets>)> {
        self.pool(pool).map(|pool| (&pool.entry, &pool.targets))
    }

    /// Adds to what is known of pools how their targets do.
    pub fn with_targets(&self, mut pools: Vec<PoolSnapshot>) -> Vec<PoolSnapshot> {
        for snapshot in &mut pools {
            snapshot.targets = self.pool(&snapshot.pool).map(|pool| pool.targets.snapshot()).unwrap_or_default();
        }
        pools
    }

    /// Whether this is a client's token.
    pub fn is_token(&self, word: &[u8]) -> bool {
        self.clients.find(word).is_some()
    }

    /// What a pool listed, as long as the same would be asked again.
    fn catalog_of(&self, entry: &Entry) -> Option<Arc<Catalog>> {
        let pool = self.pools.iter().find(|pool| pool.entry.config.name == entry.config.name)?;
        let (before, now) = (&pool.entry.config, &entry.config);
        let is_same = Arc::ptr_eq(&before.provider, &now.provider)
            && before.targets == now.targets
            && before.headers == now.headers
            && before.models.list_key == now.models.list_key;
        is_same.then(|| pool.catalog.clone())
    }

    /// At least so much was spent by the client token of that name.
    pub fn has_spent(&self, name: &str, before: Spent, now: SystemTime) {
        self.clients.has_spent(name, before, now);
    }

    /// What operators may see of every client token.
    pub fn tokens(&self) -> Vec<TokenSnapshot> {
        self.clients.snapshots(SystemTime::now())
    }
}

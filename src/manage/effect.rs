//! Putting a picture into effect: everything that can fail first, then everything that can't.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arc_swap::ArcSwap;

use super::certificates::Certificates;
use super::change::{KeyIds, restart_required};
use super::error::StartError;
use super::first_run::Tokens;
use super::reload::Report;
use super::{Live, Manager};
use crate::admin::{Access, User};
use crate::config::{Config, Loaded, Role, Secret};
use crate::keypool::{Entry, KeyPool};
use crate::proxy::Edge;
use crate::telemetry::access_log::Destination;
use crate::telemetry::{AccessLog, logger};
use crate::upstream::dns;

/// A picture that can be put into effect.
pub(super) struct Prepared {
    config: Config,
    entries: Vec<Arc<Entry>>,
    edge: Edge,
    access_log: Destination,
    access: Access,
    warnings: Vec<String>,
    before: KeyIds,
    after: KeyIds,
}

/// What the server's parts look at when it starts.
pub(super) fn first(loaded: &Loaded, tokens: &Tokens) -> Result<Live, StartError> {
    let config = &loaded.config;
    let keypool = Arc::new(KeyPool::default());
    let entries = keypool.prepare(config, loaded.keys.clone());
    let edge = Edge::new(config, &entries, &tokens.clients, None)?;
    let access_log = AccessLog::open(&config.log).map_err(StartError::AccessLog)?;
    dns::configure(&config.server);
    keypool.put_in_place(entries);
    Ok(Live {
        config: Arc::new(ArcSwap::from_pointee(config.clone())),
        keypool,
        edge: Arc::new(ArcSwap::from_pointee(edge)),
        access: Arc::new(ArcSwap::from_pointee(access(config, tokens))),
        access_log: Arc::new(access_log),
        records: Arc::default(),
        certificates: Arc::new(Certificates::of(config)),
    })
}

impl Manager {
    /// Whatever can fail about a change.
    pub(super) fn prepare(&self, loaded: Loaded, tokens: &Tokens) -> Result<Prepared, String> {
        let Loaded { config, keys, warnings, .. } = loaded;
        let live = &self.live;
        let entries = live.keypool.prepare(&config, keys);
        let edge = Edge::new(&config, &entries, &tokens.clients, Some(&live.edge.load())).map_err(|e| e.to_string())?;
        let access_log = live.access_log.prepare(&config.log).map_err(|error| format!("log.access: {error}"))?;
        Ok(Prepared {
            access: access(&config, tokens),
            before: KeyIds::of(&live.keypool.entries()),
            after: KeyIds::of(&entries),
            warnings: warnings.iter().map(ToString::to_string).collect(),
            config,
            entries,
            edge,
            access_log,
        })
    }

    /// From here on nothing fails.
    pub(super) fn put_in_effect(&self, prepared: Prepared) -> Report {
        let Prepared { config, entries, edge, access_log, access, warnings, before, after } = prepared;
        let live = &self.live;
        dns::configure(&config.server);
        let replaced = live.keypool.entries();
        live.keypool.put_in_place(entries);
        // Their last marks, on keys that are gone now.
        self.journal_marks(&replaced);
        live.edge.store(Arc::new(edge));
        live.access.store(Arc::new(access));
        live.certificates.replace(&config);
        logger::set(&config.log);
        live.access_log.switch(access_log);
        self.store.set_limits(&config.store);
        let report = Report {
            pools: after.changes(&before),
            warnings,
            restart_required: restart_required(&self.started, &config),
        };
        live.config.store(Arc::new(config));
        if after.differ_from(&before) {
            self.keys_changed.store(true, Relaxed);
            self.welcome(&after.added_since(&before));
        }
        self.restore_use();
        report
    }
}

impl Prepared {
    /// A pool that would lose all its keys.
    pub(super) fn emptied_pool(&self) -> Option<&str> {
        self.after.emptied_since(&self.before)
    }
}

/// Who may use the operators' listeners.
fn access(config: &Config, tokens: &Tokens) -> Access {
    let user = |name: &str, role, token| User { name: name.into(), role, token };
    let users = config.server.admin.users.iter().map(|known| user(&known.name, known.role, known.token.digest()));
    Access {
        users: std::iter::once(user("admin", Role::Admin, tokens.admin)).chain(users).collect(),
        hosts: config.server.admin.hosts.clone(),
        metrics_token: config.server.metrics.token.as_ref().map(Secret::digest),
    }
}

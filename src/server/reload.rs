//! Reloading: on SIGHUP and at the operator's request.
//!
//! Everything is read and validated first and swapped in one step afterwards. A mistake in any file changes nothing and
//! is told in the log, in the metrics and to whoever asked.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{SignalKind, signal};

use super::{Shared, Tokens};
use crate::config::{self, Config, Keys};
use crate::keypool::KeyPool;
use crate::proxy::Edge;
use crate::telemetry::{AccessLog, logger, metrics};

/// Reads the files again and puts what they say into effect.
pub(super) struct Reloader {
    path: Option<PathBuf>,
    /// The configuration in effect. Held during a reload, so that two don't interleave.
    config: Mutex<Config>,
    keypool: Arc<KeyPool>,
    edge: Arc<ArcSwap<Edge>>,
    access_log: Arc<AccessLog>,
    tokens: Tokens,
}

impl Reloader {
    pub(super) fn new(path: Option<PathBuf>, config: Config, shared: &Shared) -> Self {
        Self {
            path,
            config: Mutex::new(config),
            keypool: shared.keypool.clone(),
            edge: shared.edge.clone(),
            access_log: shared.access_log.clone(),
            tokens: shared.tokens.clone(),
        }
    }

    /// Name of the pool that owns unprefixed paths.
    pub(super) fn default_pool(&self) -> Option<String> {
        let config = self.config.lock();
        config.pools.get(config.default_pool?).map(|pool| pool.name.clone())
    }

    /// Reloads configuration and keys.
    ///
    /// # Errors
    /// What is wrong with the files, a mistake a line. Nothing was changed then.
    pub(super) fn reload(&self) -> Result<String, String> {
        let outcome = self.try_reload();
        metrics::config_reloaded(outcome.is_ok());
        match &outcome {
            Ok(summary) => log::info!("Reloaded: {summary}"),
            Err(problems) => log::error!("The reload was refused and changed nothing: {problems}"),
        }
        outcome
    }

    fn try_reload(&self) -> Result<String, String> {
        let path = self.path.as_ref().ok_or("this server runs without a configuration file")?;
        let mut current = self.config.lock();
        let loaded = config::load(path).map_err(|problems| problems.to_string())?;
        for warning in &loaded.warnings {
            log::warn!("{warning}");
        }
        self.refuse_emptied_pools(&loaded.config, &loaded.keys)?;
        let entries = self.keypool.prepare(&loaded.config, loaded.keys);
        let edge = Edge::new(&loaded.config, &entries, &self.tokens.clients, Some(&self.edge.load()))
            .map_err(|error| error.to_string())?;
        let change = self.keypool.put_in_place(entries);
        self.edge.store(Arc::new(edge));
        logger::set_level(loaded.config.log.level);
        self.access_log.reopen();
        let restart = restart_required(&current, &loaded.config);
        *current = loaded.config;
        let summary = format!("{} keys, {} added, {} removed", change.keys, change.added, change.removed);
        if restart.is_empty() {
            return Ok(summary);
        }
        Ok(format!("{summary}; restart required for {}", restart.join(", ")))
    }

    /// A keys file that was truncated by accident must not take the service down.
    fn refuse_emptied_pools(&self, config: &Config, keys: &Keys) -> Result<(), String> {
        for entry in self.keypool.entries().iter() {
            let name = &entry.config.name;
            let after = config.pools.iter().position(|pool| pool.name == *name).and_then(|index| keys.get(index));
            if after.is_some_and(Vec::is_empty) && !entry.pool.keys().is_empty() {
                return Err(format!("pool {name} would lose all its keys; remove the pool or restart to do that"));
            }
        }
        Ok(())
    }
}

/// Settings that changed but take effect only at a restart.
fn restart_required(before: &Config, after: &Config) -> Vec<&'static str> {
    let (before, after) = (&before.server, &after.server);
    let changed = [
        ("server.proxy.listen", before.proxy.listen != after.proxy.listen),
        ("server.admin.listen", before.admin.listen != after.admin.listen),
        ("server.metrics.listen", before.metrics.listen != after.metrics.listen),
        ("server.threads", before.threads != after.threads),
    ];
    changed.into_iter().filter(|(_, is_changed)| *is_changed).map(|(name, _)| name).collect()
}

/// Reloads at every SIGHUP.
pub(super) struct Service(pub(super) Arc<Reloader>);

#[async_trait]
impl BackgroundService for Service {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => return log::error!("SIGHUP can't be watched: {error}"),
        };
        loop {
            tokio::select! {
                _ = shutdown.changed() => return,
                _ = hangups.recv() => {}
            }
            let reloader = self.0.clone();
            // Files of 100,000 keys take a while to read: not on a runtime thread. The outcome is logged there.
            let _outcome = tokio::task::spawn_blocking(move || reloader.reload()).await;
        }
    }
}

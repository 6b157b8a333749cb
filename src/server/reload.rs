//! Reloading: on SIGHUP, when a file changes, and at the operator's request.
//!
//! Everything is read and validated first and put into effect afterwards, by steps that can't fail. A mistake in any
//! file changes nothing and is told in the log, in the metrics, by the API and to whoever asked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::change::{KeyIds, restart_required};
use super::files::{self, Contents};
use super::tls::Certificates;
use super::{Shared, Tokens};
use crate::admin::Access;
use crate::admin::reload::{Last, Refusal, Report, Trigger};
use crate::config::{self, Config, Loaded, Problems, Secret};
use crate::keypool::KeyPool;
use crate::proxy::Edge;
use crate::telemetry::{AccessLog, logger, metrics};
use crate::upstream::dns;

/// Reads the files again and puts what they say into effect.
pub(super) struct Reloader {
    path: Option<PathBuf>,
    /// What the process was started with, as far as only a restart changes it.
    started: Config,
    read: Mutex<Read>,
    /// How the last reload went.
    pub(super) last: Arc<ArcSwap<Last>>,
    /// Told after each reload: other files may count now.
    pub(super) reloaded: Notify,
    config: Arc<ArcSwap<Config>>,
    keypool: Arc<KeyPool>,
    edge: Arc<ArcSwap<Edge>>,
    access: Arc<ArcSwap<Access>>,
    access_log: Arc<AccessLog>,
    certificates: Arc<Certificates>,
}

/// What was read last. Held during a reload, so that two don't interleave.
struct Read {
    /// The files, whether or not they were accepted.
    contents: Contents,
    /// The missing file that was complained about.
    missing: Option<PathBuf>,
}

impl Reloader {
    pub(super) fn new(path: Option<PathBuf>, shared: &Shared) -> Self {
        let config = shared.config.load_full();
        let keys = KeyIds::of(&shared.keypool.entries());
        let report = Report { pools: keys.changes(&KeyIds::default()), ..Report::default() };
        let last = Last { time: SystemTime::now(), trigger: Trigger::Start, outcome: Ok(report) };
        let files = path.as_ref().map(|path| files::of(path, &config)).unwrap_or_default();
        Self {
            path,
            started: Config::clone(&config),
            read: Mutex::new(Read { contents: files::read(files), missing: None }),
            last: Arc::new(ArcSwap::from_pointee(last)),
            reloaded: Notify::new(),
            config: shared.config.clone(),
            keypool: shared.keypool.clone(),
            edge: shared.edge.clone(),
            access: shared.access.clone(),
            access_log: shared.access_log.clone(),
            certificates: shared.certificates.clone(),
        }
    }

    /// Name of the pool that owns unprefixed paths.
    pub(super) fn default_pool(&self) -> Option<String> {
        let config = self.config.load();
        config.pools.get(config.default_pool?).map(|pool| pool.name.clone())
    }

    /// The files whose change is a reason to reload.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.read.lock().contents.keys().cloned().collect()
    }

    /// Reloads configuration and keys; `force` also where that takes a pool's last key.
    ///
    /// # Errors
    /// What is wrong with the files. Nothing was changed then.
    pub(super) fn reload(&self, trigger: Trigger, force: bool) -> Result<Report, Refusal> {
        let mut read = self.read.lock();
        let contents = files::read(read.contents.keys().cloned());
        self.reload_as(&mut read, contents, trigger, force)
    }

    /// Whether a file holds something else than when it was read last, and nobody said so yet.
    pub(super) fn is_outdated(&self) -> bool {
        let read = self.read.lock();
        read.missing.is_none() && files::read(read.contents.keys().cloned()) != read.contents
    }

    /// Reloads if a file holds something else than when it was read last.
    pub(super) fn reload_if_changed(&self) {
        let mut read = self.read.lock();
        let contents = files::read(read.contents.keys().cloned());
        if contents == read.contents {
            read.missing = None;
            return;
        }
        // A file that is being replaced is gone for a moment: its keys stay until it is back or somebody asks.
        let gone = contents.iter().find(|(path, now)| now.is_none() && read.contents[*path].is_some());
        if let Some((path, _)) = gone {
            if read.missing.as_ref() != Some(path) {
                let path = path.display();
                log::warn!("{path} is gone or can't be read; what it said holds until it is back or SIGHUP comes.");
            }
            read.missing = Some(path.clone());
            return;
        }
        // The outcome is logged, and kept in `last`.
        let _told = self.reload_as(&mut read, contents, Trigger::File, false);
    }

    fn reload_as(
        &self,
        read: &mut MutexGuard<'_, Read>,
        contents: Contents,
        trigger: Trigger,
        force: bool,
    ) -> Result<Report, Refusal> {
        // Without systemd there is nobody to tell.
        let _untold = sd_notify::notify(&[sd_notify::NotifyState::Reloading]);
        let (outcome, files) = self.read_and_apply(force);
        let _untold = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        read.contents = files::extend(&contents, files);
        read.missing = None;
        metrics::config_reloaded(outcome.is_ok());
        match &outcome {
            Ok(report) => {
                report.warnings.iter().for_each(|warning| log::warn!("{warning}"));
                log::info!("Reloaded: {report}");
            }
            Err(refusal) => log::error!("The reload was refused and changed nothing: {refusal}"),
        }
        self.last.store(Arc::new(Last { time: SystemTime::now(), trigger, outcome: outcome.clone() }));
        self.reloaded.notify_one();
        outcome
    }

    /// The outcome, and the files that count from now on: also those whose mistakes are to be mended.
    fn read_and_apply(&self, force: bool) -> (Result<Report, Refusal>, Vec<PathBuf>) {
        let Some(path) = &self.path else {
            return (Err(refusal("this server runs without a configuration file")), Vec::new());
        };
        let in_effect = || files::of(path, &self.config.load());
        match config::load(path) {
            Ok(loaded) => {
                let wanted = files::of(path, &loaded.config);
                let outcome = self.apply(loaded, force);
                (outcome, [wanted, in_effect()].concat())
            }
            Err(Problems(problems)) => {
                let wrong = problems.iter().map(|problem| PathBuf::from(&problem.file)).collect();
                let mistakes = problems.iter().map(ToString::to_string).collect();
                (Err(Refusal(mistakes)), [wrong, in_effect()].concat())
            }
        }
    }

    fn apply(&self, loaded: Loaded, force: bool) -> Result<Report, Refusal> {
        let Loaded { config, keys, warnings, .. } = loaded;
        let entries = self.keypool.prepare(&config, keys);
        let (before, after) = (KeyIds::of(&self.keypool.entries()), KeyIds::of(&entries));
        if let Some(pool) = after.emptied_since(&before).filter(|_| !force) {
            return Err(refusal(format!(
                "pool {pool} would lose all its keys; remove the pool, or force it: POST /api/v1/reload?force=true"
            )));
        }
        let tokens = Tokens::complete(&config).map_err(refusal)?;
        let edge = Edge::new(&config, &entries, &tokens.clients, Some(&self.edge.load())).map_err(refusal)?;
        let access_log =
            self.access_log.prepare(&config.log).map_err(|error| refusal(format!("log.access: {error}")))?;

        // From here on nothing fails.
        dns::use_name_servers(&config.server.dns);
        self.keypool.put_in_place(entries);
        self.edge.store(Arc::new(edge));
        self.access.store(Arc::new(access(&config, &tokens)));
        self.certificates.replace(&config);
        logger::set(&config.log);
        self.access_log.switch(access_log);
        let report = Report {
            pools: after.changes(&before),
            warnings: warnings.iter().map(ToString::to_string).collect(),
            restart_required: restart_required(&self.started, &config),
        };
        self.config.store(Arc::new(config));
        Ok(report)
    }
}

fn refusal(why: impl ToString) -> Refusal {
    Refusal(vec![why.to_string()])
}

/// Who may use the operators' listeners.
pub(super) fn access(config: &Config, tokens: &Tokens) -> Access {
    Access {
        token: tokens.admin,
        hosts: config.server.admin.hosts.clone(),
        metrics_token: config.server.metrics.token.as_ref().map(Secret::digest),
    }
}

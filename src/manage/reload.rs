//! Reloading: on SIGHUP, when a file changes, and at the operator's request.
//!
//! Everything is read and validated first and put into effect afterwards, by steps that can't fail. A mistake in any
//! file changes nothing and is told in the log, in the metrics, by the API and to whoever asked.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::files::{self, Contents};
use super::{Manager, Picture, Turn, first_run};
use crate::config::{self, Problems};
use crate::telemetry::{events, metrics};

/// What a reload changed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The pools there are, in the order of the configuration, then those that are gone.
    pub pools: Vec<PoolChange>,
    /// What is legal but probably not meant.
    pub warnings: Vec<String>,
    /// Settings that differ from those the process runs with, and wait for a restart.
    pub restart_required: Vec<String>,
}

/// What a reload changed about the keys of one pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PoolChange {
    /// The pool.
    pub name: String,
    /// Keys it has now.
    pub keys: usize,
    /// Those of them it did not have before.
    pub added: usize,
    /// Keys it has no longer.
    pub removed: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |count: fn(&PoolChange) -> usize| self.pools.iter().map(count).sum::<usize>();
        let (keys, added, removed) = (sum(|pool| pool.keys), sum(|pool| pool.added), sum(|pool| pool.removed));
        write!(f, "{keys} keys, {added} added, {removed} removed")?;
        if !self.restart_required.is_empty() {
            write!(f, "; restart required for {}", self.restart_required.join(", "))?;
        }
        Ok(())
    }
}

/// Why a reload changed nothing: every mistake, those in files as `file:line:column: path: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub Vec<String>);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// What made the files be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The process started.
    Start,
    /// SIGHUP.
    Signal,
    /// A file changed.
    File,
    /// An admin request.
    Api,
}

/// The last time the files were read.
#[derive(Debug, Clone)]
pub struct Last {
    /// When.
    pub time: SystemTime,
    /// Why.
    pub trigger: Trigger,
    /// How it went.
    pub outcome: Result<Report, Refusal>,
}

impl Manager {
    /// The files whose change is a reason to reload.
    pub fn files(&self) -> Vec<PathBuf> {
        self.turn_between_lots().known.contents.keys().cloned().collect()
    }

    /// Reloads configuration and keys; `force` also where that takes a pool's last key.
    ///
    /// # Errors
    /// What is wrong with the files. Nothing was changed then.
    pub fn reload(&self, trigger: Trigger, force: bool) -> Result<Report, Refusal> {
        let mut turn = self.turn();
        let contents = files::read(turn.known.contents.keys().cloned());
        self.reload_as(&mut turn, contents, trigger, force)
    }

    /// Whether a file holds something else than when it was read last, and nobody said so yet.
    pub fn is_outdated(&self) -> bool {
        let turn = self.turn_between_lots();
        turn.known.missing.is_none() && files::read(turn.known.contents.keys().cloned()) != turn.known.contents
    }

    /// Reloads if a file holds something else than when it was read last.
    pub fn reload_if_changed(&self) {
        let mut turn = self.turn_between_lots();
        let contents = files::read(turn.known.contents.keys().cloned());
        if contents == turn.known.contents {
            turn.known.missing = None;
            return;
        }
        // A file that is being replaced is gone for a moment: its keys stay until it is back or somebody asks.
        let gone = contents.iter().find(|(path, now)| now.is_none() && turn.known.contents[*path].is_some());
        if let Some((path, _)) = gone {
            if turn.known.missing.as_ref() != Some(path) {
                let path = path.display();
                log::warn!("{path} is gone or can't be read; what it said holds until it is back or SIGHUP comes.");
            }
            turn.known.missing = Some(path.clone());
            return;
        }
        // The outcome is logged, and kept in `last`.
        let _told = self.reload_as(&mut turn, contents, Trigger::File, false);
    }

    fn reload_as(
        &self,
        turn: &mut Turn<'_>,
        contents: Contents,
        trigger: Trigger,
        force: bool,
    ) -> Result<Report, Refusal> {
        // Without systemd there is nobody to tell.
        let _untold = sd_notify::notify(&[sd_notify::NotifyState::Reloading]);
        let (outcome, files) = self.read_and_apply(turn, force);
        let _untold = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        turn.known.contents = files::extend(&contents, files);
        turn.known.missing = None;
        metrics::config_reloaded(outcome.is_ok());
        match &outcome {
            Ok(report) => {
                report.warnings.iter().for_each(|warning| log::warn!("{warning}"));
                log::info!("Reloaded: {report}");
            }
            Err(refusal) => log::error!("The reload was refused and changed nothing: {refusal}"),
        }
        events::publish("reload", || {
            let message = outcome.as_ref().map_or_else(ToString::to_string, ToString::to_string);
            json!({"ok": outcome.is_ok(), "trigger": trigger, "message": message})
        });
        self.last.store(Arc::new(Last { time: SystemTime::now(), trigger, outcome: outcome.clone() }));
        self.reloaded.notify_one();
        outcome
    }

    /// The outcome, and the files that count from now on: also those whose mistakes are to be mended.
    fn read_and_apply(&self, turn: &Turn<'_>, force: bool) -> (Result<Report, Refusal>, Vec<PathBuf>) {
        let in_effect = || files::of(&self.path, &self.live.config.load());
        match config::load_with(&self.path, &turn.picture.stored.additions()) {
            Ok(loaded) => {
                let wanted = files::of(&self.path, &loaded.config);
                let outcome = self.reload_from(turn, loaded, force);
                (outcome, [wanted, in_effect()].concat())
            }
            Err(Problems(problems)) => {
                let wrong = problems.iter().map(|problem| PathBuf::from(&problem.file)).collect();
                let mistakes = problems.iter().map(ToString::to_string).collect();
                (Err(Refusal(mistakes)), [wrong, in_effect()].concat())
            }
        }
    }

    fn reload_from(&self, turn: &Turn<'_>, loaded: config::Loaded, force: bool) -> Result<Report, Refusal> {
        let mut stored = turn.picture.stored.clone();
        self.look_up_admin_token(&mut stored);
        let tokens = first_run::tokens(&loaded.config, &mut stored, &self.store).map_err(refusal)?;
        let (files, shown) = (loaded.files.clone(), loaded.shown.clone());
        let prepared = self.prepare(loaded, &tokens).map_err(refusal)?;
        if let Some(pool) = prepared.emptied_pool().filter(|_| !force) {
            return Err(refusal(format!(
                "pool {pool} would lose all its keys; remove the pool, or force it: POST /api/v1/reload?force=true"
            )));
        }
        let report = self.put_in_effect(prepared);
        let version = turn.picture.version + 1;
        self.picture.store(Arc::new(Picture { files, stored, tokens, shown, version }));
        Ok(report)
    }
}

fn refusal(why: impl ToString) -> Refusal {
    Refusal(vec![why.to_string()])
}

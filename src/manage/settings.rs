//! Settings and pools that operators change while the server runs.
//!
//! A pool of a file and one that was added are changed alike: what is set at run time beats what stands below it until
//! it is reset (`null`).

use serde_json::{Map, Value as Json, json};

use super::error::ManageError;
use super::keys::no_pool;
use super::operate::Actor;
use super::stored::Stored;
use super::{Manager, version};
use crate::config::raw::value::REDACTED;
use crate::config::{Field, flatten, is_file_only};

/// The settings of the server or of a pool.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Each with its origin.
    pub fields: Vec<Field>,
    /// Differs after every change.
    pub version: u64,
}

impl Manager {
    /// The server's settings, or a pool's; `None` if there is no such pool.
    pub fn settings(&self, pool: Option<&str>) -> Option<Settings> {
        let picture = self.picture.load();
        let fields = match pool {
            None => picture.shown.server(),
            Some(name) => picture.shown.pool(name)?,
        };
        Some(Settings { fields, version: picture.version })
    }

    /// Changes settings of the server or of a pool; `expected` is the version they were read at. Blocks.
    ///
    /// # Errors
    /// If something is wrong, only a file may say it, somebody else was quicker, or the store does not take it.
    pub fn set_settings(
        &self,
        pool: Option<&str>,
        written: &Map<String, Json>,
        expected: Option<u64>,
        actor: &Actor,
    ) -> Result<(), ManageError> {
        let turn = self.turn();
        version::check(expected, turn.picture.version, "a setting")?;
        if let Some(name) = pool {
            turn.picture.shown.pool(name).ok_or_else(|| no_pool(name))?;
        }
        let scope = pool.unwrap_or_default();
        let pairs = flatten(written, pool.is_some());
        let refused: Vec<String> = pairs.iter().filter_map(|(path, value)| refusal(pool, path, value)).collect();
        if !refused.is_empty() {
            return Err(ManageError::Invalid(refused));
        }
        let mut stored = Stored::clone(&turn.picture.stored);
        for (path, value) in &pairs {
            let at = (scope.to_owned(), path.clone());
            match value {
                Json::Null => drop(stored.settings.remove(&at)),
                value => drop(stored.settings.insert(at, value.clone())),
            }
        }
        let paths: Vec<&String> = pairs.iter().map(|(path, _)| path).collect();
        let audit = actor.does("settings.set", scope, json!({"fields": paths}));
        let written = |value: Json| (!value.is_null()).then(|| value.to_string());
        let rows = pairs.iter().map(|(path, value)| (path.clone(), written(value.clone()))).collect();
        let scope = scope.to_owned();
        self.change_to(&turn, stored, |store| Self::wait(store.set_settings(scope, rows, audit)))
    }

    /// Whether the pool is in the file.
    pub fn is_provisioned_pool(&self, name: &str) -> bool {
        self.picture.load().files.has_pool(name)
    }

    /// Adds a pool. Blocks.
    ///
    /// # Errors
    /// If there is one of that name, something is wrong, or the store does not take it.
    pub fn add_pool(&self, name: &str, settings: Map<String, Json>, actor: &Actor) -> Result<(), ManageError> {
        let turn = self.turn();
        if turn.picture.shown.pool(name).is_some() {
            return Err(ManageError::Conflict(format!("there is a pool {name:?} already")));
        }
        let settings = nested(settings);
        let mut stored = Stored::clone(&turn.picture.stored);
        stored.pools.insert(name.to_owned(), settings.clone());
        let audit = actor.does("pool.add", name, json!({}));
        let (name, text) = (name.to_owned(), settings.to_string());
        self.change_to(&turn, stored, |store| Self::wait(store.add_pool(name, text, audit)))
    }

    /// Removes a pool that was added at run time, with its keys; those can be restored with a pool of that name. Blocks.
    ///
    /// # Errors
    /// If it is in a file or unknown, a keys file has keys for it, or the store does not take it.
    pub fn remove_pool(&self, name: &str, actor: &Actor) -> Result<(), ManageError> {
        let turn = self.turn();
        turn.picture.shown.pool(name).ok_or_else(|| no_pool(name))?;
        if !turn.picture.stored.pools.contains_key(name) || turn.picture.files.has_pool(name) {
            return Err(ManageError::Provisioned(format!("pool {name} is in keyweir.yaml; remove it there")));
        }
        if turn.picture.files.keys(name).next().is_some() {
            return Err(ManageError::Conflict(format!(
                "a keys file has keys for pool {name}; remove them there first"
            )));
        }
        let mut stored = Stored::clone(&turn.picture.stored);
        stored.pools.remove(name);
        stored.settings.retain(|(scope, _), _| scope != name);
        let now = super::keys::now_ms();
        for key in stored.keys.edit().iter_mut().filter(|key| *key.pool == *name && key.removed_at.is_none()) {
            key.removed_at = Some(now);
        }
        let audit = actor.does("pool.remove", name, json!({}));
        let name = name.to_owned();
        self.change_to(&turn, stored, |store| Self::wait(store.remove_pool(name, audit)))
    }
}

/// Why something may not be set here.
fn refusal(pool: Option<&str>, path: &str, value: &Json) -> Option<String> {
    if pool.is_none() && is_file_only(path) {
        return Some(format!("{path}: can only be set in keyweir.yaml"));
    }
    // Whoever changes what was shown sends it back.
    let is_hidden = value.to_string().contains(REDACTED);
    is_hidden.then(|| format!("{path}: {REDACTED} stands for a secret that is not told; write the whole value anew"))
}

/// Paths with dots as the objects they stand for.
fn nested(written: Map<String, Json>) -> Json {
    let mut root = Map::new();
    for (path, value) in written {
        let mut names = path.split('.').rev();
        let last = names.next().unwrap_or_default().to_owned();
        let single = |name: String, value: Json| Json::Object(Map::from_iter([(name, value)]));
        let built = names.fold(single(last, value), |inner, name| single(name.to_owned(), inner));
        if let Json::Object(built) = built {
            merge(&mut root, built);
        }
    }
    Json::Object(root)
}

fn merge(into: &mut Map<String, Json>, more: Map<String, Json>) {
    for (name, value) in more {
        match (into.get_mut(&name), value) {
            (Some(Json::Object(there)), Json::Object(value)) => merge(there, value),
            (_, value) => drop(into.insert(name, value)),
        }
    }
}

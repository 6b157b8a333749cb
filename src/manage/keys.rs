//! Keys: added, changed, removed and brought back while the server runs; enabled, disabled and reset.

use std::collections::HashSet;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value as Json, json};

use super::error::{ManageError, told};
use super::import::Judge;
use super::marks;
use super::operate::Actor;
use super::stored::{Kept, Stored, shared};
use super::{Manager, Picture, version};
use crate::config::formats::{Details, Entry};
use crate::config::{Egress, KeyId, KeySpec, Secret, key_spec};
use crate::keypool::{Action, ControlError};
use crate::store::{KeyChange, NewKey, RESTORABLE};

/// A key to be added.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Where it stood, from 1.
    pub line: usize,
    /// Its text.
    pub key: Secret,
    /// What else is said of it, in the words of `keys.yaml`; also `note`.
    pub details: Map<String, Json>,
}

/// What became of keys that were to be added.
#[derive(Debug, Clone, Default)]
pub struct Added {
    /// The new ones.
    pub added: Vec<KeyId>,
    /// Those that were there before.
    pub duplicates: Vec<KeyId>,
    /// Lines that could not be added, and why.
    pub bad: Vec<(usize, String)>,
}

/// What is known of a key beside its state.
#[derive(Debug, Clone)]
pub struct KeyDetail {
    /// The key.
    pub spec: Arc<KeySpec>,
    /// An operator's note.
    pub note: Option<String>,
    /// When it was added (Unix milliseconds); `None` for keys of files.
    pub created_at: Option<i64>,
    /// When it was removed (Unix milliseconds).
    pub removed_at: Option<i64>,
    /// Differs after every change of what is said of it; `None` for keys of files.
    pub version: Option<u64>,
}

impl From<Entry> for Candidate {
    fn from(entry: Entry) -> Self {
        Self { line: entry.line, details: entry.details(), key: entry.key }
    }
}

impl Manager {
    /// Adds keys to a pool; those that are there already stay as they are. Blocks.
    ///
    /// # Errors
    /// If there is no such pool, or the store does not take them.
    pub fn add_keys(&self, pool: &str, candidates: Vec<Candidate>, actor: &Actor) -> Result<Added, ManageError> {
        let mut outcome = Added::default();
        let turn = self.turn();
        let mut stored = Stored::clone(&turn.picture.stored);
        let name = self.pool_name(pool)?;
        let kept = Judge::new(&turn.picture, &[], &name).judge(candidates, &mut outcome);
        if kept.is_empty() {
            return Ok(outcome);
        }
        let new: Vec<NewKey> = kept.iter().map(Kept::to_store).collect();
        stored.keys.add(kept);
        let audit = outcome.audit(pool, actor);
        self.change_to(&turn, stored, |store| Self::wait(store.add_keys(new, audit)))?;
        Ok(outcome)
    }

    /// Changes what is said of a key; `null` takes a word back, and `expected` is the version it was read at. Blocks.
    ///
    /// # Errors
    /// If the key is in a file or unknown or was changed since, something is wrong, or the store does not take it.
    pub fn update_key(
        &self,
        id: KeyId,
        patch: Map<String, Json>,
        expected: Option<u64>,
        actor: &Actor,
    ) -> Result<(), ManageError> {
        let turn = self.turn();
        let mut stored = Stored::clone(&turn.picture.stored);
        let taken = self.names_beside(id);
        let key = own(&turn.picture, &mut stored, id)?;
        version::check(expected, key.version(), "the key")?;
        let fields: Vec<String> = patch.keys().cloned().collect();
        let mut details = key.details_and_name();
        patch_fields(&mut details, patch);
        let (spec, details) = spec_of(&key.pool, &key.spec.key, details).map_err(ManageError::Invalid)?;
        if taken.contains(&spec.name) {
            return Err(ManageError::Conflict(format!("another key of the pool is called {}", spec.name)));
        }
        (key.spec, key.details) = (Arc::new(spec), shared(details));
        let change = KeyChange { id, name: key.name(), details: key.details.to_string() };
        let audit = actor.does("key.update", id.to_string(), json!({"fields": fields}));
        self.change_to(&turn, stored, |store| Self::wait(store.update_keys(vec![change], audit)))
    }

    /// Removes keys that were added at run time; tells which. Blocks.
    ///
    /// # Errors
    /// If one is in a file or unknown, or the store does not take it: none is removed then.
    pub fn remove_keys(&self, ids: &[KeyId], actor: &Actor) -> Result<usize, ManageError> {
        let turn = self.turn();
        let mut stored = Stored::clone(&turn.picture.stored);
        let wanted: HashSet<KeyId> = ids.iter().copied().collect();
        let now = now_ms();
        let mut removed = Vec::new();
        let mut left = wanted;
        for key in stored.keys.edit().iter_mut().filter(|key| key.removed_at.is_none()) {
            if left.remove(&key.spec.id) {
                key.removed_at = Some(now);
                removed.push(key.spec.id);
            }
        }
        for id in left {
            own(&turn.picture, &mut stored, id)?;
        }
        let provisioned = removed.iter().find(|id| turn.picture.files.has_key(**id));
        if let Some(id) = provisioned {
            return Err(ManageError::Provisioned(format!("key {id} is in a keys file; remove it there")));
        }
        let count = removed.len();
        let audit = actor.does("keys.remove", subject(&removed), json!({"keys": count}));
        self.change_to(&turn, stored, |store| Self::wait(store.remove_keys(removed, audit)))?;
        Ok(count)
    }

    /// Brings a removed key back. Blocks.
    ///
    /// # Errors
    /// If it was not removed within the last 7 days, or the store does not take it.
    pub fn restore_key(&self, id: KeyId, actor: &Actor) -> Result<(), ManageError> {
        let turn = self.turn();
        let mut stored = Stored::clone(&turn.picture.stored);
        let since = now_ms() - RESTORABLE;
        let is_meant = |key: &&mut Kept| key.spec.id == id && key.removed_at.is_some_and(|at| at >= since);
        let Some(key) = stored.keys.edit().iter_mut().find(is_meant) else {
            return Err(ManageError::NotFound("no key with this id was removed within the last 7 days".into()));
        };
        self.pool_name(&key.pool)?;
        key.removed_at = None;
        let audit = actor.does("key.restore", id.to_string(), json!({}));
        self.change_to(&turn, stored, |store| Self::wait(store.restore_keys(vec![id], audit)))?;
        Ok(())
    }

    /// Enables, disables or resets keys; tells for which it can't be done. Blocks.
    ///
    /// # Errors
    /// If the store does not take it: nothing is done then.
    pub fn act(&self, ids: &[KeyId], action: Action, actor: &Actor) -> Result<Vec<(KeyId, ControlError)>, ManageError> {
        let _turn = self.turn();
        let keypool = &self.live.keypool;
        let (mut changes, mut done, mut failed) = (Vec::with_capacity(ids.len()), Vec::new(), Vec::new());
        for id in ids {
            match keypool.check(*id, action) {
                Ok(is_off) => {
                    done.push(*id);
                    changes.extend(marks::after(*id, action, is_off));
                }
                Err(error) => failed.push((*id, error)),
            }
        }
        if done.is_empty() {
            return Ok(failed);
        }
        let audit = actor.does(&format!("keys.{}", action.as_str()), subject(&done), json!({"keys": done.len()}));
        let _held = self.handover.lock();
        Self::wait(self.store.set_marks(changes, audit))?;
        failed.extend(done.into_iter().filter_map(|id| Some((id, keypool.act(id, action).err()?))));
        Ok(failed)
    }

    /// Notes who has keys tested. Blocks.
    ///
    /// # Errors
    /// If the store does not take it.
    pub fn note_test(&self, ids: &[KeyId], actor: &Actor) -> Result<(), ManageError> {
        let audit = actor.does("keys.test", subject(ids), json!({"keys": ids.len()}));
        Ok(Self::wait(self.store.note(audit))?)
    }

    /// What is known of a key beside its state, also of a removed one.
    pub fn key_detail(&self, id: KeyId) -> Option<KeyDetail> {
        let picture = self.picture.load();
        let kept = picture.stored.keys.get(id);
        let spec = kept.map(|key| key.spec.clone()).or_else(|| self.live.keypool.spec(id))?;
        Some(KeyDetail {
            spec,
            note: kept.and_then(|key| Some(key.details_and_name().get("note")?.as_str()?.to_owned())),
            created_at: kept.map(|key| key.created_at),
            removed_at: kept.and_then(|key| key.removed_at),
            version: kept.map(Kept::version),
        })
    }

    /// Whether a file has the key.
    pub fn is_provisioned_key(&self, id: KeyId) -> bool {
        self.picture.load().files.has_key(id)
    }

    /// The keys of a pool with their texts, all or only those, and a line in the audit. Blocks.
    ///
    /// # Errors
    /// If there is no such pool, or the store does not take the line: nothing secret leaves unnoted.
    pub fn export_keys(
        &self,
        pool: &str,
        only: Option<&HashSet<KeyId>>,
        format: &str,
        actor: &Actor,
    ) -> Result<Vec<Entry>, ManageError> {
        let mut specs = self.live.keypool.specs(pool).ok_or_else(|| no_pool(pool))?;
        specs.retain(|spec| only.is_none_or(|only| only.contains(&spec.id)));
        let audit = actor.does("keys.export", pool, json!({"keys": specs.len(), "format": format}));
        Self::wait(self.store.note(audit))?;
        Ok((1..).zip(specs).map(|(line, spec)| entry(line, pool, &spec)).collect())
    }

    pub(super) fn pool_name(&self, pool: &str) -> Result<Arc<str>, ManageError> {
        let known = self.live.config.load().pools.iter().any(|known| known.name == pool);
        if known { Ok(pool.into()) } else { Err(no_pool(pool)) }
    }

    fn names_beside(&self, id: KeyId) -> HashSet<String> {
        let others = self.live.keypool.specs_beside(id);
        others.into_iter().filter(|spec| spec.id != id).map(|spec| spec.name.clone()).collect()
    }
}

/// What is told of a pool that isn't there.
pub fn no_pool(pool: &str) -> ManageError {
    ManageError::NotFound(format!("there is no pool {pool:?}"))
}

/// The key, and its details as they are stored: everything but key and name.
pub(super) fn spec_of(
    pool: &str,
    key: &Secret,
    mut details: Map<String, Json>,
) -> Result<(KeySpec, String), Vec<String>> {
    let note = match details.remove("note") {
        None => None,
        Some(Json::String(note)) if note.len() <= 1000 => Some(note),
        Some(_) => return Err(vec!["note: must be a text of at most 1000 bytes".into()]),
    };
    let spec = key_spec(pool, key, &details).map_err(|problems| problems.iter().map(told).collect::<Vec<_>>())?;
    details.remove("name");
    note.map(|note| details.insert("note".into(), note.into()));
    Ok((spec, Json::Object(details).to_string()))
}

/// The key with that id that may be edited.
fn own<'s>(picture: &Picture, stored: &'s mut Stored, id: KeyId) -> Result<&'s mut Kept, ManageError> {
    if picture.files.has_key(id) {
        return Err(ManageError::Provisioned(format!("key {id} is in a keys file; change it there")));
    }
    let key = stored.keys.edit().iter_mut().find(|key| key.spec.id == id && key.removed_at.is_none());
    key.ok_or_else(|| ManageError::NotFound("there is no key with this id".into()))
}

/// Lays the fields of a patch over those there are; `null` takes one away.
pub(super) fn patch_fields(fields: &mut Map<String, Json>, patch: Map<String, Json>) {
    for (name, value) in patch {
        match value {
            Json::Null => drop(fields.remove(&name)),
            value => drop(fields.insert(name, value)),
        }
    }
}

fn subject(ids: &[KeyId]) -> String {
    match ids {
        [id] => id.to_string(),
        ids => format!("{} keys", ids.len()),
    }
}

fn entry(line: usize, pool: &str, spec: &KeySpec) -> Entry {
    let header = |(name, value): &(HeaderName, HeaderValue)| {
        Some((name.to_string(), Secret::new(value.to_str().ok()?.to_owned())))
    };
    let details = Details {
        limits: spec.limits.as_deref().copied().unwrap_or_default(),
        models: spec.models.clone(),
        egress: spec.egress.as_deref().map(Egress::url),
        headers: spec.headers.iter().filter_map(header).collect(),
    };
    Entry {
        pool: Some(pool.into()),
        name: Some(spec.name.clone()),
        account: spec.account.clone(),
        weight: spec.weight,
        priority: spec.priority,
        disabled: spec.disabled,
        details: Some(Box::new(details)),
        ..Entry::new(line, spec.key.clone())
    }
}

pub(super) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl Kept {
    /// Its name, if it has one of its own.
    fn name(&self) -> Option<String> {
        (self.spec.name != crate::config::fingerprint(self.spec.id)).then(|| self.spec.name.clone())
    }

    fn version(&self) -> u64 {
        version::of(&self.spec.name, &self.details)
    }

    fn details_and_name(&self) -> Map<String, Json> {
        let mut details: Map<String, Json> = serde_json::from_str(&self.details).unwrap_or_default();
        self.name().map(|name| details.insert("name".into(), name.into()));
        details
    }

    pub(super) fn to_store(&self) -> NewKey {
        NewKey {
            pool: self.pool.to_string(),
            key: self.spec.key.clone(),
            name: self.name(),
            details: self.details.to_string(),
        }
    }
}

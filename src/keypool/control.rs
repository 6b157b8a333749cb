//! What operators do to keys while the server runs.

use std::sync::Arc;

use thiserror::Error;

use super::{Entry, KeyPool, named, now};
use crate::config::KeyId;
use crate::config::KeySpec;
use crate::telemetry::KeySnapshot;

/// What can be done to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Used again, whatever it rests or was disabled for.
    Enable,
    /// Not used until it is enabled.
    Disable,
    /// What rules did to it is forgotten; one that was disabled by an operator stays so.
    Reset,
}

/// Why it can't be done.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ControlError {
    /// There is no such key.
    #[error("there is no key with this id")]
    Unknown,
    /// The keys file has the last word.
    #[error("the key has `disabled: true` in its keys file; remove that there")]
    OffInFile,
}

impl Action {
    /// As a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Reset => "reset",
        }
    }
}

impl KeyPool {
    /// Whether something can be done to a key; tells if an operator has it disabled now.
    ///
    /// # Errors
    /// As [`act`](Self::act).
    pub fn check(&self, id: KeyId, action: Action) -> Result<bool, ControlError> {
        let (entry, index) = self.place(id).ok_or(ControlError::Unknown)?;
        let key = entry.pool.key(index).ok_or(ControlError::Unknown)?;
        if action == Action::Enable && key.is_off() {
            Err(ControlError::OffInFile)
        } else {
            Ok(key.is_disabled_by_operator())
        }
    }

    /// What a key is, wherever it is.
    pub fn spec(&self, id: KeyId) -> Option<Arc<KeySpec>> {
        let (entry, index) = self.place(id)?;
        entry.specs().get(index as usize).cloned()
    }

    /// The keys of a pool.
    pub fn specs(&self, pool: &str) -> Option<Vec<Arc<KeySpec>>> {
        Some(named(&self.entries.load(), pool)?.specs().to_vec())
    }

    /// The keys of the pool that a key is in.
    pub fn specs_beside(&self, id: KeyId) -> Vec<Arc<KeySpec>> {
        self.place(id).map(|(entry, _)| entry.specs().to_vec()).unwrap_or_default()
    }

    /// A key by its id, wherever it is.
    pub fn key(&self, id: KeyId) -> Option<(Arc<Entry>, KeySnapshot)> {
        let (entry, index) = self.place(id)?;
        let snapshot = entry.snapshot_at(index, now())?;
        Some((entry, snapshot))
    }

    /// Does something to a key; shows it as it is afterwards.
    ///
    /// # Errors
    /// If there is no such key, or the keys file says otherwise.
    pub fn act(&self, id: KeyId, action: Action) -> Result<KeySnapshot, ControlError> {
        let (entry, index) = self.place(id).ok_or(ControlError::Unknown)?;
        let (pool, now) = (&entry.pool, now());
        match action {
            Action::Enable if pool.key(index).is_some_and(|key| key.is_off()) => return Err(ControlError::OffInFile),
            Action::Enable => pool.enable(index, now),
            Action::Disable => pool.disable(index, now),
            Action::Reset => pool.reset(index, now),
        }
        entry.snapshot_at(index, now).ok_or(ControlError::Unknown)
    }

    fn place(&self, id: KeyId) -> Option<(Arc<Entry>, u32)> {
        self.entries.load().iter().find_map(|entry| Some((entry.clone(), entry.place(id)?)))
    }
}

//! What operators do to keys while the server runs.

use std::sync::Arc;

use thiserror::Error;

use super::{Entry, KeyPool, now};
use crate::config::keys::KeyId;
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

impl KeyPool {
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

//! How an operator's change happens, whatever it changes.

use std::net::IpAddr;
use std::sync::Arc;

use futures::executor::block_on;

use super::error::ManageError;
use super::stored::Stored;
use super::{Manager, Picture, Turn};
use crate::config::Additions;
use crate::store::{Audit, Store, StoreError};

/// Who changes something.
#[derive(Debug, Clone, Default)]
pub struct Actor {
    /// The user's name.
    pub name: String,
    /// Where the request came from.
    pub address: Option<IpAddr>,
}

impl Actor {
    /// The line of the audit.
    pub(super) fn does(&self, action: &str, subject: impl Into<String>, details: serde_json::Value) -> Audit {
        Audit {
            actor: self.name.clone(),
            address: self.address,
            action: action.into(),
            subject: subject.into(),
            details: details.to_string(),
        }
    }
}

impl Manager {
    /// The end of every change: `stored` is judged with the files, `commit` writes it, then it holds. Blocks.
    pub(super) fn change_to<T>(
        &self,
        turn: &Turn<'_>,
        stored: Stored,
        commit: impl FnOnce(&Store) -> Result<T, StoreError>,
    ) -> Result<T, ManageError> {
        let before = &turn.picture;
        let loaded = before.files.with(&stored.additions())?;
        let shown = loaded.shown.clone();
        let prepared = self.prepare(loaded, &before.tokens).map_err(|why| ManageError::Invalid(vec![why]))?;
        let value = commit(&self.store)?;
        self.put_in_effect(prepared);
        let (files, tokens) = (before.files.clone(), before.tokens.clone());
        self.picture.store(Arc::new(Picture { files, stored, tokens, shown, version: before.version + 1 }));
        Ok(value)
    }

    /// Puts into effect what an import has committed by now.
    pub(super) fn take_in(&self, turn: &mut Turn<'_>) -> Result<(), ManageError> {
        let arrived = std::mem::take(&mut turn.known.arrived);
        if arrived.is_empty() {
            return Ok(());
        }
        let mut stored = Stored::clone(&turn.picture.stored);
        stored.keys.add(arrived);
        self.change_to(turn, stored, |_| Ok(()))?;
        turn.picture = self.picture.load_full();
        Ok(())
    }

    /// Seals everything in the store with a new master key. Blocks.
    ///
    /// # Errors
    /// If the key is configured and not ours to change, or the store does not take it.
    pub fn rotate_master(&self, actor: &Actor) -> Result<(), ManageError> {
        let _turn = self.turn();
        let audit = actor.does("master_key.rotate", "", serde_json::json!({}));
        Ok(Self::wait(self.store.rotate_master(audit))?)
    }

    /// Takes up what the store holds, once it could be opened after a start without it. Blocks.
    pub(super) fn take_up(&self) {
        let turn = self.turn();
        let Ok(snapshot) = self.store.load_blocking() else { return };
        let Ok(files) = turn.picture.files.with(&Additions::default()) else { return };
        let mut stored = Stored::of(snapshot);
        // What does not fit is left out, and said.
        drop(stored.over(files));
        match self.change_to(&turn, stored, |_| Ok(())) {
            Ok(()) => log::info!("What was added at run time is taken up from the store."),
            Err(error) => log::error!(error:%; "What was added at run time can't be taken up."),
        }
        drop(turn);
        self.restore_marks();
        self.restore_spending();
        self.restore_use();
        self.restore_pins();
    }

    /// Waits for a write to the store. Not for a runtime's own threads.
    pub(super) fn wait<T>(write: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        block_on(write)
    }
}

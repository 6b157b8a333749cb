//! How an operator's change happens, whatever it changes.

use std::net::IpAddr;
use std::sync::Arc;

use futures::executor::block_on;

use super::error::ManageError;
use super::stored::Stored;
use super::{Manager, State};
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
        state: &mut State,
        mut stored: Stored,
        commit: impl FnOnce(&Store, &mut Stored) -> Result<T, StoreError>,
    ) -> Result<T, ManageError> {
        let loaded = state.files.with(&stored.additions())?;
        let shown = loaded.shown.clone();
        let prepared = self.prepare(loaded, &state.tokens).map_err(|why| ManageError::Invalid(vec![why]))?;
        let value = commit(&self.store, &mut stored)?;
        self.put_in_effect(prepared);
        state.version += 1;
        (state.stored, state.shown) = (stored, shown);
        Ok(value)
    }

    /// Takes up what the store holds, once it could be opened after a start without it. Blocks.
    pub fn take_up(self: &Arc<Self>) {
        let Ok(snapshot) = self.store.load_blocking() else { return };
        let mut state = self.state.lock();
        let mut stored = Stored::of(snapshot);
        let Ok(files) = state.files.with(&crate::config::Additions::default()) else { return };
        let loaded = stored.over(files);
        let shown = loaded.shown.clone();
        match self.prepare(loaded, &state.tokens) {
            Ok(prepared) => {
                self.put_in_effect(prepared);
                state.version += 1;
                (state.stored, state.shown) = (stored, shown);
                log::info!("What was added at run time is taken up from the store.");
            }
            Err(error) => log::error!(error; "What was added at run time does not fit."),
        }
        drop(state);
        self.restore_marks();
    }

    /// Waits for a write to the store. Not for a runtime's own threads.
    pub(super) fn wait<T>(write: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        block_on(write)
    }
}

//! The store: what was learnt and done at run time, in SQLite, MySQL or PostgreSQL.
//!
//! Two ways lead in. *Acknowledged writes* (keys, pools, tokens, settings) return when they are committed, with the line
//! of the audit in the same transaction. The [`Journal`] takes marks, pins, counts and request rows without ever
//! making the caller wait, and writes them within a fraction of a second.
//!
//! Invariant: nothing outside waits for the database unless it asked to. A store that can't be reached, is full or
//! read-only says so in its [`Status`] and keeps what the journal holds (up to a bound) until it can be written. All
//! database work happens on a thread of the store's own; the methods can be called from any runtime.

mod audit;
mod counters;
mod database;
mod entity;
mod error;
mod file;
mod fold;
mod health;
mod journal;
mod keys;
mod load;
mod marks;
mod master;
mod pins;
mod pools;
mod requests;
mod retention;
mod rotate;
mod runs;
mod runtime;
mod schema;
mod seal;
mod settings;
mod shared;
mod text;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

pub use audit::{Audit, AuditFilter, AuditPage, AuditRow};
pub use counters::{By, Counted, CounterFilter, Use};
pub use error::StoreError;
pub use health::{Outage, Pending, Status};
pub use journal::Journal;
pub use keys::{KeyChange, NewKey, StoredKey};
pub use load::Snapshot;
pub use marks::{Mark, StoredMark, Subject};
pub use pins::StoredPin;
pub use pools::StoredPool;
pub use requests::{LoggedRequest, Request, RequestFilter, RequestPage};
pub use retention::RESTORABLE;
pub use runs::Run;
pub use settings::Setting;
pub use tokens::{StoredToken, TokenChange};

use crate::config;
use runtime::Runtime;
use shared::Shared;

/// How long the last flush may take.
const CLOSE: Duration = Duration::from_secs(5);

/// The store. Dropped, it ends its thread; [`close`](Self::close) writes what is pending first.
pub struct Store {
    shared: Arc<Shared>,
    flush: mpsc::Sender<oneshot::Sender<Result<(), StoreError>>>,
    opened: watch::Receiver<bool>,
    runtime: Runtime,
}

impl Store {
    /// Opens the store, brings its schema up to date and finds the master key. Blocks; call it outside of any runtime.
    ///
    /// A database that can't be reached or written now is no error: the store opens it as soon as it can
    /// (see [`opened`](Self::opened)), and [`status`](Self::status) tells why it is down.
    ///
    /// # Errors
    /// What time won't repair: a wrong URL or master key, a database of a newer version, a damaged file.
    pub fn open(settings: &config::Store) -> Result<Self, StoreError> {
        let runtime = Runtime::start()?;
        let shared = Arc::new(Shared::new(settings)?);
        let first = shared.clone();
        match runtime.run_blocking(async move { first.connect().await }) {
            Ok(()) => {}
            Err(error @ (StoreError::Unavailable(_) | StoreError::ReadOnly(_) | StoreError::Full(_))) => {
                log::error!(error:%; "The store can't be opened; the server goes on without it until it can.");
                shared.health.is_down(&error);
            }
            Err(error) => return Err(error),
        }
        let (flush, asked) = mpsc::channel(16);
        let opened = shared.opened.subscribe();
        runtime.spawn(journal::run(shared.clone(), asked));
        Ok(Self { shared, flush, opened, runtime })
    }

    /// Resolves when the database was reached for the first time and can be [loaded](Self::load).
    pub async fn opened(&self) {
        // The sender lives as long as the store.
        let mut opened = self.opened.clone();
        let _open = opened.wait_for(|is_open| *is_open).await;
    }

    /// Where marks, counts and request rows go.
    pub fn journal(&self) -> Journal {
        self.shared.journal.clone()
    }

    /// Takes over what a reload changed: how long the request log may be kept, and how large it may grow.
    pub fn set_limits(&self, settings: &config::Store) {
        self.shared.limits.set(settings);
    }

    /// How it is.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Writes what the journal holds.
    ///
    /// # Errors
    /// If the database does not take it now; the journal keeps it.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let closed = || StoreError::Unavailable("it is closed".into());
        let (tell, told) = oneshot::channel();
        self.flush.send(tell).await.map_err(|_| closed())?;
        told.await.map_err(|_| closed())?
    }

    /// Writes what is pending (for at most five seconds) and closes the database. Blocks.
    ///
    /// # Errors
    /// If something could not be written, and is lost.
    pub fn close(self) -> Result<(), StoreError> {
        let (shared, flush) = (self.shared.clone(), self.flush.clone());
        self.runtime.run_blocking(async move {
            let (tell, told) = oneshot::channel();
            let written = async {
                flush.send(tell).await.ok()?;
                told.await.ok()
            };
            let late = StoreError::Unavailable("it did not take what was pending in time".into());
            let written = tokio::time::timeout(CLOSE, written).await.ok().flatten().unwrap_or(Err(late));
            shared.close().await;
            written
        })
    }
}

#[cfg(test)]
mod tests;

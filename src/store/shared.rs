//! What all work on the database shares: the open database, the sealer, the order of writes, the state of health.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures::future::BoxFuture;
use sea_orm::{DatabaseConnection, DatabaseTransaction};
use tokio::sync::{Mutex, watch};

use super::audit::{self, Audit};
use super::database::{Database, Place, begin};
use super::error::StoreError;
use super::health::{Health, Status};
use super::journal::Journal;
use super::master::{Opened, Source};
use super::retention::Limits;
use super::seal::Sealer;
use super::text::RowIds;
use super::{Store, rotate, schema};
use crate::config;

/// Longest time an acknowledged write or a read may take; a hanging database must not hold its callers for ever.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct Shared {
    place: Place,
    pub(super) master: Source,
    pub(super) limits: Limits,
    database: ArcSwapOption<Database>,
    sealer: ArcSwapOption<Sealer>,
    /// One write at a time, the journal's included: SQLite has one writer anyway, and an operator's mark must not be
    /// overwritten by an older one that is on its way.
    pub(super) turn: Mutex<()>,
    pub(super) health: Health,
    pub(super) journal: Journal,
    pub(super) ids: Arc<RowIds>,
    /// Bytes in the request log; negative = not yet summed up.
    pub(super) log_bytes: AtomicI64,
    pub(super) opened: watch::Sender<bool>,
}

/// A write under way.
pub(super) struct Writing {
    pub(super) db: DatabaseTransaction,
    pub(super) sealer: Arc<Sealer>,
    pub(super) shared: Arc<Shared>,
}

impl Shared {
    pub(super) fn new(settings: &config::Store) -> Result<Self, StoreError> {
        let ids = Arc::new(RowIds::new());
        let place = Place::of(settings)?;
        Ok(Self {
            master: Source::new(settings, place.file()),
            place,
            limits: Limits::of(settings),
            database: ArcSwapOption::empty(),
            sealer: ArcSwapOption::empty(),
            turn: Mutex::new(()),
            health: Health::default(),
            journal: Journal::new(ids.clone()),
            ids,
            log_bytes: AtomicI64::new(-1),
            opened: watch::Sender::new(false),
        })
    }

    /// The open database.
    pub(super) fn database(&self) -> Result<Arc<Database>, StoreError> {
        let not_yet = || match self.health.outage() {
            Some(outage) => outage.error,
            None => StoreError::Unavailable("it is not open".into()),
        };
        let database = self.database.load_full().ok_or_else(not_yet)?;
        if database.is_replaced() {
            return Err(StoreError::Unavailable("its file was moved or deleted; it is opened anew".into()));
        }
        Ok(database)
    }

    pub(super) fn sealer(&self) -> Result<Arc<Sealer>, StoreError> {
        self.sealer.load_full().ok_or_else(|| StoreError::Unavailable("it is not open".into()))
    }

    pub(super) fn set_sealer(&self, sealer: Sealer) {
        self.sealer.store(Some(Arc::new(sealer)));
    }

    /// Opens the database if it is not open, or no longer the one the URL names, or could only be read and may be
    /// written now: SQLite never writes with a connection that began so, nor with one beside it.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<(), StoreError> {
        if let Some(database) = self.database.load_full() {
            let is_outdated = self.health.is_read_only() && database.may_be_written();
            if !is_outdated && !database.is_replaced() {
                return Ok(());
            }
            self.database.store(None);
            database.close().await;
        }
        let database = self.place.connect().await?;
        if let Err(error) = self.prepare(&database).await {
            database.close().await;
            return Err(error);
        }
        self.log_bytes.store(-1, std::sync::atomic::Ordering::Relaxed);
        self.database.store(Some(Arc::new(database)));
        self.opened.send_replace(true);
        Ok(())
    }

    async fn prepare(&self, database: &Database) -> Result<(), StoreError> {
        let db = &database.acknowledged;
        schema::migrate(db, self.place.file()).await?;
        match self.master.open(db).await? {
            Opened::Right(sealer) => self.set_sealer(sealer),
            Opened::Rotate(old, new) => {
                let rotated = old.rotated(&new)?;
                let tx = begin(db).await?;
                rotate::seal_anew(&tx, &rotated).await?;
                tx.commit().await?;
                log::info!("What the store keeps sealed was sealed anew with the new master key.");
                self.set_sealer(rotated.settled());
            }
        }
        Ok(())
    }

    /// Does an acknowledged write: its turn, one transaction, the audit in it.
    pub(super) async fn write<T: Send>(
        self: Arc<Self>,
        audit: Option<Audit>,
        work: impl for<'w> FnOnce(&'w Writing) -> BoxFuture<'w, Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let shared = self.clone();
        let write = async move {
            let _turn = shared.turn.lock().await;
            let database = shared.database()?;
            let sealer = shared.sealer()?;
            let writing = Writing { db: begin(&database.acknowledged).await?, sealer, shared: shared.clone() };
            let value = work(&writing).await?;
            if let Some(entry) = audit {
                audit::write(&writing, entry).await?;
            }
            writing.db.commit().await?;
            Ok(value)
        };
        let late =
            || StoreError::Unavailable("the database does not answer; the write may have been done or not".into());
        let written = tokio::time::timeout(PATIENCE, write).await.unwrap_or_else(|_| Err(late()));
        match &written {
            Err(error) if error.is_outage() => {
                self.health.is_down(error);
                self.journal.wake();
            }
            _ => {}
        }
        written
    }

    pub(super) fn status(&self) -> Status {
        let (pending, dropped) = self.journal.pending();
        Status { down: self.health.outage(), pending, dropped }
    }

    pub(super) async fn close(&self) {
        if let Some(database) = self.database.swap(None) {
            database.close().await;
        }
    }
}

impl Store {
    /// An acknowledged write, done on the store's thread.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        audit: Option<Audit>,
        work: impl for<'w> FnOnce(&'w Writing) -> BoxFuture<'w, Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.runtime.run(self.shared.clone().write(audit, work)).await
    }

    /// A read, done on the store's thread.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(DatabaseConnection) -> BoxFuture<'static, Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.shared.clone();
        let read = async move {
            let reads = shared.database()?.reads.clone();
            let late = |_| Err(StoreError::Unavailable("the database does not answer".into()));
            tokio::time::timeout(PATIENCE, work(reads)).await.unwrap_or_else(late)
        };
        self.runtime.run(read).await
    }
}

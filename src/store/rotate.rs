//! A new master key for everything that is sealed, in one transaction: either all of it opens with the new key, or with
//! the old one.

use std::sync::Arc;

use sea_orm::ConnectionTrait;

use super::audit::{self, Audit};
use super::database::begin;
use super::error::StoreError;
use super::seal::Sealer;
use super::shared::{Shared, Writing};
use super::{Store, keys, master, pools, settings};

/// Opens everything with the sealer, which knows both keys, and seals it under the present one.
pub(super) async fn seal_anew(db: &impl ConnectionTrait, sealer: &Sealer) -> Result<(), StoreError> {
    keys::seal_anew(db, sealer).await?;
    pools::seal_anew(db, sealer).await?;
    settings::seal_anew(db, sealer).await?;
    master::keep_check(db, sealer).await
}

impl Store {
    /// Makes a new master key, seals everything with it and puts it into `master.key`.
    ///
    /// # Errors
    /// If it can't be written now, or the master key is configured: then it is rotated by configuring the new one, and
    /// the old one as `KEYWEIR_MASTER_KEY_PREVIOUS`, and a restart.
    pub async fn rotate_master(&self, audit: Audit) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        self.runtime.run(async move { rotate(shared, audit).await }).await
    }
}

async fn rotate(shared: Arc<Shared>, audit: Audit) -> Result<(), StoreError> {
    // To the end, so that nothing is sealed with the old key once the new one is committed.
    let _turn = shared.turn.lock().await;
    let database = shared.database()?;
    let sealer = shared.sealer()?;
    let rotated = sealer.rotated(&shared.master.next()?)?;
    let writing = Writing { db: begin(&database.acknowledged).await?, sealer, shared: shared.clone() };
    seal_anew(&writing.db, &rotated).await?;
    audit::write(&writing, audit).await?;
    if let Err(error) = writing.db.commit().await {
        // It may be committed all the same: opened anew, the database tells which key is the right one.
        shared.close().await;
        return Err(error.into());
    }
    shared.set_sealer(rotated.settled());
    shared.master.take_next()
}

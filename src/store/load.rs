//! What was configured at run time, read in one go.

use super::Store;
use super::error::StoreError;
use super::keys::{self, StoredKey};
use super::pools::{self, StoredPool};
use super::settings::{self, Setting};
use super::tokens::{self, StoredToken};
use crate::config::TokenDigest;

/// What was kept.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Pools added at run time.
    pub pools: Vec<StoredPool>,
    /// Keys added at run time, removed ones included.
    pub keys: Vec<StoredKey>,
    /// Client tokens added at run time.
    pub tokens: Vec<StoredToken>,
    /// Settings that beat the file's.
    pub settings: Vec<Setting>,
    /// The admin token, if it was set at run time.
    pub admin_token: Option<TokenDigest>,
}

impl Store {
    /// Everything that was kept of the configuration.
    ///
    /// # Errors
    /// If it can't be read now (see [`opened`](Self::opened)), or something in it does not open.
    pub async fn load(&self) -> Result<Snapshot, StoreError> {
        let shared = self.shared.clone();
        self.read(move |db| {
            Box::pin(async move {
                let sealer = shared.sealer()?;
                Ok(Snapshot {
                    pools: pools::load(&db, &sealer).await?,
                    keys: keys::load(&db, &sealer).await?,
                    tokens: tokens::load(&db).await?,
                    settings: settings::load(&db, &sealer).await?,
                    admin_token: tokens::load_admin(&db).await?,
                })
            })
        })
        .await
    }

    /// [`load`](Self::load) for a thread that may block, before the server's runtimes start.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_blocking(&self) -> Result<Snapshot, StoreError> {
        futures::executor::block_on(self.load())
    }
}

//! Pools added at run time. Their settings are sealed: egress URLs and headers may hold passwords.

use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, sea_query::OnConflict};

use super::audit::Audit;
use super::entity::pools;
use super::error::StoreError;
use super::seal::{Label, Sealer};
use super::shared::Writing;
use super::text::{name, now};
use super::{Store, keys, settings};

/// Largest settings (bytes).
pub(super) const SEALED: usize = 65_000;

/// A pool that was kept.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredPool {
    /// Its name.
    pub name: String,
    /// Its settings, as JSON; they may hold passwords.
    pub settings: String,
    /// When it was added (Unix milliseconds).
    pub created_at: i64,
    /// When it was changed last (Unix milliseconds).
    pub updated_at: i64,
}

impl std::fmt::Debug for StoredPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredPool").field("name", &self.name).finish_non_exhaustive()
    }
}

fn with_label<T>(pool: &str, then: impl FnOnce(Label<'_>) -> T) -> T {
    then(Label(&[b"stored_pools", pool.as_bytes()]))
}

fn open(sealer: &Sealer, row: pools::Model) -> Result<StoredPool, StoreError> {
    let plain = with_label(&row.name, |label| sealer.open(label, &row.sealed))?;
    Ok(StoredPool { settings: text(&plain)?, name: row.name, created_at: row.created_at, updated_at: row.updated_at })
}

/// What was sealed as a text.
pub(super) fn text(plain: &[u8]) -> Result<String, StoreError> {
    String::from_utf8(plain.to_vec()).map_err(|_| StoreError::Damaged("what was sealed is no text".into()))
}

/// A text that can be sealed.
pub(super) fn sealable(text: &str) -> Result<(), StoreError> {
    if text.len() > SEALED {
        return Err(StoreError::Invalid(format!("the settings must have at most {SEALED} bytes")));
    }
    Ok(())
}

/// All pools.
pub(super) async fn load(db: &impl ConnectionTrait, sealer: &Sealer) -> Result<Vec<StoredPool>, StoreError> {
    pools::Entity::find().all(db).await?.into_iter().map(|row| open(sealer, row)).collect()
}

/// Seals all pools anew.
pub(super) async fn seal_anew(db: &impl ConnectionTrait, sealer: &Sealer) -> Result<(), StoreError> {
    for row in pools::Entity::find().all(db).await? {
        let plain = with_label(&row.name, |label| sealer.open(label, &row.sealed))?;
        let sealed = with_label(&row.name, |label| sealer.seal(label, &plain))?;
        upsert(db, pools::Model { sealed, ..row }).await?;
    }
    Ok(())
}

async fn upsert(db: &impl ConnectionTrait, row: pools::Model) -> Result<(), StoreError> {
    use pools::Column::{Name, Sealed, UpdatedAt};
    let row = pools::ActiveModel {
        name: Set(row.name),
        sealed: Set(row.sealed),
        created_at: Set(row.created_at),
        updated_at: Set(row.updated_at),
    };
    let newest = OnConflict::column(Name).update_columns([Sealed, UpdatedAt]).to_owned();
    pools::Entity::insert(row).on_conflict(newest).exec_without_returning(db).await?;
    Ok(())
}

/// Writes a pool that must, or must not, be there.
async fn put(writing: &Writing, pool: String, settings: String, must_exist: bool) -> Result<(), StoreError> {
    let there = pools::Entity::find_by_id(&pool).one(&writing.db).await?;
    let created_at = match (there, must_exist) {
        (Some(_), false) => return Err(StoreError::Conflict(format!("pool {pool}"))),
        (None, true) => return Err(StoreError::NotFound(format!("stored pool {pool}"))),
        (Some(there), true) => there.created_at,
        (None, false) => now(),
    };
    let sealed = with_label(&pool, |label| writing.sealer.seal(label, settings.as_bytes()))?;
    upsert(&writing.db, pools::Model { name: pool, sealed, created_at, updated_at: now() }).await
}

impl Store {
    /// Adds a pool; `settings` is JSON.
    ///
    /// # Errors
    /// If it can't be written now, there is one of that name, or something is too long.
    pub async fn add_pool(&self, pool: String, settings: String, audit: Audit) -> Result<(), StoreError> {
        name("pool's name", &pool)?;
        sealable(&settings)?;
        self.write(Some(audit), move |writing| Box::pin(put(writing, pool, settings, false))).await
    }

    /// Replaces a stored pool's settings.
    ///
    /// # Errors
    /// If it can't be written now, there is none of that name, or something is too long.
    pub async fn update_pool(&self, pool: String, settings: String, audit: Audit) -> Result<(), StoreError> {
        sealable(&settings)?;
        self.write(Some(audit), move |writing| Box::pin(put(writing, pool, settings, true))).await
    }

    /// Removes a stored pool, its overridden settings, and its stored keys, which can be restored for 7 days.
    ///
    /// # Errors
    /// If it can't be written now, or there is none of that name.
    pub async fn remove_pool(&self, pool: String, audit: Audit) -> Result<(), StoreError> {
        self.write(Some(audit), move |writing| {
            Box::pin(async move {
                let db = &writing.db;
                let removed = pools::Entity::delete_many().filter(pools::Column::Name.eq(&pool)).exec(db).await?;
                if removed.rows_affected == 0 {
                    return Err(StoreError::NotFound(format!("stored pool {pool}")));
                }
                settings::forget_scope(db, &pool).await?;
                keys::remove_of_pool(db, &pool).await
            })
        })
        .await
    }
}

//! Keys added at run time. What is secret of one, its text and its details (headers and egress may hold passwords), is
//! sealed for its pool and id.

use std::collections::{HashMap, HashSet};
use std::fmt;

use futures::{StreamExt, TryStreamExt};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait, QueryFilter, QuerySelect,
    sea_query::{Expr, OnConflict},
};

use super::Store;
use super::audit::Audit;
use super::entity::keys;
use super::error::StoreError;
use super::retention::RESTORABLE;
use super::seal::{Label, Sealer};
use super::text::{key_id, name, now};
use crate::config::{KeyId, Secret};

/// Rows of one statement: few enough that a request does not wait long for the core that runs it.
const ROWS: usize = 100;
/// Largest key with details (bytes): what every database's smallest blob takes.
const SEALED: usize = 65_000;

/// A key to add.
#[derive(Clone)]
pub struct NewKey {
    /// Its pool.
    pub pool: String,
    /// Its text, without white space.
    pub key: Secret,
    /// Its name; `None` = a fingerprint is shown.
    pub name: Option<String>,
    /// Everything else of it (account, weight, limits, headers, …), as JSON.
    pub details: String,
}

/// What becomes of a key; everything is replaced.
#[derive(Clone)]
pub struct KeyChange {
    /// Which.
    pub id: KeyId,
    /// Its name.
    pub name: Option<String>,
    /// Everything else of it, as JSON.
    pub details: String,
}

/// A key that was kept.
#[derive(Clone)]
pub struct StoredKey {
    /// Made of pool and text.
    pub id: KeyId,
    /// Its pool.
    pub pool: String,
    /// Its text.
    pub key: Secret,
    /// Its name.
    pub name: Option<String>,
    /// Everything else of it, as JSON.
    pub details: String,
    /// When it was added (Unix milliseconds).
    pub created_at: i64,
    /// When it was changed last (Unix milliseconds).
    pub updated_at: i64,
    /// When it was removed (Unix milliseconds); it can be restored for 7 days.
    pub removed_at: Option<i64>,
}

/// The details may hold passwords, so nobody prints them by mistake.
fn describe(f: &mut fmt::Formatter<'_>, what: &str, pool: &str, name: Option<&str>) -> fmt::Result {
    f.debug_struct(what).field("pool", &pool).field("name", &name).finish_non_exhaustive()
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(f, "NewKey", &self.pool, self.name.as_deref())
    }
}

impl fmt::Debug for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyChange").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(f, "StoredKey", &self.pool, self.name.as_deref())
    }
}

/// Where a key's secrets are sealed for.
fn with_label<T>(pool: &str, id: &[u8], then: impl FnOnce(Label<'_>) -> T) -> T {
    then(Label(&[b"stored_keys", pool.as_bytes(), id]))
}

/// A key is one word, so its details can follow in the next line.
fn seal(sealer: &Sealer, pool: &str, id: &[u8], key: &str, details: &str) -> Result<Vec<u8>, StoreError> {
    if key.is_empty() || key.contains('\n') {
        return Err(StoreError::Invalid("a key must be one word".into()));
    }
    let plain = zeroize::Zeroizing::new(format!("{key}\n{details}"));
    if plain.len() > SEALED {
        return Err(StoreError::Invalid(format!("a key with its details must have at most {SEALED} bytes")));
    }
    with_label(pool, id, |label| sealer.seal(label, plain.as_bytes()))
}

fn open(sealer: &Sealer, row: keys::Model) -> Result<StoredKey, StoreError> {
    let plain = with_label(&row.pool, &row.id, |label| sealer.open(label, &row.sealed))?;
    let strange = || StoreError::Damaged("a sealed key does not read".into());
    let (key, details) = std::str::from_utf8(&plain).ok().and_then(|text| text.split_once('\n')).ok_or_else(strange)?;
    Ok(StoredKey {
        id: key_id(&row.id)?,
        key: Secret::new(key.to_owned()),
        details: details.to_owned(),
        pool: row.pool,
        name: row.name,
        created_at: row.created_at,
        updated_at: row.updated_at,
        removed_at: row.removed_at,
    })
}

/// All keys, removed ones included.
pub(super) async fn load(db: &DatabaseConnection, sealer: &Sealer) -> Result<Vec<StoredKey>, StoreError> {
    // One by one: all rows at once would take far more memory than the keys, and keep it.
    let rows = keys::Entity::find().stream(db).await?;
    rows.map(|row| open(sealer, row?)).try_collect().await
}

/// Seals all keys anew.
pub(super) async fn seal_anew(db: &impl ConnectionTrait, sealer: &Sealer) -> Result<(), StoreError> {
    let rows = keys::Entity::find().all(db).await?;
    for chunk in rows.chunks(ROWS) {
        let mut anew = Vec::with_capacity(chunk.len());
        for row in chunk {
            let plain = with_label(&row.pool, &row.id, |label| sealer.open(label, &row.sealed))?;
            let sealed = with_label(&row.pool, &row.id, |label| sealer.seal(label, &plain))?;
            anew.push(active(keys::Model { sealed, ..row.clone() }));
        }
        upsert(db, anew).await?;
    }
    Ok(())
}

fn active(row: keys::Model) -> keys::ActiveModel {
    keys::ActiveModel {
        id: Set(row.id),
        pool: Set(row.pool),
        name: Set(row.name),
        sealed: Set(row.sealed),
        created_at: Set(row.created_at),
        updated_at: Set(row.updated_at),
        removed_at: Set(row.removed_at),
    }
}

async fn upsert(db: &impl ConnectionTrait, rows: Vec<keys::ActiveModel>) -> Result<(), StoreError> {
    use keys::Column::{CreatedAt, Id, Name, RemovedAt, Sealed, UpdatedAt};
    if rows.is_empty() {
        return Ok(());
    }
    let newest = OnConflict::column(Id).update_columns([Name, Sealed, CreatedAt, UpdatedAt, RemovedAt]).to_owned();
    keys::Entity::insert_many(rows).on_conflict(newest).exec_without_returning(db).await?;
    Ok(())
}

fn ids(keys: &[KeyId]) -> impl Iterator<Item = Vec<u8>> {
    keys.iter().map(|id| id.as_bytes().to_vec())
}

async fn rows_of(db: &impl ConnectionTrait, keys: &[KeyId]) -> Result<HashMap<Vec<u8>, keys::Model>, StoreError> {
    let rows = keys::Entity::find().filter(keys::Column::Id.is_in(ids(keys))).all(db).await?;
    Ok(rows.into_iter().map(|row| (row.id.clone(), row)).collect())
}

impl Store {
    /// Adds keys, all or none; a removed one comes back with the new name and details. Returns the ids of those that are
    /// new; keys that are there already, and repetitions, are left as they are.
    ///
    /// # Errors
    /// If it can't be written now, or a name or the details are too long.
    pub async fn add_keys(&self, new: Vec<NewKey>, audit: Audit) -> Result<Vec<KeyId>, StoreError> {
        for key in &new {
            name("pool's name", &key.pool)?;
            key.name.iter().try_for_each(|text| name("key's name", text).map(|_| ()))?;
        }
        let mut seen = HashSet::with_capacity(new.len());
        let new: Vec<(KeyId, NewKey)> = new
            .into_iter()
            .map(|key| (KeyId::of(&key.pool, key.key.expose()), key))
            .filter(|(id, _)| seen.insert(*id))
            .collect();
        self.write(Some(audit), move |writing| {
            Box::pin(async move {
                let mut added = Vec::with_capacity(new.len());
                for chunk in new.chunks(ROWS) {
                    added.extend(add(&writing.db, &writing.sealer, chunk).await?);
                }
                Ok(added)
            })
        })
        .await
    }

    /// Changes keys' names and details, all or none.
    ///
    /// # Errors
    /// If it can't be written now, a key is not there, or a name or the details are too long.
    pub async fn update_keys(&self, changes: Vec<KeyChange>, audit: Audit) -> Result<(), StoreError> {
        for change in &changes {
            change.name.iter().try_for_each(|text| name("key's name", text).map(|_| ()))?;
        }
        self.write(Some(audit), move |writing| {
            Box::pin(async move {
                for chunk in changes.chunks(ROWS) {
                    update(&writing.db, &writing.sealer, chunk).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Removes keys, all or none; they can be restored for 7 days. Returns those that were there.
    ///
    /// # Errors
    /// If it can't be written now.
    pub async fn remove_keys(&self, keys: Vec<KeyId>, audit: Audit) -> Result<Vec<KeyId>, StoreError> {
        self.write(Some(audit), move |writing| Box::pin(async move { switch(&writing.db, &keys, Some(now())).await }))
            .await
    }

    /// Brings removed keys back, all or none. Returns those that were removed and could be.
    ///
    /// # Errors
    /// If it can't be written now.
    pub async fn restore_keys(&self, keys: Vec<KeyId>, audit: Audit) -> Result<Vec<KeyId>, StoreError> {
        self.write(Some(audit), move |writing| Box::pin(async move { switch(&writing.db, &keys, None).await })).await
    }
}

async fn add(db: &impl ConnectionTrait, sealer: &Sealer, new: &[(KeyId, NewKey)]) -> Result<Vec<KeyId>, StoreError> {
    let wanted: Vec<KeyId> = new.iter().map(|(id, _)| *id).collect();
    let there: HashMap<Vec<u8>, bool> = keys::Entity::find()
        .select_only()
        .columns([keys::Column::Id, keys::Column::RemovedAt])
        .filter(keys::Column::Id.is_in(ids(&wanted)))
        .into_tuple::<(Vec<u8>, Option<i64>)>()
        .all(db)
        .await?
        .into_iter()
        .map(|(id, removed_at)| (id, removed_at.is_none()))
        .collect();
    let (mut added, mut rows) = (Vec::new(), Vec::new());
    let now = now();
    for (id, key) in new {
        let bytes = id.as_bytes().to_vec();
        if there.get(&bytes) == Some(&true) {
            continue;
        }
        let sealed = seal(sealer, &key.pool, &bytes, key.key.expose(), &key.details)?;
        let (pool, name) = (key.pool.clone(), key.name.clone());
        rows.push(active(keys::Model {
            id: bytes,
            pool,
            name,
            sealed,
            created_at: now,
            updated_at: now,
            removed_at: None,
        }));
        added.push(*id);
    }
    upsert(db, rows).await?;
    Ok(added)
}

async fn update(db: &impl ConnectionTrait, sealer: &Sealer, changes: &[KeyChange]) -> Result<(), StoreError> {
    let wanted: Vec<KeyId> = changes.iter().map(|change| change.id).collect();
    let mut there = rows_of(db, &wanted).await?;
    let mut rows = Vec::with_capacity(changes.len());
    for change in changes {
        let row = there.remove(change.id.as_bytes().as_slice()).filter(|row| row.removed_at.is_none());
        let row = row.ok_or_else(|| StoreError::NotFound(format!("stored key {}", change.id)))?;
        let key = open(sealer, row.clone())?.key;
        let sealed = seal(sealer, &row.pool, &row.id, key.expose(), &change.details)?;
        rows.push(active(keys::Model { name: change.name.clone(), sealed, updated_at: now(), ..row }));
    }
    upsert(db, rows).await
}

/// Removes (with the time) or restores keys.
async fn switch(
    db: &impl ConnectionTrait,
    wanted: &[KeyId],
    removed_at: Option<i64>,
) -> Result<Vec<KeyId>, StoreError> {
    use keys::Column::{Id, RemovedAt, UpdatedAt};
    let now = now();
    // Judged here: asked of the database, it may read all keys of that state by their index, for each chunk.
    let fits = |there: Option<i64>| match removed_at {
        Some(_) => there.is_none(),
        None => there.is_some_and(|at| at >= now - RESTORABLE),
    };
    let mut switched = Vec::new();
    for chunk in wanted.chunks(ROWS) {
        let there: Vec<(Vec<u8>, Option<i64>)> = keys::Entity::find()
            .select_only()
            .columns([Id, RemovedAt])
            .filter(Id.is_in(ids(chunk)))
            .into_tuple()
            .all(db)
            .await?;
        let found: Vec<Vec<u8>> = there.into_iter().filter(|(_, at)| fits(*at)).map(|(id, _)| id).collect();
        if found.is_empty() {
            continue;
        }
        keys::Entity::update_many()
            .col_expr(RemovedAt, Expr::value(removed_at))
            .col_expr(UpdatedAt, Expr::value(now))
            .filter(Id.is_in(found.iter().cloned()))
            .exec(db)
            .await?;
        for bytes in found {
            switched.push(key_id(&bytes)?);
        }
    }
    Ok(switched)
}

/// Removes all keys of a pool.
pub(super) async fn remove_of_pool(db: &impl ConnectionTrait, pool: &str) -> Result<(), StoreError> {
    use keys::Column::{Pool, RemovedAt, UpdatedAt};
    keys::Entity::update_many()
        .col_expr(RemovedAt, Expr::value(Some(now())))
        .col_expr(UpdatedAt, Expr::value(now()))
        .filter(Pool.eq(pool))
        .filter(RemovedAt.is_null())
        .exec(db)
        .await?;
    Ok(())
}

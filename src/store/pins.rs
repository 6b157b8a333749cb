//! Pins: which key made what (files, batches, responses, tasks), for nobody else may ask for it.
//!
//! Things are known by digests of their ids. A pin ends by its time, or when too many newer ones of its kind and pool
//! came: as many are kept as a pool remembers.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait, ExprTrait, QueryFilter,
    QueryOrder, QuerySelect, sea_query::OnConflict,
};

use super::Store;
use super::entity::pins;
use super::error::StoreError;
use super::text::{fits, key_id};
use crate::config::KeyId;

/// Rows of one statement.
const ROWS: usize = 500;

/// What a pin is known by: its pool and the thing's digest.
pub(super) type PinId = (String, [u8; 16]);

/// Which key made a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPin {
    /// The key's pool.
    pub pool: String,
    /// The digest of the thing's id.
    pub resource: [u8; 16],
    /// It lasts until somebody deletes it; otherwise it is soon of no use.
    pub is_lasting: bool,
    /// The key.
    pub key: KeyId,
    /// The target it was made at, by its authority.
    pub target: String,
    /// When it is forgotten (Unix milliseconds).
    pub until: i64,
}

impl StoredPin {
    pub(super) fn id(&self) -> PinId {
        (self.pool.clone(), self.resource)
    }

    /// A longer name can't be kept, and cut it would be another's.
    pub(super) fn fits(&self) -> bool {
        fits(&self.pool) && fits(&self.target)
    }
}

impl TryFrom<pins::Model> for StoredPin {
    type Error = StoreError;

    fn try_from(row: pins::Model) -> Result<Self, StoreError> {
        let strange = |_| StoreError::Damaged("the digest of a thing's id is not 16 bytes long".into());
        Ok(Self {
            pool: row.pool,
            resource: row.resource.as_slice().try_into().map_err(strange)?,
            is_lasting: row.kind != 0,
            key: key_id(&row.key_id)?,
            target: row.target,
            until: row.until,
        })
    }
}

/// Writes pins; the caller holds the turn.
pub(super) async fn write(db: &impl ConnectionTrait, rows: &[StoredPin]) -> Result<(), StoreError> {
    use pins::Column::{KeyId, Kind, Pool, Resource, Target, Until};
    let newest = OnConflict::columns([Pool, Resource]).update_columns([Kind, KeyId, Target, Until]).to_owned();
    for chunk in rows.chunks(ROWS) {
        let models = chunk.iter().map(|pin| pins::ActiveModel {
            pool: Set(pin.pool.clone()),
            resource: Set(pin.resource.to_vec()),
            kind: Set(pin.is_lasting.into()),
            key_id: Set(pin.key.as_bytes().to_vec()),
            target: Set(pin.target.clone()),
            until: Set(pin.until),
        });
        pins::Entity::insert_many(models).on_conflict(newest.clone()).exec_without_returning(db).await?;
    }
    Ok(())
}

/// Forgets pins whose time is over, and of each pool and kind the oldest beyond `room`.
pub(super) async fn forget(db: &DatabaseConnection, now: i64, room: u64) -> Result<(), StoreError> {
    use pins::Column::{Kind, Pool, Until};
    pins::Entity::delete_many().filter(Until.lt(now)).exec(db).await?;
    let kinds: Vec<(String, i16)> =
        pins::Entity::find().select_only().columns([Pool, Kind]).distinct().into_tuple().all(db).await?;
    for (pool, kind) in kinds {
        let of_kind = Pool.eq(pool).and(Kind.eq(kind));
        let newest = pins::Entity::find().select_only().column(Until).filter(of_kind.clone());
        let last: Option<i64> = newest.order_by_desc(Until).offset(room).limit(1).into_tuple().one(db).await?;
        if let Some(last) = last {
            pins::Entity::delete_many().filter(of_kind.and(Until.lte(last))).exec(db).await?;
        }
    }
    Ok(())
}

impl Store {
    /// All pins, the oldest first.
    ///
    /// # Errors
    /// If they can't be read now.
    pub async fn pins(&self) -> Result<Vec<StoredPin>, StoreError> {
        self.read(|db| {
            Box::pin(async move {
                let rows = pins::Entity::find().order_by_asc(pins::Column::Until).all(&db).await?;
                rows.into_iter().map(StoredPin::try_from).collect()
            })
        })
        .await
    }
}

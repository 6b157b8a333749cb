//! When what happens by a schedule happened last, so that what was missed is caught up.

use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, sea_query::OnConflict};

use super::Store;
use super::entity::meta;
use super::error::StoreError;

const PREFIX: &str = "reactivated ";

/// When all disabled keys of a pool were tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The pool.
    pub pool: String,
    /// By which schedule, as it is written.
    pub schedule: String,
    /// The moment (Unix milliseconds).
    pub at: i64,
}

impl Run {
    fn read(row: &meta::Model) -> Option<Self> {
        let pool = row.name.strip_prefix(PREFIX)?.to_owned();
        let (at, schedule) = std::str::from_utf8(&row.value).ok()?.split_once(' ')?;
        Some(Self { pool, schedule: schedule.to_owned(), at: at.parse().ok()? })
    }
}

async fn upsert(db: &impl ConnectionTrait, run: &Run) -> Result<(), StoreError> {
    let value = format!("{} {}", run.at, run.schedule).into_bytes();
    let row = meta::ActiveModel { name: Set(format!("{PREFIX}{}", run.pool)), value: Set(value) };
    let newest = OnConflict::column(meta::Column::Name).update_column(meta::Column::Value).to_owned();
    meta::Entity::insert(row).on_conflict(newest).exec_without_returning(db).await?;
    Ok(())
}

impl Store {
    /// The last reactivation of each pool.
    ///
    /// # Errors
    /// If they can't be read now.
    pub async fn last_runs(&self) -> Result<Vec<Run>, StoreError> {
        self.read(|db| {
            Box::pin(async move {
                let rows = meta::Entity::find().filter(meta::Column::Name.starts_with(PREFIX)).all(&db).await?;
                Ok(rows.iter().filter_map(Run::read).collect())
            })
        })
        .await
    }

    /// Keeps when a pool's keys were reactivated last.
    ///
    /// # Errors
    /// If it can't be written now.
    pub async fn note_run(&self, run: Run) -> Result<(), StoreError> {
        self.write(None, move |writing| Box::pin(async move { upsert(&writing.db, &run).await })).await
    }
}

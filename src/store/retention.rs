//! What is forgotten, and when: the request log by age and size, counters, removed keys, marks of lost keys, pins, the
//! audit.
//!
//! Done in small steps between the journal's writes, so that no write waits long behind it.

use std::sync::atomic::{AtomicI64, Ordering};

use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseConnection, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::OnConflict,
};

use super::counters::{Table, total};
use super::database::begin;
use super::entity::{audit, bodies, keys, marks, meta, requests, token_use};
use super::error::StoreError;
use super::fold::{fold, forget};
use super::pins;
use super::shared::Shared;
use super::text::{HOUR, first_id, now};
use crate::config;

const DAY: i64 = 24 * HOUR;
/// Rows of one step.
const ROWS: u64 = 1000;
/// How long a removed key can be restored (milliseconds).
pub const RESTORABLE: i64 = 7 * DAY;
/// How long marks are kept whose key is lost, or whose time was over.
const LOST_MARKS: i64 = 30 * DAY;
/// Who set a mark that has no end.
const OPERATOR: &str = "operator";
/// Pins of one pool and kind that are kept: as many as a pool remembers.
const PINS: u64 = 50_000;
/// How long the use of tokens and the audit are kept.
const RECORDS: i64 = 400 * DAY;
/// How long counters are kept at least: a month's statistics are made of them.
const COUNTERS: i64 = 31 * DAY;
/// How long they are kept by key and hour: the last day's statistics are made of those.
const HOURLY: i64 = 36 * HOUR;

/// What the request log and the counters may take. Both may change while the server runs.
pub(super) struct Limits {
    /// Milliseconds.
    age: AtomicI64,
    /// Bytes.
    size: AtomicI64,
}

impl Limits {
    pub(super) fn of(settings: &config::Store) -> Self {
        let limits = Self { age: AtomicI64::new(0), size: AtomicI64::new(0) };
        limits.set(settings);
        limits
    }

    /// From the next step on these hold.
    pub(super) fn set(&self, settings: &config::Store) {
        self.age.store(i64::try_from(settings.retention.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
        self.size.store(i64::try_from(settings.max_size).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    fn age(&self) -> i64 {
        self.age.load(Ordering::Relaxed)
    }

    fn size(&self) -> i64 {
        self.size.load(Ordering::Relaxed)
    }
}

/// Forgets a little; tells whether there is more. The caller has the turn.
pub(super) async fn step(shared: &Shared) -> Result<bool, StoreError> {
    let database = shared.database()?;
    let db = &database.journal;
    let now = now();
    let has_requests = forget_requests(shared, db, now).await?;
    let has_counters = tidy_counters(db, now, shared.limits.age()).await?;
    if has_requests || has_counters {
        return Ok(true);
    }
    keys::Entity::delete_many().filter(keys::Column::RemovedAt.lt(now - RESTORABLE)).exec(db).await?;
    // What an operator disabled stays so, however long ago the rest ended that it may have been in.
    let is_past = marks::Column::Until.lt(now - LOST_MARKS).and(marks::Column::SetBy.ne(OPERATOR));
    let is_over = marks::Column::OrphanedAt.lt(now - LOST_MARKS).or(is_past);
    marks::Entity::delete_many().filter(is_over).exec(db).await?;
    pins::forget(db, now, PINS).await?;
    token_use::Entity::delete_many()
        .filter(token_use::Column::Hour.lt((now - RECORDS).div_euclid(HOUR)))
        .exec(db)
        .await?;
    audit::Entity::delete_many().filter(audit::Column::Id.lt(first_id(now - RECORDS))).exec(db).await?;
    Ok(false)
}

async fn forget_requests(shared: &Shared, db: &DatabaseConnection, now: i64) -> Result<bool, StoreError> {
    let mut bytes = shared.log_bytes.load(Ordering::Relaxed);
    if bytes < 0 {
        bytes = sum_up(db).await?;
    }
    let oldest: Vec<(i64, i64)> = requests::Entity::find()
        .select_only()
        .columns([requests::Column::Id, requests::Column::Size])
        .order_by_asc(requests::Column::Id)
        .limit(ROWS)
        .into_tuple()
        .all(db)
        .await?;
    let too_old = first_id(now.saturating_sub(shared.limits.age()));
    let (mut last, mut forgotten) = (None, 0);
    for (id, size) in oldest {
        if id >= too_old && bytes <= shared.limits.size() {
            break;
        }
        bytes -= size;
        last = Some(id);
        forgotten += 1;
    }
    if let Some(last) = last {
        let tx = begin(db).await?;
        requests::Entity::delete_many().filter(requests::Column::Id.lte(last)).exec(&tx).await?;
        bodies::Entity::delete_many().filter(bodies::Column::Id.lte(last)).exec(&tx).await?;
        tx.commit().await?;
    }
    shared.log_bytes.store(bytes, Ordering::Relaxed);
    Ok(forgotten == ROWS)
}

async fn sum_up(db: &DatabaseConnection) -> Result<i64, StoreError> {
    let sum = total(db.get_database_backend(), requests::Column::Size);
    let found: Option<i64> =
        requests::Entity::find().select_only().column_as(sum, "bytes").into_tuple().one(db).await?;
    Ok(found.unwrap_or_default())
}

/// Makes old counters coarser, and forgets the oldest; tells whether there is more.
async fn tidy_counters(db: &DatabaseConnection, now: i64, age: i64) -> Result<bool, StoreError> {
    let hour = |age: i64| now.saturating_sub(age).div_euclid(HOUR);
    let too_old = hour(Ord::max(age, COUNTERS));
    let mut has_more = fold(db, hour(HOURLY)).await?;
    for table in [Table::Daily, Table::OfPools] {
        // A day is over when its last hour is too old.
        let before = if table == Table::Daily { too_old.div_euclid(24) * 24 } else { too_old };
        has_more |= forget(db, table, before).await?;
    }
    Ok(has_more)
}

/// Writes one small row: does the database take writes again?
pub(super) async fn touch(db: &DatabaseConnection) -> Result<(), StoreError> {
    let row = meta::ActiveModel { name: Set("touched".into()), value: Set(now().to_be_bytes().to_vec()) };
    let newest = OnConflict::column(meta::Column::Name).update_column(meta::Column::Value).to_owned();
    meta::Entity::insert(row).on_conflict(newest).exec_without_returning(db).await?;
    Ok(())
}

//! Counters grow coarser with age: each key's hours become a day, and all keys' hours one of their pool.
//!
//! Without that a month of 100,000 keys would be tens of millions of rows. A row is in one place at any time, so a sum
//! over the tables is right at any moment. Done in small steps, each a transaction.

use std::collections::BTreeMap;

use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, Order, Query},
};

use super::counters::{KeyUse, Table, Use, add};
use super::database::begin;
use super::entity::counters::{self, Column};
use super::error::StoreError;
use super::text::key_id;

/// Rows of one step.
const ROWS: u64 = 2000;

/// Folds some counters of the oldest hour, if that is before `before`; tells whether there may be more.
pub(super) async fn fold(db: &DatabaseConnection, before: i64) -> Result<bool, StoreError> {
    let Some(hour) = oldest(db, Table::Hourly).await?.filter(|hour| *hour < before) else { return Ok(false) };
    let rows = counters::Entity::find().filter(Column::Hour.eq(hour));
    let rows = rows.order_by_asc(Column::KeyId).order_by_asc(Column::Model).limit(ROWS).all(db).await?;
    let Some(last) = rows.last() else { return Ok(false) };
    let is_one = Column::KeyId.lt(last.key_id.clone());
    let is_one = is_one.or(Column::KeyId.eq(last.key_id.clone()).and(Column::Model.lte(last.model.clone())));
    let uses = rows.iter().map(as_use).collect::<Result<Vec<_>, _>>()?;
    let tx = begin(db).await?;
    let days: Vec<KeyUse> = uses.iter().map(|row| KeyUse { hour: hour.div_euclid(24) * 24, ..row.clone() }).collect();
    add(&tx, Table::Daily, &days).await?;
    add(&tx, Table::OfPools, &of_pools(uses)).await?;
    counters::Entity::delete_many().filter(Column::Hour.eq(hour)).filter(is_one).exec(&tx).await?;
    tx.commit().await?;
    Ok(true)
}

fn as_use(row: &counters::Model) -> Result<KeyUse, StoreError> {
    let columns = [row.requests, row.failures, row.prompt_tokens, row.completion_tokens, row.duration_ms];
    Ok(KeyUse {
        hour: row.hour,
        key: key_id(&row.key_id)?,
        model: row.model.clone(),
        pool: row.pool.clone(),
        sum: Use::from_columns(columns),
    })
}

/// One row for each pool and model of an hour.
fn of_pools(uses: Vec<KeyUse>) -> Vec<KeyUse> {
    let mut sums: BTreeMap<(String, String), KeyUse> = BTreeMap::new();
    for row in uses {
        let sum = row.sum;
        let empty = KeyUse { sum: Use::default(), ..row };
        sums.entry((empty.pool.clone(), empty.model.clone())).or_insert(empty).sum += sum;
    }
    sums.into_values().collect()
}

/// Forgets some of the oldest hour's or day's counters, if that is before `before`; tells whether there may be more.
pub(super) async fn forget(db: &DatabaseConnection, table: Table, before: i64) -> Result<bool, StoreError> {
    let Some(hour) = oldest(db, table).await?.filter(|hour| *hour < before) else { return Ok(false) };
    let mut delete = Query::delete();
    delete.from_table(table.name()).and_where(Expr::col("hour").eq(hour));
    if table != Table::OfPools {
        let mut bound = Query::select();
        bound.column("key_id").from(table.name()).and_where(Expr::col("hour").eq(hour));
        bound.order_by("key_id", Order::Asc).offset(ROWS).limit(1);
        if let Some(row) = db.query_one(&bound).await? {
            delete.and_where(Expr::col("key_id").lte(row.try_get::<Vec<u8>>("", "key_id")?));
        }
    }
    db.execute(&delete).await?;
    Ok(true)
}

async fn oldest(db: &DatabaseConnection, table: Table) -> Result<Option<i64>, StoreError> {
    let mut query = Query::select();
    query.column("hour").from(table.name()).order_by("hour", Order::Asc).limit(1);
    Ok(db.query_one(&query).await?.map(|row| row.try_get("", "hour")).transpose()?)
}

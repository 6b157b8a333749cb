//! Counters: the use of each key by model and hour, and of each client token by hour.
//!
//! 100,000 keys make millions of sums a day, so those of keys grow coarser with age: what is [older](super::fold) is kept
//! by the day for each key, and by the hour for each pool.

use std::collections::{BTreeMap, HashMap};
use std::ops::AddAssign;

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, ExprTrait, IntoSimpleExpr, QueryFilter, QueryOrder,
    QueryResult, QuerySelect,
    sea_query::{Expr, Func, OnConflict, Query, SelectStatement, SimpleExpr},
};

use super::Store;
use super::entity::token_use;
use super::error::StoreError;
use super::text::{HOUR, key_id, now, short};
use crate::config::KeyId;

/// Rows of one statement.
const ROWS: usize = 500;

/// How much something was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Use {
    /// Requests.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
    /// Tokens read by the model.
    pub prompt_tokens: u64,
    /// Tokens written by the model.
    pub completion_tokens: u64,
    /// Time the requests took (milliseconds).
    pub duration_ms: u64,
    /// What the client was charged (billionths); of tokens only.
    pub cost: u64,
}

/// A key's use to add.
#[derive(Clone)]
pub(super) struct KeyUse {
    pub(super) hour: i64,
    pub(super) key: KeyId,
    pub(super) model: String,
    pub(super) pool: String,
    pub(super) sum: Use,
}

/// A token's use to add.
#[derive(Clone)]
pub(super) struct TokenUse {
    pub(super) hour: i64,
    pub(super) token: String,
    pub(super) sum: Use,
}

/// What sums are made by, beside the hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// One sum per hour.
    Hour,
    /// Per hour and pool.
    Pool,
    /// Per hour and model.
    Model,
    /// Per hour and key.
    Key,
}

impl By {
    fn column(self) -> Option<&'static str> {
        match self {
            Self::Hour => None,
            Self::Pool => Some("pool"),
            Self::Model => Some("model"),
            Self::Key => Some("key_id"),
        }
    }
}

/// Which use is asked for.
#[derive(Debug, Clone)]
pub struct CounterFilter {
    /// From the hour of this moment (Unix milliseconds) …
    pub from: i64,
    /// … up to the one before this.
    pub to: i64,
    /// Of this pool.
    pub pool: Option<String>,
    /// Of this key.
    pub key: Option<KeyId>,
    /// For this model.
    pub model: Option<String>,
    /// How it is summed.
    pub by: By,
}

/// A sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The hour's start (Unix milliseconds).
    pub hour: i64,
    /// The pool's or model's name; empty by hour and by key.
    pub name: String,
    /// The key, by key.
    pub key: Option<KeyId>,
    /// The sum.
    pub sum: Use,
}

impl AddAssign for Use {
    fn add_assign(&mut self, more: Self) {
        self.requests += more.requests;
        self.failures += more.failures;
        self.prompt_tokens += more.prompt_tokens;
        self.completion_tokens += more.completion_tokens;
        self.duration_ms += more.duration_ms;
        self.cost = self.cost.saturating_add(more.cost);
    }
}

impl Use {
    /// In the order of the columns.
    fn columns(self) -> [i64; 5] {
        [self.requests, self.failures, self.prompt_tokens, self.completion_tokens, self.duration_ms]
            .map(|number| i64::try_from(number).unwrap_or(i64::MAX))
    }

    pub(super) fn from_columns(columns: [i64; 5]) -> Self {
        let [requests, failures, prompt_tokens, completion_tokens, duration_ms] =
            columns.map(|number| u64::try_from(number).unwrap_or_default());
        Self { requests, failures, prompt_tokens, completion_tokens, duration_ms, cost: 0 }
    }
}

/// A table of keys' use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// By hour, key and model: what is young.
    Hourly,
    /// By day, key and model; the hour is the day's first.
    Daily,
    /// By hour, pool and model.
    OfPools,
}

/// What is summed, as columns.
const SUMS: [&str; 5] = ["requests", "failures", "prompt_tokens", "completion_tokens", "duration_ms"];

impl Table {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hourly => "counters",
            Self::Daily => "daily_counters",
            Self::OfPools => "pool_counters",
        }
    }

    fn primary_key(self) -> [&'static str; 3] {
        if self == Self::OfPools { ["hour", "pool", "model"] } else { ["hour", "key_id", "model"] }
    }
}

/// A column that is added to what is there, in the words of each database.
fn sum(backend: DbBackend, table: &'static str, column: &'static str) -> SimpleExpr {
    let new = match backend {
        DbBackend::MySql => Func::cust("VALUES").arg(Expr::col(column)).into(),
        _ => Expr::col(("excluded", column)),
    };
    Expr::col((table, column)).add(new)
}

fn or_add(backend: DbBackend, table: &'static str, primary_key: impl IntoIterator<Item = &'static str>) -> OnConflict {
    OnConflict::columns(primary_key).values(SUMS.map(|column| (column, sum(backend, table, column)))).to_owned()
}

/// Adds keys' use. No two rows may be the same in the table's primary key.
pub(super) async fn add(db: &impl ConnectionTrait, table: Table, rows: &[KeyUse]) -> Result<(), StoreError> {
    let has_keys = table != Table::OfPools;
    let columns = ["hour", "model", "pool"].into_iter().chain(SUMS).chain(has_keys.then_some("key_id"));
    let mut insert = Query::insert();
    insert.into_table(table.name()).columns(columns);
    insert.on_conflict(or_add(db.get_database_backend(), table.name(), table.primary_key()));
    for chunk in rows.chunks(ROWS) {
        let mut insert = insert.clone();
        for row in chunk {
            let named = [row.hour.into(), row.model.clone().into(), short(&row.pool).into()];
            let key = has_keys.then(|| row.key.as_bytes().to_vec().into());
            insert.values_panic(named.into_iter().chain(row.sum.columns().map(SimpleExpr::from)).chain(key));
        }
        db.execute(&insert).await?;
    }
    Ok(())
}

/// Adds tokens' use.
pub(super) async fn add_tokens(db: &impl ConnectionTrait, rows: &[TokenUse]) -> Result<(), StoreError> {
    let backend = db.get_database_backend();
    let mut on_conflict = or_add(backend, "token_use", ["hour", "token"]);
    on_conflict.value("cost", sum(backend, "token_use", "cost"));
    for chunk in rows.chunks(ROWS) {
        let models = chunk.iter().map(|row| {
            let [requests, failures, prompt_tokens, completion_tokens, duration_ms] = row.sum.columns();
            token_use::ActiveModel {
                hour: Set(row.hour),
                token: Set(row.token.clone()),
                requests: Set(requests),
                failures: Set(failures),
                prompt_tokens: Set(prompt_tokens),
                completion_tokens: Set(completion_tokens),
                duration_ms: Set(duration_ms),
                cost: Set(i64::try_from(row.sum.cost).unwrap_or(i64::MAX)),
            }
        });
        token_use::Entity::insert_many(models).on_conflict(on_conflict.clone()).exec_without_returning(db).await?;
    }
    Ok(())
}

/// A sum as a 64-bit integer, which not every database makes of it by itself.
pub(super) fn total(backend: DbBackend, column: impl IntoSimpleExpr) -> SimpleExpr {
    let integer = if backend == DbBackend::MySql { "signed" } else { "bigint" };
    let sum: SimpleExpr = Func::sum(column.into_simple_expr()).into();
    Expr::from(Func::coalesce([sum, Expr::val(0)])).cast_as(integer)
}

impl Store {
    /// Use of keys, summed as asked, by rising hours. Single keys' older use is told by the day (UTC), at its first hour.
    ///
    /// # Errors
    /// If it can't be read now.
    pub async fn counters(&self, filter: CounterFilter) -> Result<Vec<Counted>, StoreError> {
        self.read(move |db| Box::pin(async move { read_counters(&db, filter).await })).await
    }

    /// Use of these keys from the hour of `from` (Unix milliseconds) on; of a key that was not used nothing is told.
    ///
    /// # Errors
    /// If it can't be read now.
    pub async fn key_use(&self, keys: Vec<KeyId>, from: i64) -> Result<HashMap<KeyId, Use>, StoreError> {
        self.read(move |db| Box::pin(async move { read_key_use(&db, keys, from).await })).await
    }

    /// Use of a client token from the hour of `from` (Unix milliseconds) on.
    ///
    /// # Errors
    /// If it can't be read now.
    pub async fn token_use(&self, token: String, from: i64) -> Result<Vec<Counted>, StoreError> {
        self.read(move |db| {
            Box::pin(async move {
                let rows = token_use::Entity::find()
                    .filter(token_use::Column::Token.eq(token))
                    .filter(token_use::Column::Hour.gte(from.div_euclid(HOUR)))
                    .order_by_asc(token_use::Column::Hour)
                    .all(&db)
                    .await?;
                let counted = |row: token_use::Model| {
                    let cost = u64::try_from(row.cost).unwrap_or_default();
                    let columns =
                        [row.requests, row.failures, row.prompt_tokens, row.completion_tokens, row.duration_ms];
                    let sum = Use { cost, ..Use::from_columns(columns) };
                    Counted { hour: row.hour * HOUR, name: row.token, key: None, sum }
                };
                Ok(rows.into_iter().map(counted).collect())
            })
        })
        .await
    }

    /// What each client token was charged from the hour of `from` (Unix milliseconds) on (billionths).
    ///
    /// # Errors
    /// If it can't be read now.
    pub async fn charged(&self, from: i64) -> Result<HashMap<String, u64>, StoreError> {
        self.read(move |db| {
            Box::pin(async move {
                let sum = total(db.get_database_backend(), token_use::Column::Cost);
                let rows: Vec<(String, i64)> = token_use::Entity::find()
                    .select_only()
                    .column(token_use::Column::Token)
                    .column_as(sum, "cost")
                    .filter(token_use::Column::Hour.gte(from.div_euclid(HOUR)))
                    .group_by(token_use::Column::Token)
                    .into_tuple()
                    .all(&db)
                    .await?;
                Ok(rows.into_iter().map(|(token, cost)| (token, u64::try_from(cost).unwrap_or_default())).collect())
            })
        })
        .await
    }
}

async fn read_counters(db: &impl ConnectionTrait, filter: CounterFilter) -> Result<Vec<Counted>, StoreError> {
    let is_of_keys = filter.key.is_some() || filter.by == By::Key;
    let mut sums: BTreeMap<(i64, String, Option<KeyId>), Use> = BTreeMap::new();
    for table in [Table::Hourly, if is_of_keys { Table::Daily } else { Table::OfPools }] {
        for row in db.query_all(&select(db.get_database_backend(), table, &filter)).await? {
            let (at, sum) = counted(&row, filter.by)?;
            *sums.entry(at).or_default() += sum;
        }
    }
    Ok(sums.into_iter().map(|((hour, name, key), sum)| Counted { hour, name, key, sum }).collect())
}

async fn read_key_use(
    db: &impl ConnectionTrait,
    keys: Vec<KeyId>,
    from: i64,
) -> Result<HashMap<KeyId, Use>, StoreError> {
    let mut query = Query::select();
    query.column("key_id").from(Table::Hourly.name()).group_by_col("key_id");
    // The rows are in the order of hours: with each hour named, other keys' are passed over.
    query.and_where(Expr::col("hour").is_in(from.div_euclid(HOUR)..=now().div_euclid(HOUR)));
    query.and_where(Expr::col("key_id").is_in(keys.iter().map(|key| key.as_bytes().to_vec())));
    for column in SUMS {
        query.expr_as(total(db.get_database_backend(), Expr::col(column)), column);
    }
    let rows = db.query_all(&query).await?;
    rows.iter().map(|row| Ok((key_id(&row.try_get::<Vec<u8>>("", "key_id")?)?, summed(row)?))).collect()
}

fn select(backend: DbBackend, table: Table, filter: &CounterFilter) -> SelectStatement {
    let from = filter.from.div_euclid(HOUR);
    // A day that has begun before counts as a whole: more is not known of it.
    let from = if table == Table::Daily { from.div_euclid(24) * 24 } else { from };
    let mut query = Query::select();
    query.column("hour").from(table.name()).group_by_col("hour");
    query.and_where(Expr::col("hour").gte(from)).and_where(Expr::col("hour").lt(filter.to.div_euclid(HOUR)));
    query.and_where_option(filter.pool.clone().map(|pool| Expr::col("pool").eq(pool)));
    query.and_where_option(filter.model.clone().map(|model| Expr::col("model").eq(model)));
    query.and_where_option(filter.key.map(|key| Expr::col("key_id").eq(key.as_bytes().to_vec())));
    for column in SUMS {
        query.expr_as(total(backend, Expr::col(column)), column);
    }
    if let Some(column) = filter.by.column() {
        query.column(column).group_by_col(column);
    }
    query
}

/// What a sum is of: the hour's begin (Unix milliseconds), the name or key it is grouped by.
type Group = (i64, String, Option<KeyId>);

fn counted(row: &QueryResult, by: By) -> Result<(Group, Use), StoreError> {
    let (name, key) = match by.column() {
        None => (String::new(), None),
        Some(column) if by == By::Key => (String::new(), Some(key_id(&row.try_get::<Vec<u8>>("", column)?)?)),
        Some(column) => (row.try_get("", column)?, None),
    };
    Ok(((row.try_get::<i64>("", "hour")? * HOUR, name, key), summed(row)?))
}

fn summed(row: &QueryResult) -> Result<Use, StoreError> {
    let [requests, failures, prompt_tokens, completion_tokens, duration_ms] =
        SUMS.map(|column| row.try_get::<i64>("", column));
    Ok(Use::from_columns([requests?, failures?, prompt_tokens?, completion_tokens?, duration_ms?]))
}

//! Counters: the use of each key by model and hour, and of each client token by hour.

use std::collections::HashMap;
use std::ops::AddAssign;

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, ExprTrait, IdenStatic, IntoSimpleExpr, QueryFilter,
    QueryOrder, QueryResult, QuerySelect, QueryTrait,
    sea_query::{Expr, Func, OnConflict, SimpleExpr},
};

use super::Store;
use super::audit::FilterIf;
use super::entity::{counters, token_use};
use super::error::StoreError;
use super::text::{HOUR, key_id, short};
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

    fn from_columns(columns: [i64; 5]) -> Self {
        let [requests, failures, prompt_tokens, completion_tokens, duration_ms] =
            columns.map(|number| u64::try_from(number).unwrap_or_default());
        Self { requests, failures, prompt_tokens, completion_tokens, duration_ms, cost: 0 }
    }
}

/// A column that is added to what is there, in the words of each database.
fn sum<C: ColumnTrait>(backend: DbBackend, table: &'static str, column: C) -> SimpleExpr {
    let name = column.as_str();
    let new = match backend {
        DbBackend::MySql => Func::cust("VALUES").arg(Expr::col(name)).into(),
        _ => Expr::col(("excluded", name)),
    };
    Expr::col((table, name)).add(new)
}

/// Adds keys' use.
pub(super) async fn add(db: &impl ConnectionTrait, rows: &[KeyUse]) -> Result<(), StoreError> {
    use counters::Column::{CompletionTokens, DurationMs, Failures, Hour, KeyId, Model, PromptTokens, Requests};
    let summed = [Requests, Failures, PromptTokens, CompletionTokens, DurationMs]
        .map(|column| (column, sum(db.get_database_backend(), "counters", column)));
    let on_conflict = OnConflict::columns([Hour, KeyId, Model]).values(summed).to_owned();
    for chunk in rows.chunks(ROWS) {
        let models = chunk.iter().map(|row| {
            let [requests, failures, prompt_tokens, completion_tokens, duration_ms] = row.sum.columns();
            counters::ActiveModel {
                hour: Set(row.hour),
                key_id: Set(row.key.as_bytes().to_vec()),
                model: Set(row.model.clone()),
                pool: Set(short(&row.pool)),
                requests: Set(requests),
                failures: Set(failures),
                prompt_tokens: Set(prompt_tokens),
                completion_tokens: Set(completion_tokens),
                duration_ms: Set(duration_ms),
            }
        });
        counters::Entity::insert_many(models).on_conflict(on_conflict.clone()).exec_without_returning(db).await?;
    }
    Ok(())
}

/// Adds tokens' use.
pub(super) async fn add_tokens(db: &impl ConnectionTrait, rows: &[TokenUse]) -> Result<(), StoreError> {
    use token_use::Column::{CompletionTokens, Cost, DurationMs, Failures, Hour, PromptTokens, Requests, Token};
    let summed = [Requests, Failures, PromptTokens, CompletionTokens, DurationMs, Cost]
        .map(|column| (column, sum(db.get_database_backend(), "token_use", column)));
    let on_conflict = OnConflict::columns([Hour, Token]).values(summed).to_owned();
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
    /// Use of keys, summed as asked, by rising hours.
    ///
    /// # Errors
    /// If it can't be read now.
    pub async fn counters(&self, filter: CounterFilter) -> Result<Vec<Counted>, StoreError> {
        self.read(move |db| Box::pin(async move { read_counters(&db, filter).await })).await
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
    use counters::Column::{CompletionTokens, DurationMs, Failures, Hour, KeyId, Model, Pool, PromptTokens, Requests};
    let backend = db.get_database_backend();
    let mut query = counters::Entity::find()
        .select_only()
        .column(Hour)
        .filter(Hour.gte(filter.from.div_euclid(HOUR)))
        .filter(Hour.lt(filter.to.div_euclid(HOUR)))
        .filter_if(Pool, filter.pool)
        .filter_if(Model, filter.model)
        .filter_if(KeyId, filter.key.map(|key| key.as_bytes().to_vec()))
        .group_by(Hour)
        .order_by_asc(Hour);
    for column in [Requests, Failures, PromptTokens, CompletionTokens, DurationMs] {
        query = query.column_as(total(backend, column), column.as_str());
    }
    let group = match filter.by {
        By::Hour => None,
        By::Pool => Some(Pool),
        By::Model => Some(Model),
        By::Key => Some(KeyId),
    };
    if let Some(column) = group {
        query = query.column(column).group_by(column).order_by_asc(column);
    }
    let counted = |row: QueryResult| -> Result<Counted, StoreError> {
        let number = |column: counters::Column| row.try_get::<i64>("", column.as_str());
        let (name, key) = match group {
            None => (String::new(), None),
            Some(KeyId) => (String::new(), Some(key_id(&row.try_get::<Vec<u8>>("", KeyId.as_str())?)?)),
            Some(column) => (row.try_get("", column.as_str())?, None),
        };
        let [requests, failures] = [number(Requests)?, number(Failures)?];
        let [prompt_tokens, completion_tokens] = [number(PromptTokens)?, number(CompletionTokens)?];
        let sum = Use::from_columns([requests, failures, prompt_tokens, completion_tokens, number(DurationMs)?]);
        Ok(Counted { hour: number(Hour)? * HOUR, name, key, sum })
    };
    db.query_all(&query.into_query()).await?.into_iter().map(counted).collect()
}

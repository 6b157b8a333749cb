//! A batch on its way to the database. Whatever of it was not committed goes back to the journal, also if the writer is
//! stopped in the middle.

use std::future::Future;

use sea_orm::{ConnectionTrait, DatabaseConnection};

use super::super::counters::{self, KeyUse, Table, TokenUse};
use super::super::database::begin;
use super::super::error::StoreError;
use super::super::health::Pending;
use super::super::marks::{self, MarkRow};
use super::super::pins::{self, StoredPin};
use super::super::requests::{self, RequestRow};
use super::{Journal, REQUESTS};

/// Rows of one transaction. One large enough to be cheap, and small enough not to keep others waiting.
const ROWS: usize = 5000;

/// What the journal held.
pub(super) struct Batch {
    journal: Journal,
    marks: Vec<MarkRow>,
    pins: Vec<StoredPin>,
    keys: Vec<KeyUse>,
    tokens: Vec<TokenUse>,
    requests: Vec<RequestRow>,
}

/// Rows of one table.
trait Row: Sized + Clone + Send + Sync {
    /// Writes them, in the caller's transaction.
    fn write<C: ConnectionTrait>(db: &C, rows: &[Self]) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl Row for MarkRow {
    async fn write<C: ConnectionTrait>(db: &C, rows: &[Self]) -> Result<(), StoreError> {
        marks::write(db, rows).await
    }
}

impl Row for StoredPin {
    async fn write<C: ConnectionTrait>(db: &C, rows: &[Self]) -> Result<(), StoreError> {
        pins::write(db, rows).await
    }
}

impl Row for KeyUse {
    async fn write<C: ConnectionTrait>(db: &C, rows: &[Self]) -> Result<(), StoreError> {
        counters::add(db, Table::Hourly, rows).await
    }
}

impl Row for TokenUse {
    async fn write<C: ConnectionTrait>(db: &C, rows: &[Self]) -> Result<(), StoreError> {
        counters::add_tokens(db, rows).await
    }
}

impl Row for RequestRow {
    async fn write<C: ConnectionTrait>(db: &C, rows: &[Self]) -> Result<(), StoreError> {
        requests::write(db, rows).await
    }
}

impl Batch {
    /// Everything the journal holds.
    pub(super) fn take(journal: &Journal) -> Self {
        let mut leaving = journal.0.leaving.lock();
        let marks = std::mem::take(&mut *journal.0.marks.lock());
        let pins = std::mem::take(&mut *journal.0.pins.lock());
        let counts = std::mem::take(&mut *journal.0.counts.lock());
        let requests = std::mem::take(&mut *journal.0.requests.lock());
        *leaving =
            Pending { marks: marks.len(), pins: pins.len(), counters: counts.total, requests: requests.rows.len() };
        let keys = counts.keys.into_iter().flat_map(|((hour, key), models)| {
            models.into_iter().map(move |known| KeyUse {
                hour,
                key,
                model: known.model.into(),
                pool: known.pool.into(),
                sum: known.sum,
            })
        });
        let tokens = counts.tokens.into_iter().flat_map(|(hour, tokens)| {
            tokens.into_iter().map(move |(token, sum)| TokenUse { hour, token: token.into(), sum })
        });
        Self {
            journal: journal.clone(),
            marks: marks.into_iter().map(|((key, subject), mark)| (key, subject, mark)).collect(),
            pins: pins.into_values().collect(),
            keys: keys.collect(),
            tokens: tokens.collect(),
            requests: requests.rows.into(),
        }
    }

    /// Writes all of it, what matters most first; tells how many bytes the request log grew.
    pub(super) async fn write(&mut self, db: &DatabaseConnection) -> Result<i64, StoreError> {
        let Self { journal, marks, pins, keys, tokens, requests } = self;
        let before: i64 = requests.iter().map(|row| row.row.size).sum();
        write_rows(journal, db, marks).await?;
        write_rows(journal, db, pins).await?;
        write_rows(journal, db, keys).await?;
        write_rows(journal, db, tokens).await?;
        write_rows(journal, db, requests).await?;
        Ok(before)
    }
}

/// Writes rows by the transaction and takes off what is committed.
async fn write_rows<R: Row>(journal: &Journal, db: &DatabaseConnection, rows: &mut Vec<R>) -> Result<(), StoreError> {
    while !rows.is_empty() {
        let kept = rows.len().saturating_sub(ROWS);
        let last = rows.get(kept..).unwrap_or_default();
        match commit(db, last).await {
            Err(error) if error.is_outage() => return Err(error),
            // One row the database refuses must not hold up the others.
            Err(_) => one_by_one(journal, db, last).await?,
            Ok(()) => {}
        }
        rows.truncate(kept);
    }
    Ok(())
}

async fn commit<R: Row>(db: &DatabaseConnection, rows: &[R]) -> Result<(), StoreError> {
    let tx = begin(db).await?;
    R::write(&tx, rows).await?;
    Ok(tx.commit().await?)
}

async fn one_by_one<R: Row>(journal: &Journal, db: &DatabaseConnection, rows: &[R]) -> Result<(), StoreError> {
    for row in rows {
        match commit(db, std::slice::from_ref(row)).await {
            Err(error) if error.is_outage() => return Err(error),
            Err(error) => {
                log::warn!(error:%; "The database refuses a row of the journal; it is dropped.");
                journal.drop_rows(1);
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

impl Drop for Batch {
    fn drop(&mut self) {
        let mut leaving = self.journal.0.leaving.lock();
        *leaving = Pending::default();
        self.journal.put_back(std::mem::take(&mut self.marks));
        let mut pins = self.journal.0.pins.lock();
        for pin in self.pins.drain(..) {
            pins.entry(pin.id()).or_insert(pin);
        }
        drop(pins);
        let mut counts = self.journal.0.counts.lock();
        self.keys.drain(..).for_each(|key| counts.add(key));
        self.tokens.drain(..).for_each(|token| counts.add_token(token));
        drop(counts);
        let mut requests = self.journal.0.requests.lock();
        for row in self.requests.drain(..).rev() {
            if requests.rows.len() >= REQUESTS {
                self.journal.drop_rows(1);
                continue;
            }
            requests.bytes += row.bytes();
            requests.rows.push_front(row);
        }
    }
}

//! The audit: who changed what, written in the transaction that changes it.

use std::net::IpAddr;

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::Store;
use super::entity::audit;
use super::error::StoreError;
use super::shared::Writing;
use super::text::{clip, first_id, now, short, time_of};

/// Longest details (characters).
const DETAILS: usize = 8192;
/// Longest page.
const PAGE: u64 = 1000;

/// What is noted about a write. It must hold no secret.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// Who: the user's or token's name.
    pub actor: String,
    /// From where.
    pub address: Option<IpAddr>,
    /// What, e.g. `keys.import`.
    pub action: String,
    /// On what: a pool, a key's id, a token's name.
    pub subject: String,
    /// The rest, as JSON: counts, old and new fingerprints.
    pub details: String,
}

/// A line of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place in the order; also the cursor behind it.
    pub id: i64,
    /// When (Unix milliseconds).
    pub at: i64,
    /// Who.
    pub actor: String,
    /// From where; empty = unknown.
    pub address: String,
    /// What.
    pub action: String,
    /// On what.
    pub subject: String,
    /// The rest, as JSON.
    pub details: String,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Who.
    pub actor: Option<String>,
    /// What.
    pub action: Option<String>,
    /// On what.
    pub subject: Option<String>,
    /// From this moment on (Unix milliseconds).
    pub since: Option<i64>,
    /// Before this moment (Unix milliseconds).
    pub until: Option<i64>,
}

/// Some lines, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// The lines.
    pub rows: Vec<AuditRow>,
    /// Where the next page starts, if there is one.
    pub next: Option<i64>,
}

pub(super) async fn write(writing: &Writing, entry: Audit) -> Result<(), StoreError> {
    let row = audit::ActiveModel {
        id: Set(writing.shared.ids.next(now())),
        actor: Set(short(&entry.actor)),
        address: Set(entry.address.map(|address| address.to_string()).unwrap_or_default()),
        action: Set(short(&entry.action)),
        subject: Set(short(&entry.subject)),
        details: Set(clip(&entry.details, DETAILS)),
    };
    audit::Entity::insert(row).exec_without_returning(&writing.db).await?;
    Ok(())
}

impl Store {
    /// Notes something that changes nothing in the store: an export, a failed login.
    ///
    /// # Errors
    /// If it can't be written now.
    pub async fn note(&self, entry: Audit) -> Result<(), StoreError> {
        self.write(Some(entry), |_| Box::pin(async { Ok(()) })).await
    }

    /// A page of the audit, newest first, of at most 1,000 lines; `before` is the cursor of the page before.
    ///
    /// # Errors
    /// If it can't be read now.
    pub async fn audit(&self, filter: AuditFilter, before: Option<i64>, limit: u64) -> Result<AuditPage, StoreError> {
        let limit = limit.clamp(1, PAGE);
        self.read(move |db| {
            Box::pin(async move {
                let mut query = audit::Entity::find().order_by_desc(audit::Column::Id).limit(limit);
                let equal = [
                    (audit::Column::Actor, filter.actor),
                    (audit::Column::Action, filter.action),
                    (audit::Column::Subject, filter.subject),
                ];
                for (column, wanted) in equal {
                    query = query.filter_if(column, wanted);
                }
                if let Some(since) = filter.since {
                    query = query.filter(audit::Column::Id.gte(first_id(since)));
                }
                if let Some(until) = filter.until {
                    query = query.filter(audit::Column::Id.lt(first_id(until)));
                }
                if let Some(before) = before {
                    query = query.filter(audit::Column::Id.lt(before));
                }
                let rows: Vec<AuditRow> = query.all(&db).await?.into_iter().map(AuditRow::from).collect();
                let next = rows.last().filter(|_| rows.len() as u64 == limit).map(|row| row.id);
                Ok(AuditPage { rows, next })
            })
        })
        .await
    }
}

impl From<audit::Model> for AuditRow {
    fn from(row: audit::Model) -> Self {
        Self {
            id: row.id,
            at: time_of(row.id),
            actor: row.actor,
            address: row.address,
            action: row.action,
            subject: row.subject,
            details: row.details,
        }
    }
}

/// Filters that are asked for only sometimes.
pub(super) trait FilterIf: QueryFilter {
    /// Keeps the rows whose column has the value, if one is wanted.
    fn filter_if<V: Into<sea_orm::Value>>(self, column: impl ColumnTrait, wanted: Option<V>) -> Self {
        match wanted {
            Some(wanted) => self.filter(column.eq(wanted)),
            None => self,
        }
    }
}

impl<E: EntityTrait> FilterIf for sea_orm::Select<E> {}

//! What can go wrong with the store, sorted by what the caller can do about it.
//!
//! Databases tell a failure by codes of their own; here they become the few kinds that matter: try again, make room,
//! correct the request, or don't start.

use sea_orm::sqlx;
use sea_orm::{DbErr, RuntimeErr};
use thiserror::Error;

/// Why the store did not do it. No message holds a key, a token or the database's password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// It can't be reached or written now; trying again later helps. (503)
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// It can be read and not written now; opened anew it may be. (503)
    #[error("the store is read-only: {0}")]
    ReadOnly(String),
    /// It has no room left. (507)
    #[error("the store is full: {0}")]
    Full(String),
    /// What is to be added exists already. (409)
    #[error("{0} exists already")]
    Conflict(String),
    /// What is to be changed does not exist. (404)
    #[error("there is no {0}")]
    NotFound(String),
    /// The store can't take the value. (422)
    #[error("{0}")]
    Invalid(String),
    /// The database was written by a newer version, or is none of ours.
    #[error(
        "store.url: the database has a schema this version does not know ({0}); start the version that wrote it, or restore the backup made before it was migrated"
    )]
    NewerSchema(String),
    /// What is sealed can't be opened, or nothing can be sealed.
    #[error("store.master_key: {0}")]
    MasterKey(String),
    /// The URL can't be used.
    #[error("store.url: {0}")]
    Url(String),
    /// The file is not a database, or is damaged.
    #[error("store.url: the database is damaged or is none ({0}); move it away, or restore a backup")]
    Damaged(String),
}

impl StoreError {
    /// Time or the operator can repair it while the server runs.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::ReadOnly(_) | Self::Full(_) | Self::Damaged(_))
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        match &error {
            DbErr::Conn(RuntimeErr::SqlxError(source))
            | DbErr::Exec(RuntimeErr::SqlxError(source))
            | DbErr::Query(RuntimeErr::SqlxError(source)) => sort(source),
            DbErr::ConnectionAcquire(_) => Self::Unavailable(error.to_string()),
            DbErr::TryIntoErr { .. } | DbErr::Type(_) | DbErr::Json(_) => Self::Damaged(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        sort(&error)
    }
}

fn sort(error: &sqlx::Error) -> StoreError {
    let sqlx::Error::Database(database) = error else {
        return match error {
            sqlx::Error::Configuration(_) => StoreError::Url(error.to_string()),
            _ => StoreError::Unavailable(error.to_string()),
        };
    };
    let message = database.message().to_owned();
    if database.is_unique_violation() {
        return StoreError::Conflict(message);
    }
    let code = database.code().unwrap_or_default();
    if database.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        // The lower byte of an extended code is the primary one.
        return match code.parse::<u32>().map(|code| code & 0xff) {
            Ok(8) => StoreError::ReadOnly(message),
            Ok(13) => StoreError::Full(message),
            Ok(11 | 26) => StoreError::Damaged(message),
            Ok(18 | 19 | 20 | 25) => StoreError::Invalid(message),
            _ => StoreError::Unavailable(message),
        };
    }
    if let Some(error) = database.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return match error.number() {
            // No space, table full, record file full; quota exceeded.
            1021 | 1114 | 1041 => StoreError::Full(message),
            // Values that don't fit their columns.
            1048 | 1264 | 1265 | 1292 | 1366 | 1406 | 3988 => StoreError::Invalid(message),
            _ => StoreError::Unavailable(message),
        };
    }
    match code.as_ref() {
        "53100" | "53200" => StoreError::Full(message),
        // Data exceptions and integrity violations.
        code if code.starts_with("22") || code.starts_with("23") => StoreError::Invalid(message),
        _ => StoreError::Unavailable(message),
    }
}

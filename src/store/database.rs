//! Connections: which database, opened how.
//!
//! An SQLite file is opened by three pools: one writer that syncs every commit (for what is acknowledged), one that
//! syncs with the checkpoints (for the journal, which a crash of the process does not hurt either), and readers beside
//! them. A database server gets one pool.
//!
//! An SQLite connection goes on writing to its file after that was deleted or replaced, and everything would seem well.
//! So a [`Database`] knows which file it opened, and says when another one is in its place.

use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{self, ConnectOptions, Connection};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode, SqlxMySqlConnector,
    SqlxPostgresConnector, SqlxSqliteConnector, TransactionOptions, TransactionTrait,
};

use super::error::StoreError;
use super::file;
use crate::config::{self, Secret};

/// How long a connection may take, and a wait for a free one.
const CONNECT: Duration = Duration::from_secs(5);
/// How long SQLite waits for another process's write.
const BUSY: Duration = Duration::from_secs(5);
/// Prepared statements kept per connection; ours are few, but some are long.
const STATEMENTS: usize = 24;
/// Connections to a database server.
const CONNECTIONS: u32 = 6;
/// Readers of an SQLite file.
const READERS: u32 = 3;
/// The write-ahead log is cut back to this many bytes at a checkpoint.
const WAL_BYTES: &str = "67108864";

/// Which database.
#[derive(Debug, Clone)]
pub(super) enum Place {
    File(PathBuf),
    MySql(Secret),
    Postgres(Secret),
}

/// An open database.
pub(super) struct Database {
    /// For writes that are acknowledged.
    pub(super) acknowledged: DatabaseConnection,
    /// For the journal.
    pub(super) journal: DatabaseConnection,
    /// For reads.
    pub(super) reads: DatabaseConnection,
    file: Option<FileIdentity>,
}

/// Which file was opened.
struct FileIdentity {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Place {
    /// # Errors
    /// If the URL names no database we know.
    pub(super) fn of(settings: &config::Store) -> Result<Self, StoreError> {
        let url = settings.url.expose();
        let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
        match scheme {
            "sqlite" if !rest.is_empty() && !rest.starts_with(':') => {
                let path = rest.split_once('?').map_or(rest, |(path, _)| path);
                Ok(Self::File(settings.directory.join(path)))
            }
            "mysql" | "mariadb" => Ok(Self::MySql(settings.url.clone())),
            "postgres" | "postgresql" => Ok(Self::Postgres(settings.url.clone())),
            _ => Err(StoreError::Url("must start with sqlite://, mysql:// or postgres://".into())),
        }
    }

    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            _ => None,
        }
    }

    pub(super) async fn connect(&self) -> Result<Database, StoreError> {
        match self {
            Self::File(path) => open_file(path).await,
            Self::MySql(url) => {
                let options = MySqlConnectOptions::from_str(url.expose())?;
                let options = options.statement_cache_capacity(STATEMENTS).disable_statement_logging();
                let pool = sized(MySqlPoolOptions::new(), CONNECTIONS).connect_with(options).await?;
                Ok(Database::server(SqlxMySqlConnector::from_sqlx_mysql_pool(pool)))
            }
            Self::Postgres(url) => {
                let options = PgConnectOptions::from_str(url.expose())?;
                let options = options.statement_cache_capacity(STATEMENTS).disable_statement_logging();
                let pool = sized(PgPoolOptions::new(), CONNECTIONS).connect_with(options).await?;
                Ok(Database::server(SqlxPostgresConnector::from_sqlx_postgres_pool(pool)))
            }
        }
    }
}

fn sized<DB: sqlx::Database>(options: PoolOptions<DB>, connections: u32) -> PoolOptions<DB> {
    options.max_connections(connections).acquire_timeout(CONNECT)
}

async fn open_file(path: &Path) -> Result<Database, StoreError> {
    let failed = |e: std::io::Error| StoreError::Unavailable(format!("{}: {e}", path.display()));
    // SQLite gives its companions the file's mode.
    match file::create_private(path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(e)),
        _ => {}
    }
    let identity = FileIdentity::of(path).map_err(failed)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(BUSY)
        .foreign_keys(true)
        .pragma("journal_size_limit", WAL_BYTES)
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging();
    let open = async |synchronous, connections| {
        let options = options.clone().synchronous(synchronous);
        let pool = sized(SqlitePoolOptions::new(), connections).idle_timeout(None).max_lifetime(None);
        let pool = pool.before_acquire(|connection, _| Box::pin(async { Ok(is_sound(connection)) }));
        Ok::<_, StoreError>(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool.connect_with(options).await?))
    };
    Ok(Database {
        acknowledged: open(SqliteSynchronous::Full, 1).await?,
        journal: open(SqliteSynchronous::Normal, 1).await?,
        reads: open(SqliteSynchronous::Normal, READERS).await?,
        file: Some(identity),
    })
}

/// When a disk is full SQLite takes a failed transaction back by itself. sqlx then can't, goes on counting it as open, and
/// what is "committed" within it is lost. Such a connection is given up.
fn is_sound(connection: &SqliteConnection) -> bool {
    !connection.is_in_transaction()
}

impl FileIdentity {
    fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        Ok(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Database {
    fn server(connection: DatabaseConnection) -> Self {
        Self { acknowledged: connection.clone(), journal: connection.clone(), reads: connection, file: None }
    }

    /// Whether what was opened is no longer what the URL names.
    pub(super) fn is_replaced(&self) -> bool {
        self.file.as_ref().is_some_and(|opened| {
            FileIdentity::of(&opened.path).map_or(true, |now| (now.device, now.inode) != (opened.device, opened.inode))
        })
    }

    /// Whether the file lets itself be opened for writing.
    pub(super) fn may_be_written(&self) -> bool {
        let opens = |opened: &FileIdentity| OpenOptions::new().append(true).open(&opened.path).is_ok();
        self.file.as_ref().is_none_or(opens)
    }

    pub(super) async fn close(&self) {
        for connection in [&self.journal, &self.acknowledged, &self.reads] {
            // Closing twice, or what is broken already, harms nothing.
            if let Err(error) = connection.clone().close().await {
                log::debug!(error:%; "A connection to the store did not close.");
            }
        }
    }
}

/// Starts a write. SQLite takes the lock at once: one taken later fails without waiting.
pub(super) async fn begin(connection: &DatabaseConnection) -> Result<DatabaseTransaction, StoreError> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let transaction = connection.begin_with_options(options).await?;
    if transaction.get_database_backend() == DbBackend::Postgres {
        // A table that grows from nothing in one import has no statistics yet, and would be read whole for each batch.
        transaction.execute_unprepared("SET LOCAL enable_seqscan = off").await?;
    }
    Ok(transaction)
}

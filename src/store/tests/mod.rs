//! The store as its callers see it, on every database there is: SQLite always, MySQL and PostgreSQL where
//! `KEYWEIR_TEST_MYSQL` and `KEYWEIR_TEST_POSTGRES` name a server on which databases may be made
//! (`scripts/databases.sh` starts both).

mod durability;
mod failures;
mod journal;
mod migration;
mod pins;
mod scale;
mod secrets;
mod writes;

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sea_orm::sqlx::{self, Connection, Executor};

use super::*;
use crate::config::{KeyId, RequestLog, Secret};

/// Longer than anything takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(180);
/// A moment in the year 2096 (Unix milliseconds): marks that are long over are forgotten.
const LATER: i64 = 4_000_000_000_000;

/// A database of a test's own, and a state directory. Both go with it.
struct Home {
    folder: PathBuf,
    url: String,
    /// Drops the database of a server.
    drop: Option<Server>,
}

#[derive(Clone)]
enum Server {
    MySql(String, String),
    Postgres(String, String),
}

impl Home {
    fn sqlite() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("keyweir-store-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder, url: "sqlite://keyweir.db".into(), drop: None }
    }

    /// One for each database there is.
    fn all() -> Vec<Self> {
        let mut homes = vec![Self::sqlite()];
        if let Ok(url) = std::env::var("KEYWEIR_TEST_MYSQL") {
            homes.push(Self::on(|name| Server::MySql(url, name)));
        }
        if let Ok(url) = std::env::var("KEYWEIR_TEST_POSTGRES") {
            homes.push(Self::on(|name| Server::Postgres(url, name)));
        }
        homes
    }

    fn on(server: impl FnOnce(String) -> Server) -> Self {
        let home = Self::sqlite();
        let name = home.folder.file_name().unwrap().to_str().unwrap().replace('-', "_");
        let server = server(name);
        server.execute("CREATE DATABASE");
        let (Server::MySql(url, name) | Server::Postgres(url, name)) = &server;
        let base = url.rsplit_once('/').unwrap().0;
        Self { url: format!("{base}/{name}"), drop: Some(server), folder: home.keep() }
    }

    fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.folder)
    }

    fn settings(&self) -> config::Store {
        config::Store {
            url: Secret::new(self.url.clone()),
            directory: self.folder.clone(),
            request_log: RequestLog::All,
            request_body: true,
            retention: Duration::from_secs(7 * 86_400),
            max_size: 1 << 30,
            master_key: None,
            previous_master_key: None,
        }
    }

    fn open(&self) -> Store {
        Store::open(&self.settings()).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.folder.join("keyweir.db")
    }
}

impl Server {
    fn execute(&self, verb: &str) {
        let server = self.clone();
        let verb = verb.to_owned();
        block_on(async move {
            match server {
                Self::MySql(url, name) => {
                    let mut connection = sqlx::MySqlConnection::connect(&url).await.unwrap();
                    connection.execute(sqlx::AssertSqlSafe(format!("{verb} {name}"))).await.unwrap();
                }
                Self::Postgres(url, name) => {
                    let force = if verb.starts_with("DROP") { " WITH (FORCE)" } else { "" };
                    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
                    connection.execute(sqlx::AssertSqlSafe(format!("{verb} {name}{force}"))).await.unwrap();
                }
            }
        });
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(server) = self.drop.take() {
            server.execute("DROP DATABASE");
        }
        if !self.folder.as_os_str().is_empty() {
            let _ignored = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// From a runtime that is not the store's, as all callers do.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, work).await.expect("took too long") })
}

/// Waits until something holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

fn audit(action: &str) -> Audit {
    Audit { actor: "admin".into(), action: action.into(), ..Audit::default() }
}

fn new_key(pool: &str, text: &str) -> NewKey {
    NewKey { pool: pool.into(), key: Secret::new(text.into()), name: None, details: "{}".into() }
}

fn rest(after: i64) -> Mark {
    Mark {
        until: Some(LATER + after),
        reason: "rate_limited".into(),
        by: "rule".into(),
        rests: 2,
        evidence: "429 too many requests ü".into(),
        since: 5,
    }
}

fn id(text: &str) -> KeyId {
    KeyId::of("pool", text)
}

fn one(requests: u64) -> Use {
    Use { requests, failures: 1, prompt_tokens: 10, completion_tokens: 20, duration_ms: 5, cost: 0 }
}

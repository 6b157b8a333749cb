//! A database that another version left: an older one is copied and brought up to date, a newer one is left alone.
//!
//! `tests/samples/store` holds what the version before the last change of the schema wrote. A migration is never
//! edited, and so is this sample: the next one gets a sample of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
use serde_json::json;

use crate::harness::{Config, Keyweir, MockProvider, eventually, new_directory};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples/store");
/// The last migration that the sample knows.
const BEFORE: &str = "m0004_resource_pins";

fn on<T>(file: &Path, work: impl AsyncFnOnce(&DatabaseConnection) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = Database::connect(format!("sqlite://{}?mode=rwc", file.display())).await.unwrap();
        let done = work(&db).await;
        db.close().await.unwrap();
        done
    })
}

/// What the version before left in a directory of its own.
fn old_version() -> PathBuf {
    let folder = new_directory();
    let sql = fs::read_to_string(format!("{SAMPLE}/{BEFORE}.sql")).unwrap();
    on(&folder.join("keyweir.db"), async |db| db.execute_unprepared(&sql).await.map(drop)).unwrap();
    fs::copy(format!("{SAMPLE}/master.key.sample"), folder.join("master.key")).unwrap();
    folder
}

fn config(mock: &MockProvider, folder: &Path) -> Config {
    let config = Config::pool(mock, &["sk-ok-1", "sk-429-1", "sk-401-1"]);
    config.top(&format!("store: {{url: \"sqlite://{}/keyweir.db\"}}\ndefault_pool: p", folder.display()))
}

fn versions(file: &Path) -> Vec<String> {
    on(file, async |db| {
        let select = "SELECT version FROM seaql_migrations ORDER BY version";
        let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), select)).await.unwrap();
        rows.iter().map(|row| row.try_get("", "version").unwrap()).collect()
    })
}

/// Everything the sample holds.
fn expect_all(keyweir: &Keyweir) {
    assert_eq!(keyweir.state("429-1"), ("cooling".into(), "rate_limited".into()));
    assert_eq!(keyweir.state("401-1"), ("disabled".into(), "unauthorized".into()));
    assert_eq!(keyweir.state("switched-off"), ("disabled".into(), "operator".into()));
    let stored = keyweir.key("stored");
    assert_eq!((&stored["account"], &stored["note"]), (&json!("a"), &json!("mine")));
    let export = keyweir.admin("GET", "/api/v1/pools/p/keys/export?format=text").text();
    assert!(export.contains("sk-ok-stored\n"), "the master key still opens it: {export}");
    let settings = keyweir.admin("GET", "/api/v1/pools/p/settings").json();
    assert_eq!(settings["settings"]["retry.attempts"], json!({"value": 7, "origin": "console"}));
    let tokens = keyweir.admin("GET", "/api/v1/tokens").json();
    assert!(tokens["items"].as_array().unwrap().iter().any(|token| token["name"] == "ci" && token["rpm"] == 60));
    let pools = keyweir.admin("GET", "/api/v1/pools").text();
    assert!(pools.contains("\"added\""), "{pools}");
    let audit = keyweir.admin("GET", "/api/v1/audit").json();
    let noted = audit["items"].as_array().unwrap().iter().filter(|line| line["action"] != "keys.export").count();
    assert_eq!(noted, 6, "{audit}");
}

#[test]
fn the_version_before_is_backed_up_and_goes_on() {
    let mock = MockProvider::start();
    let folder = old_version();
    let file = folder.join("keyweir.db");
    let mut keyweir = config(&mock, &folder).start();
    expect_all(&keyweir);
    assert!(keyweir.log().contains("a backup was made first"), "{}", keyweir.log());
    let backup = folder.join(format!("keyweir.db.backup-1-{BEFORE}"));
    assert_eq!(backup.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(versions(&backup).last().map(String::as_str), Some(BEFORE));
    assert!(versions(&file).len() > versions(&backup).len());
    // The second start changes nothing, and what the new schema keeps is kept.
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    eventually("it is counted", || keyweir.admin("GET", "/api/v1/stats/series").json()["requests"] == 1);
    keyweir.restart();
    expect_all(&keyweir);
    assert!(!keyweir.log().contains("backup"), "{}", keyweir.log());
    assert_eq!(keyweir.admin("GET", "/api/v1/stats/series").json()["requests"], 1);
    drop(keyweir);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_backup_can_be_started_again() {
    let mock = MockProvider::start();
    let folder = old_version();
    drop(config(&mock, &folder).start());
    for companion in ["keyweir.db-wal", "keyweir.db-shm"] {
        fs::remove_file(folder.join(companion)).unwrap();
    }
    fs::rename(folder.join(format!("keyweir.db.backup-1-{BEFORE}")), folder.join("keyweir.db")).unwrap();
    expect_all(&config(&mock, &folder).start());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_newer_version_is_refused_and_left_alone() {
    let mock = MockProvider::start();
    let folder = old_version();
    let file = folder.join("keyweir.db");
    let insert = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m0999_future', 0)";
    on(&file, async |db| db.execute_unprepared(insert).await.map(drop)).unwrap();
    let before = versions(&file);
    let mut keyweir = config(&mock, &folder).launch();
    assert_eq!(keyweir.wait().code(), Some(1));
    let log = keyweir.log();
    for word in ["store.url", "m0999_future", "start the version that wrote it", "restore the backup"] {
        assert!(log.contains(word), "{log}");
    }
    assert_eq!(versions(&file), before);
    assert!(!folder.join(format!("keyweir.db.backup-1-{BEFORE}")).exists());
    fs::remove_dir_all(folder).unwrap();
}

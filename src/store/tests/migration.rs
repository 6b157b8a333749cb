//! Databases of other versions: older ones are brought up to date after a backup, newer ones are left alone.

use std::os::unix::fs::PermissionsExt;

use sea_orm::{ConnectionTrait, Database, Statement};
use sea_orm_migration::MigratorTrait;

use super::*;
use crate::store::schema::Migrator;

fn url(home: &Home) -> String {
    match home.drop {
        Some(_) => home.url.clone(),
        None => format!("sqlite://{}?mode=rwc", home.file().display()),
    }
}

/// What the first version left: a mark and a removed key.
async fn first_version(url: &str) {
    let db = Database::connect(url).await.unwrap();
    Migrator::up(&db, Some(1)).await.unwrap();
    let insert = "INSERT INTO marks (key_id, kind, subject, until, reason, set_by, rests, evidence, since) VALUES \
                  (?, 0, '', 4000000000000, 'rate_limited', 'rule', 3, 'said so', 5)";
    let insert = if url.starts_with("postgres") { insert.replace('?', "$1") } else { insert.into() };
    let key = id("a").as_bytes().to_vec();
    db.execute_raw(Statement::from_sql_and_values(db.get_database_backend(), insert, [key.into()])).await.unwrap();
    db.close().await.unwrap();
}

fn backups(home: &Home) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(&home.folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_str().unwrap().contains(".backup-")).collect()
}

#[test]
fn the_previous_schema_is_migrated_and_keeps_its_rows() {
    for home in Home::all() {
        block_on(first_version(&url(&home)));
        let store = home.open();
        let marks = block_on(store.marks()).unwrap();
        assert_eq!((marks.len(), marks[0].key, marks[0].mark.until, marks[0].mark.rests), (1, id("a"), Some(LATER), 3));
        // And the new column is in use.
        block_on(store.note_keys(Default::default())).unwrap();
        store.close().unwrap();
        let found = backups(&home);
        if home.drop.is_some() {
            continue;
        }
        let [backup] = &found[..] else { panic!("{found:?}") };
        assert_eq!(backup.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        // The backup is the database as it was.
        std::fs::rename(backup, home.file()).unwrap();
        let store = home.open();
        assert_eq!(block_on(store.marks()).unwrap().len(), 1);
        store.close().unwrap();
        let version = backups(&home);
        assert_eq!(version.len(), 1);
        assert!(version[0].to_str().unwrap().ends_with("m0001_initial"), "{version:?}");
        drop(home.open());
        assert_eq!(backups(&home).len(), 1, "no migration, no backup");
    }
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    for home in Home::all() {
        home.open().close().unwrap();
        block_on(async {
            let db = Database::connect(url(&home)).await.unwrap();
            db.execute_unprepared("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m0999_future', 0)")
                .await
                .unwrap();
            db.close().await.unwrap();
        });
        let Err(error) = Store::open(&home.settings()) else { panic!("it opened") };
        assert_eq!(error, StoreError::NewerSchema("m0999_future".into()));
        assert!(error.to_string().contains("restore the backup"), "{error}");
    }
}

#[test]
fn only_the_last_backups_are_kept() {
    let home = Home::sqlite();
    for _ in 0..5 {
        block_on(first_version(&url(&home)));
        home.open().close().unwrap();
        std::fs::remove_file(home.file()).unwrap();
        std::fs::remove_file(home.folder.join("master.key")).unwrap();
    }
    let mut found = backups(&home);
    found.sort();
    let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    let expected = [3, 4, 5].map(|number| format!("keyweir.db.backup-{number}-m0001_initial"));
    assert_eq!(names, expected);
}

#[test]
fn marks_of_lost_keys_are_told_from_others() {
    for home in Home::all() {
        let store = home.open();
        store.journal().mark(id("a"), Subject::Own, rest(1));
        store.journal().mark(id("b"), Subject::Own, rest(1));
        block_on(store.flush()).unwrap();
        let orphans = || {
            let url = url(&home);
            block_on(async move {
                let db = Database::connect(url).await.unwrap();
                let count = "SELECT COUNT(*) AS rows_found FROM marks WHERE orphaned_at IS NOT NULL";
                let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), count)).await.unwrap();
                row.unwrap().try_get::<i64>("", "rows_found").unwrap()
            })
        };
        block_on(store.note_keys([id("a"), id("b")].into())).unwrap();
        assert_eq!(orphans(), 0);
        block_on(store.note_keys([id("b")].into())).unwrap();
        assert_eq!(orphans(), 1);
        block_on(store.note_keys([id("a")].into())).unwrap();
        assert_eq!(orphans(), 1, "one came back, one was lost");
        store.journal().mark(id("b"), Subject::Own, rest(2));
        block_on(store.flush()).unwrap();
        assert_eq!(orphans(), 0, "a key that is marked is there");
    }
}

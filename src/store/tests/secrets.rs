//! Nothing secret is readable in the files, and only the right master key opens it.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn fill(store: &Store) {
    let key = NewKey { details: r#"{"egress":"http://u:CANARY@h"}"#.into(), ..new_key("pool", "sk-CANARY") };
    block_on(store.add_keys(vec![key], audit("x"))).unwrap();
    block_on(store.add_pool("p".into(), r#"{"headers":{"x":"CANARY"}}"#.into(), audit("x"))).unwrap();
    let secret = vec![("notify".to_owned(), Some(r#""https://hook/CANARY""#.to_owned()))];
    block_on(store.set_settings(String::new(), secret, audit("x"))).unwrap();
    let digest = Secret::new("kw-CANARY".into()).digest();
    block_on(store.add_token(StoredToken::new("ci".into(), digest, "{}".into()).unwrap(), audit("x"))).unwrap();
}

fn check(store: &Store) {
    let snapshot = store.load_blocking().unwrap();
    assert_eq!(snapshot.keys[0].key.expose(), "sk-CANARY");
    assert!(snapshot.keys[0].details.contains("CANARY"));
    assert!(snapshot.pools[0].settings.contains("CANARY"));
    assert!(snapshot.settings[0].value.contains("CANARY"));
}

fn error(settings: &config::Store) -> String {
    match Store::open(settings) {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    }
}

fn with_key(home: &Home, key: &str) -> config::Store {
    config::Store { master_key: Some(Secret::new(key.repeat(32))), ..home.settings() }
}

#[test]
fn files_hold_no_secret_and_are_their_owners_alone() {
    let home = Home::sqlite();
    let store = home.open();
    fill(&store);
    let snapshot = format!("{:?}", store.load_blocking().unwrap());
    let mut files = 0;
    for entry in std::fs::read_dir(&home.folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"CANARY"), "{}", path.display());
        files += 1;
    }
    assert_eq!(files, 4, "database, two companions, master key");
    check(&store);
    assert!(!snapshot.contains("CANARY"), "{snapshot}");
}

#[test]
fn a_generated_master_key_is_made_once_and_missed_when_it_is_gone() {
    for home in Home::all() {
        let store = home.open();
        fill(&store);
        store.close().unwrap();
        let file = home.folder.join("master.key");
        let key = std::fs::read_to_string(&file).unwrap();
        check(&home.open());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), key);

        std::fs::write(&file, "another key than the one it was sealed with").unwrap();
        assert!(error(&home.settings()).contains("is not the one the database was sealed with"));
        std::fs::write(&file, "\n").unwrap();
        assert!(error(&home.settings()).contains("is empty"));
        std::fs::remove_file(&file).unwrap();
        assert!(error(&home.settings()).contains("is missing"));
        assert!(!file.exists(), "no new key is made for a database that was sealed with another");
        std::fs::write(&file, key).unwrap();
        check(&home.open());
    }
}

#[test]
fn a_configured_master_key_is_rotated_by_configuring_another() {
    for home in Home::all() {
        let store = Store::open(&with_key(&home, "a")).unwrap();
        fill(&store);
        assert!(matches!(block_on(store.rotate_master(audit("x"))), Err(StoreError::Invalid(_))));
        store.close().unwrap();
        assert!(!home.folder.join("master.key").exists());
        let said = error(&with_key(&home, "b"));
        assert!(said.contains("KEYWEIR_MASTER_KEY_PREVIOUS") && !said.contains("bbb"), "{said}");

        let both = config::Store { previous_master_key: Some(Secret::new("a".repeat(32))), ..with_key(&home, "b") };
        check(&Store::open(&both).unwrap());
        check(&Store::open(&both).unwrap());
        check(&Store::open(&with_key(&home, "b")).unwrap());
        assert!(error(&with_key(&home, "a")).contains("is not the one"));
    }
}

#[test]
fn a_generated_master_key_is_rotated_while_the_server_runs() {
    for home in Home::all() {
        let store = home.open();
        fill(&store);
        let file = home.folder.join("master.key");
        let before = std::fs::read_to_string(&file).unwrap();
        for _ in 0..3 {
            block_on(store.rotate_master(audit("keys.rotate-master"))).unwrap();
            check(&store);
        }
        let after = std::fs::read_to_string(&file).unwrap();
        assert_ne!(before, after);
        block_on(store.add_keys(vec![new_key("pool", "sk-after")], audit("x"))).unwrap();
        store.close().unwrap();
        assert_eq!(home.open().load_blocking().unwrap().keys.len(), 2);

        // A crash between the commit and the renaming: the right key is the next one.
        std::fs::rename(&file, home.folder.join("master.key.next")).unwrap();
        std::fs::write(&file, before).unwrap();
        assert_eq!(home.open().load_blocking().unwrap().keys.len(), 2);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), after);
        // One before the commit: it is not.
        std::fs::write(home.folder.join("master.key.next"), "never used, for it crashed before").unwrap();
        assert_eq!(home.open().load_blocking().unwrap().keys.len(), 2);
    }
}

#[test]
fn a_row_moved_to_another_key_does_not_open() {
    let home = Home::sqlite();
    let store = home.open();
    block_on(store.add_keys(vec![new_key("pool", "sk-1"), new_key("pool", "sk-2")], audit("x"))).unwrap();
    store.close().unwrap();
    block_on(async {
        let url = format!("sqlite://{}", home.file().display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let swap = "UPDATE stored_keys SET sealed = (SELECT sealed FROM stored_keys ORDER BY id LIMIT 1)";
        connection.execute(swap).await.unwrap();
    });
    assert!(matches!(home.open().load_blocking(), Err(StoreError::MasterKey(_))));
}

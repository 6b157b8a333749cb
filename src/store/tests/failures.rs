//! Without the database everything goes on, nothing is lost, and it says so.

use super::*;
use crate::store::text::now;

fn is_down(store: &Store) -> bool {
    store.status().down.is_some()
}

/// Limits the database's growth on the store's connections, as a full disk would.
fn limit_pages(store: &Store, pages: u32) {
    use sea_orm::ConnectionTrait;
    let database = store.shared.database().unwrap();
    for connection in [database.journal.clone(), database.acknowledged.clone()] {
        let work = async move {
            connection.execute_unprepared(&format!("PRAGMA max_page_count = {pages}")).await?;
            Ok(())
        };
        store.runtime.run_blocking(work).unwrap();
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_waited_for() {
    let home = Home::sqlite();
    let folder = home.folder.join("state");
    // No directory at all: even root can't write there.
    std::fs::write(&folder, "a file").unwrap();
    let settings = config::Store { directory: folder.clone(), ..home.settings() };
    let store = Store::open(&settings).unwrap();
    assert!(is_down(&store));
    let journal = store.journal();
    journal.mark(id("a"), Subject::Own, rest(1));
    journal.count(now(), "pool", id("a"), "m", one(1));
    let refused = block_on(store.add_keys(vec![new_key("pool", "sk-1")], audit("x"))).unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
    assert!(matches!(block_on(store.load()), Err(StoreError::Unavailable(_))));
    assert!(block_on(store.flush()).is_err());
    assert_eq!(store.status().pending.total(), 2);

    std::fs::remove_file(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    block_on(store.opened());
    eventually("it is up", || !is_down(&store) && store.status().pending.total() == 0);
    assert_eq!(block_on(store.marks()).unwrap().len(), 1);
    block_on(store.add_keys(vec![new_key("pool", "sk-1")], audit("x"))).unwrap();
}

#[test]
fn a_full_database_refuses_writes_keeps_the_journal_and_recovers() {
    let home = Home::sqlite();
    let store = home.open();
    block_on(store.add_keys(vec![new_key("pool", "sk-0")], audit("x"))).unwrap();
    limit_pages(&store, 1);
    let journal = store.journal();
    let many: Vec<NewKey> = (0..2000).map(|number| new_key("pool", &format!("sk-{number}"))).collect();
    let refused = block_on(store.add_keys(many.clone(), audit("keys.import"))).unwrap_err();
    assert!(matches!(refused, StoreError::Full(_)), "{refused}");
    for number in 0..2000 {
        journal.mark(id(&number.to_string()), Subject::Own, rest(number));
        journal.count(now(), "pool", id(&number.to_string()), "m", one(1));
    }
    assert!(matches!(block_on(store.flush()), Err(StoreError::Full(_))));
    let status = store.status();
    assert!(matches!(status.down, Some(Outage { error: StoreError::Full(_), .. })), "{status:?}");
    // Newer marks win over those that wait.
    journal.mark(id("0"), Subject::Own, rest(77));
    assert_eq!(store.load_blocking().unwrap().keys.len(), 1, "reading goes on");

    limit_pages(&store, 1 << 30);
    eventually("everything is written", || store.status().pending.total() == 0 && !is_down(&store));
    let marks = block_on(store.marks()).unwrap();
    assert_eq!(marks.len(), 2000);
    assert!(marks.iter().any(|mark| mark.key == id("0") && mark.mark.until == Some(LATER + 77)));
    let filter = CounterFilter { from: 0, to: i64::MAX, pool: None, key: None, model: None, by: By::Hour };
    assert_eq!(block_on(store.counters(filter)).unwrap()[0].sum.requests, 2000);
    assert_eq!(block_on(store.add_keys(many, audit("keys.import"))).unwrap().len(), 1999);
    assert_eq!(store.status().dropped, 0);
}

#[test]
fn a_deleted_or_replaced_file_is_noticed_and_opened_anew() {
    let home = Home::sqlite();
    let store = home.open();
    block_on(store.add_keys(vec![new_key("pool", "sk-1")], audit("x"))).unwrap();
    block_on(store.add_keys(vec![new_key("pool", "sk-2")], audit("x"))).unwrap();
    store.close().unwrap();
    let backup = home.folder.join("copy");
    std::fs::copy(home.file(), &backup).unwrap();

    let store = home.open();
    block_on(store.remove_keys(vec![id("sk-1"), id("sk-2")], audit("x"))).unwrap();
    for companion in ["keyweir.db-wal", "keyweir.db-shm"] {
        std::fs::remove_file(home.folder.join(companion)).unwrap();
    }
    std::fs::rename(&backup, home.file()).unwrap();
    // The first write may meet the old file's end, but none is acknowledged into it.
    eventually("the new file is written", || {
        block_on(store.add_keys(vec![new_key("pool", "sk-3")], audit("x"))).is_ok()
    });
    let keys = store.load_blocking().unwrap().keys;
    assert_eq!(keys.iter().filter(|key| key.removed_at.is_none()).count(), 3, "the replacement's keys and the new one");

    for name in ["keyweir.db", "keyweir.db-wal", "keyweir.db-shm"] {
        std::fs::remove_file(home.folder.join(name)).unwrap();
    }
    store.journal().mark(id("a"), Subject::Own, rest(1));
    eventually("a new file takes the place of a deleted one", || home.file().exists() && !is_down(&store));
    block_on(store.flush()).unwrap();
    store.close().unwrap();
    assert_eq!(block_on(home.open().marks()).unwrap().len(), 1);
}

#[test]
fn a_file_that_is_no_database_stops_the_start() {
    let home = Home::sqlite();
    std::fs::write(home.file(), "this is no database, and long enough to be seen as none".repeat(100)).unwrap();
    let Err(error) = Store::open(&home.settings()) else { panic!("it opened") };
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    for url in ["oracle://h/d", "sqlite://", "sqlite://:memory:", "keyweir.db", "postgres://u:CANARY@h:notaport/d"] {
        let settings = config::Store { url: Secret::new(url.into()), ..home.settings() };
        let Err(error) = Store::open(&settings) else { panic!("{url} opened") };
        assert!(matches!(error, StoreError::Url(_)), "{url}: {error:?}");
        assert!(!error.to_string().contains("CANARY"), "{error}");
    }
}

#[test]
fn a_server_that_does_not_listen_is_no_reason_not_to_start() {
    let home = Home::sqlite();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for scheme in ["mysql", "postgres"] {
        let url = format!("{scheme}://user:CANARY@127.0.0.1:{port}/keyweir");
        let store = Store::open(&config::Store { url: Secret::new(url), ..home.settings() }).unwrap();
        let outage = store.status().down.expect("down");
        assert!(!outage.error.to_string().contains("CANARY"), "{outage:?}");
        store.journal().mark(id("a"), Subject::Own, rest(1));
        assert!(store.close().is_err(), "what could not be written is said");
    }
}

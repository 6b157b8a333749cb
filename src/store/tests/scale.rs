//! 100,000 keys. How long it takes is printed, not asserted: `cargo test scale -- --nocapture`.

use super::*;

#[test]
fn a_hundred_thousand_keys_are_added_marked_loaded_and_removed() {
    // A debug build is slow enough with fewer.
    let count = if std::env::var_os("KEYWEIR_TEST_ALL").is_some() { 100_000 } else { 10_000 };
    for home in Home::all() {
        let store = home.open();
        let mut last = Instant::now();
        let mut took = |what: &str| {
            println!("{}: {what} {count} keys: {:?}", home.url.split(':').next().unwrap_or_default(), last.elapsed());
            last = Instant::now();
        };
        let keys: Vec<NewKey> = (0..count).map(|number| new_key("pool", &format!("sk-{number:048}"))).collect();
        let ids = block_on(store.add_keys(keys, audit("keys.import"))).unwrap();
        assert_eq!(ids.len(), count);
        took("added");
        ids.iter().for_each(|id| store.journal().mark(*id, Subject::Own, rest(1)));
        block_on(store.flush()).unwrap();
        took("marked");
        assert_eq!(store.load_blocking().unwrap().keys.len(), count);
        assert_eq!(block_on(store.marks()).unwrap().len(), count);
        took("loaded");
        block_on(store.rotate_master(audit("x"))).unwrap();
        took("sealed anew");
        assert_eq!(block_on(store.remove_keys(ids, audit("keys.remove"))).unwrap().len(), count);
        took("removed");
    }
}

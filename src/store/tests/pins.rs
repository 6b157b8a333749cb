//! Which key made what is kept as long as it is of use, and not without bound.

use super::*;

fn pin(thing: u32, is_lasting: bool, until: i64) -> StoredPin {
    let mut resource = [0; 16];
    resource[..4].copy_from_slice(&thing.to_be_bytes());
    StoredPin { pool: "p".into(), resource, is_lasting, key: id("a"), target: "api.example".into(), until }
}

#[test]
fn pins_are_kept_and_the_newest_counts() {
    for home in Home::all() {
        let store = home.open();
        store.journal().pin(pin(1, true, LATER + 5));
        store.journal().pin(pin(2, false, LATER + 1));
        store.journal().pin(pin(2, false, LATER + 2));
        store.journal().pin(StoredPin { target: "x".repeat(500), ..pin(3, false, LATER) });
        store.close().unwrap();
        let store = home.open();
        assert_eq!(block_on(store.pins()).unwrap(), [pin(2, false, LATER + 2), pin(1, true, LATER + 5)]);
        let other = StoredPin { key: id("b"), ..pin(1, true, LATER + 9) };
        store.journal().pin(other.clone());
        block_on(store.flush()).unwrap();
        assert_eq!(block_on(store.pins()).unwrap()[1], other);
    }
}

#[test]
fn what_is_over_or_too_much_is_forgotten() {
    for home in Home::all() {
        let store = home.open();
        let (now, day) = (super::super::text::now(), 24 * 3_600_000);
        (0..5).for_each(|number| store.journal().pin(pin(number, false, now + day + i64::from(number))));
        (5..7).for_each(|number| store.journal().pin(pin(number, true, now + day)));
        store.journal().pin(pin(8, true, now - day));
        store.journal().pin(StoredPin { pool: "q".into(), ..pin(9, false, now + day) });
        block_on(store.flush()).unwrap();
        let shared = store.shared.clone();
        let forget = async move { super::super::pins::forget(&shared.database()?.journal, now, 3).await };
        store.runtime.run_blocking(forget).unwrap();
        let mut left: Vec<_> = block_on(store.pins()).unwrap().into_iter().map(|pin| pin.resource[3]).collect();
        left.sort_unstable();
        assert_eq!(left, [2, 3, 4, 5, 6, 9]);
    }
}

//! Whose turn it is.

use super::*;

#[test]
fn keys_take_turns_from_the_start_index() {
    let from = |start| pool_of((0..3).map(seed).collect(), RULES, start);
    assert_eq!(picks(&pool(3), 5, T0), [0, 1, 2, 0, 1]);
    assert_eq!(picks(&from(2), 4, T0), [2, 0, 1, 2]);
    assert_eq!(picks(&from(7), 2, T0), [1, 2]);
}

#[test]
fn turns_stay_even_while_a_key_rests() {
    let pool = pool(3);
    mark(&pool, 1, cool(1000), T0);
    assert_eq!(picks(&pool, 4, T0), [0, 2, 0, 2]);
}

#[test]
fn lower_priority_numbers_come_first() {
    let seeds = [5, 0, 5, 0].into_iter().enumerate().map(|(i, priority)| Seed { priority, ..seed(i) }).collect();
    let pool = pool_of(seeds, RULES, 0);
    let names = |n| -> Vec<String> {
        let index = || pool.checkout("m", T0).unwrap().index();
        (0..n).map(|_| pool.key(index()).unwrap().name.to_string()).collect()
    };
    assert_eq!(names(3), ["k1", "k3", "k1"]);
    mark(&pool, 0, cool(9), T0);
    mark(&pool, 1, cool(9), T0);
    assert_eq!(names(2), ["k0", "k2"]);
}

#[test]
fn a_tried_key_comes_again_only_if_no_other_is_ready() {
    let pool = pool(3);
    let again = |tried: &[u32]| pool.checkout_again("m".into(), tried, T0).unwrap().index();
    assert_eq!(again(&[0, 1]), 2);
    mark(&pool, 2, cool(9), T0);
    assert_eq!(again(&[0]), 1);
    mark(&pool, 1, cool(9), T0);
    assert_eq!(again(&[0]), 0);
    assert!(pool.checkout_other("m".into(), &[0], T0).is_none());
}

#[test]
fn a_second_opinion_comes_from_a_key_without_suspicion() {
    let pool = pool(3);
    pool.fault(1, &HERE, T0);
    assert_eq!(pool.checkout("m", T0).unwrap().index(), 0);
    assert_eq!(pool.checkout_other("m".into(), &[0], T0).unwrap().index(), 2);
    pool.fault(2, &HERE, T0);
    assert!(pool.checkout_other("m".into(), &[0], T0).is_some());
}

#[test]
fn the_next_member_is_found_across_all_levels() {
    let set = ready::ReadySet::new(1_000_000);
    for index in [0, 63, 64, 4095, 4096, 262_143, 262_144, 999_999] {
        set.insert(index);
        assert_eq!(set.next(index, 1_000_000), Some(index));
    }
    let mut from = 0;
    let found: Vec<_> = std::iter::from_fn(|| {
        let next = set.next(from, 1_000_000)?;
        from = next + 1;
        Some(next)
    })
    .collect();
    assert_eq!(found, [0, 63, 64, 4095, 4096, 262_143, 262_144, 999_999]);
    assert_eq!(set.next(262_145, 999_999), None);
    set.remove(999_999);
    assert_eq!(set.next(262_145, 1_000_000), None);
}

#[test]
fn a_dropped_lease_is_no_longer_in_flight() {
    let pool = pool(1);
    let lease = pool.checkout("m", T0).unwrap();
    assert_eq!(pool.keys()[0].state.in_flight(), 1);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _lease = lease;
        panic!("the request's task dies");
    }));
    assert!(panicked.is_err());
    assert_eq!(pool.keys()[0].state.in_flight(), 0);
}

#[test]
fn an_empty_pool_has_no_usable_key() {
    assert_eq!(pool(0).checkout("m", T0).err(), Some(Exhausted::NoneUsable));
}

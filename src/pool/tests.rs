//! Behaviour of the pool with a clock that only moves when told to.

use super::*;
use crate::config::keys::KeyId;

const RULES: Rules =
    Rules { threshold: 1, cooldown: Duration::from_secs(60), max_cooldown: Duration::from_secs(600), permanent: true };
const T0: Millis = Millis(1_000_000);

fn pool_with(priorities: &[u32], rules: Rules, start: usize) -> Arc<Pool> {
    let keys = priorities.iter().enumerate().map(|(i, &priority)| Key {
        id: KeyId::of("test", &format!("key {i}")),
        name: format!("k{i}").into(),
        priority,
        state: Arc::default(),
    });
    Arc::new(Pool::new(keys.collect(), rules, start))
}

fn pool(keys: usize) -> Arc<Pool> {
    pool_with(&vec![0; keys], RULES, 0)
}

fn picks(pool: &Arc<Pool>, n: usize, now: Millis) -> Vec<u32> {
    (0..n).map(|_| pool.checkout(&[], now).unwrap().index()).collect()
}

fn cool(seconds: u64) -> Mark {
    Mark::Cool { reason: Reason::RateLimited, stated: Some(Duration::from_secs(seconds)) }
}

#[test]
fn keys_take_turns_from_the_start_index() {
    assert_eq!(picks(&pool(3), 5, T0), [0, 1, 2, 0, 1]);
    assert_eq!(picks(&pool_with(&[0; 3], RULES, 2), 4, T0), [2, 0, 1, 2]);
    assert_eq!(picks(&pool_with(&[0; 3], RULES, 7), 2, T0), [1, 2]);
}

#[test]
fn turns_stay_even_while_a_key_rests() {
    let pool = pool(3);
    pool.report(1, cool(1000), T0);
    assert_eq!(picks(&pool, 4, T0), [0, 2, 0, 2]);
}

#[test]
fn lower_priority_numbers_come_first() {
    let pool = pool_with(&[5, 0, 5, 0], RULES, 0);
    let names = |n| -> Vec<String> {
        (0..n).map(|_| pool.checkout(&[], T0).unwrap().key().unwrap().name.to_string()).collect()
    };
    assert_eq!(names(3), ["k1", "k3", "k1"]);
    pool.report(0, cool(9), T0);
    pool.report(1, cool(9), T0);
    assert_eq!(names(2), ["k0", "k2"]);
}

#[test]
fn a_cooling_key_returns_exactly_on_time() {
    let pool = pool(1);
    pool.report(0, cool(30), T0);
    let almost = T0.after(Duration::from_millis(29_999));
    assert_eq!(pool.checkout(&[], almost).err(), Some(Exhausted::Cooling(Duration::from_millis(1))));
    assert!(pool.checkout(&[], T0.after(Duration::from_secs(30))).is_ok());
}

#[test]
fn the_later_deadline_wins() {
    let pool = pool(1);
    pool.report(0, cool(100), T0);
    pool.report(0, cool(10), T0);
    assert_eq!(pool.exhausted(T0), Exhausted::Cooling(Duration::from_secs(100)));
}

#[test]
fn rests_without_a_stated_time_escalate_and_a_success_forgives() {
    let pool = pool(1);
    let unstated = Mark::Cool { reason: Reason::RateLimited, stated: None };
    let mut now = T0;
    for expected in [60, 120, 240, 480, 600, 600] {
        pool.report(0, unstated, now);
        assert_eq!(pool.exhausted(now), Exhausted::Cooling(Duration::from_secs(expected)));
        now = now.after(Duration::from_secs(expected));
    }
    pool.report(0, Mark::Success, now);
    pool.report(0, unstated, now);
    assert_eq!(pool.exhausted(now), Exhausted::Cooling(Duration::from_secs(60)));
}

#[test]
fn many_answers_of_one_moment_are_one_mark() {
    let pool = pool(1);
    let unstated = Mark::Cool { reason: Reason::RateLimited, stated: None };
    (0..50).for_each(|_| pool.report(0, unstated, T0));
    assert_eq!(pool.keys()[0].state.transitions().map(|(_, rests, _)| rests).sum::<u64>(), 1);
    assert!(pool.checkout(&[], T0.after(Duration::from_secs(120))).is_ok());
}

#[test]
fn a_disabled_key_never_comes_back_by_itself() {
    let pool = pool(1);
    pool.report(0, Mark::Disable(Reason::Unauthorized), T0);
    pool.report(0, cool(1), T0);
    assert_eq!(pool.checkout(&[], Millis(u64::MAX - 1)).err(), Some(Exhausted::NoneUsable));
    assert_eq!(pool.keys()[0].state.standing(T0), Standing::Disabled(Some(Reason::Unauthorized)));
}

#[test]
fn without_permanent_a_dead_key_rests() {
    let pool = pool_with(&[0], Rules { permanent: false, ..RULES }, 0);
    pool.report(0, Mark::Disable(Reason::Unauthorized), T0);
    assert_eq!(pool.exhausted(T0), Exhausted::Cooling(RULES.max_cooldown));
}

#[test]
fn strikes_count_in_a_row() {
    let pool = pool_with(&[0], Rules { threshold: 3, ..RULES }, 0);
    for mark in [Mark::Strike, Mark::Strike, Mark::Success, Mark::Strike, Mark::Strike] {
        pool.report(0, mark, T0);
        assert!(pool.has_ready(T0));
    }
    pool.report(0, Mark::Strike, T0);
    assert_eq!(pool.exhausted(T0), Exhausted::Cooling(RULES.cooldown));
}

#[test]
fn a_tried_key_comes_again_only_if_no_other_is_ready() {
    let pool = pool(3);
    assert_eq!(pool.checkout(&[0, 1], T0).unwrap().index(), 2);
    pool.report(2, cool(9), T0);
    assert_eq!(pool.checkout(&[0], T0).unwrap().index(), 1);
    pool.report(1, cool(9), T0);
    assert_eq!(pool.checkout(&[0], T0).unwrap().index(), 0);
}

#[test]
fn absurd_times_are_bounded() {
    let pool = pool(1);
    pool.report(0, Mark::Cool { reason: Reason::RateLimited, stated: Some(Duration::MAX) }, T0);
    assert!(matches!(pool.exhausted(T0), Exhausted::Cooling(rest) if rest < Duration::from_secs(41 * 86_400)));
}

#[test]
fn a_dropped_lease_is_no_longer_in_flight() {
    let pool = pool(1);
    let lease = pool.checkout(&[], T0).unwrap();
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
    assert_eq!(pool(0).checkout(&[], T0).err(), Some(Exhausted::NoneUsable));
}

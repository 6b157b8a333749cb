//! Keys with nothing left of a limit are asked last.

use super::*;

fn defer(pool: &Pool, index: u32, scope: Scope, seconds: u64) {
    pool.defer(index, scope, secs(seconds), &HERE, T0);
}

#[test]
fn a_key_with_nothing_left_is_asked_where_no_other_is_ready() {
    let pool = pool(3);
    defer(&pool, 0, Scope::Key, 60);
    assert_eq!(picks(&pool, 4, T0), [1, 2, 1, 2]);
    assert_eq!((ready(&pool, T0), pool.has_ready("m", T0)), (3, true), "it is no mark");
    mark(&pool, 1, cool(60), T0);
    mark(&pool, 2, cool(60), T0);
    assert_eq!(picks(&pool, 2, T0), [0, 0]);
    assert_eq!(pool.checkout_other("m".into(), &[1], T0).unwrap().index(), 0);
}

#[test]
fn at_the_reset_it_has_its_turn_again() {
    let pool = pool(2);
    defer(&pool, 0, Scope::Key, 60);
    defer(&pool, 0, Scope::Key, 30);
    assert_eq!(pool.explain("m", T0)[0].deferred, secs(60), "the later one holds");
    let almost = T0.after(Duration::from_millis(59_999));
    pool.advance(almost, 10);
    assert_eq!(picks(&pool, 2, almost), [1, 1]);
    assert_eq!(pool.next_return(), Some(T0.after(secs(60))));
    pool.advance(T0.after(secs(60)), 10);
    assert_eq!(picks(&pool, 2, T0.after(secs(60))), [0, 1]);
    assert_eq!(pool.transitions().returns(), 0, "it was not away");
}

#[test]
fn all_with_nothing_left_take_turns() {
    let pool = pool(3);
    (0..3).for_each(|index| defer(&pool, index, Scope::Key, 60));
    assert_eq!(picks(&pool, 6, T0), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn others_come_first_also_those_of_a_lower_tier() {
    let pool = pool_of(vec![seed(0), Seed { priority: 1, ..seed(1) }], RULES, 0);
    defer(&pool, 0, Scope::Key, 60);
    assert_eq!(picks(&pool, 2, T0), [1, 1]);
}

#[test]
fn a_models_limit_leaves_other_models_alone_and_an_accounts_is_all_its_keys() {
    let of_account = |number: usize| Seed { account: (number < 2).then(|| "a".into()), ..seed(number) };
    let pool = pool_of((0..3).map(of_account).collect(), RULES, 0);
    defer(&pool, 0, Scope::AccountModel, 60);
    assert_eq!(picks(&pool, 2, T0), [2, 2]);
    assert_eq!(pool.checkout("another", T0).unwrap().index(), 0);
    defer(&pool, 1, Scope::Account, 60);
    assert_eq!(pool.checkout("another", T0).unwrap().index(), 2);
}

#[test]
fn a_reset_forgets_it_and_a_reload_does_not() {
    let old = pool(2);
    defer(&old, 0, Scope::Model, 60);
    let new = Arc::new(Pool::new(vec![seed(1), seed(0)], RULES, 0, Some(&*old)));
    new.open(Some(&*old), T0);
    assert_eq!(picks(&new, 2, T0), [0, 0]);
    new.reset(1, T0);
    assert_eq!(picks(&new, 2, T0), [1, 0]);
}

#[test]
fn absurd_times_end() {
    let pool = pool(2);
    pool.defer(0, Scope::Key, Duration::MAX, &HERE, T0);
    assert!(pool.explain("m", T0)[0].deferred < secs(41 * 86_400));
    pool.defer(1, Scope::Key, Duration::MAX, &HERE, Millis(u64::MAX - 1));
    assert!(pool.checkout("m", T0).is_ok());
}

//! Accounts limited one after the other behind one egress.

use super::*;

/// Keys of accounts of their own, the first `behind` of them behind one egress, the others behind another.
fn pool_behind(behind: usize, keys: usize) -> Arc<Pool> {
    let seed = |number: usize| Seed {
        account: Some(format!("account {number}").into()),
        egress: Some(if number < behind { "x".into() } else { "y".into() }),
        ..seed(number)
    };
    pool_of((0..keys).map(seed).collect(), RULES, 0)
}

fn limit(pool: &Pool, index: u32, seconds: u64) -> Option<Event> {
    pool.mark(index, Scope::AccountModel, cool(seconds), &HERE, T0)
}

fn blocker(pool: &Pool, index: usize) -> Option<Blocker> {
    pool.explain("m", T0)[index].blocked.map(|(blocker, _)| blocker)
}

#[test]
fn unrelated_accounts_limited_in_a_row_rest_their_egress() {
    let pool = pool_behind(5, 7);
    assert!(matches!(limit(&pool, 0, 30), Some(Event::Rested(..))));
    limit(&pool, 1, 20);
    assert_eq!(ready(&pool, T0), 7, "for other models all are ready");
    assert_eq!(limit(&pool, 2, 40), Some(Event::EgressLimited(secs(20))), "until the first of them is back");
    assert_eq!((blocker(&pool, 3), blocker(&pool, 4)), (Some(Blocker::Egress), Some(Blocker::Egress)));
    assert_eq!(picks(&pool, 4, T0), [5, 6, 5, 6]);
    assert_eq!(ready(&pool, T0.after(secs(20))), 7);
}

#[test]
fn who_is_served_in_between_shows_that_the_egress_is_fine() {
    let pool = pool_behind(5, 7);
    for _ in 0..10 {
        limit(&pool, 0, 30);
        limit(&pool, 1, 30);
        pool.served(4, &HERE);
        limit(&pool, 2, 30);
        limit(&pool, 3, 30);
        pool.served(4, &HERE);
    }
    assert_eq!(blocker(&pool, 4), None);
    limit(&pool, 0, 30);
    limit(&pool, 1, 30);
    pool.served(5, &HERE);
    limit(&pool, 2, 30);
    assert_eq!(blocker(&pool, 4), Some(Blocker::Egress), "another egress shows nothing of this one");
}

#[test]
fn keys_of_one_account_are_one() {
    let seed = |number: usize| Seed { account: Some("a".into()), egress: Some("x".into()), ..seed(number) };
    let own = Seed { egress: Some("x".into()), ..self::seed(9) };
    let pool = pool_of((0..8).map(seed).chain([own]).collect(), RULES, 0);
    for index in 0..8 {
        limit(&pool, index, 30);
    }
    assert_eq!(blocker(&pool, 8), None);
}

#[test]
fn a_few_of_many_are_chance_and_sixteen_in_a_row_are_not() {
    let pool = pool_behind(100, 101);
    for index in 0..15 {
        limit(&pool, index, 30);
    }
    assert_eq!(blocker(&pool, 50), None);
    assert_eq!(limit(&pool, 15, 30), Some(Event::EgressLimited(secs(30))));
    assert_eq!(blocker(&pool, 50), Some(Blocker::Egress));
}

#[test]
fn an_empty_account_says_nothing_of_the_egress() {
    let pool = pool_behind(5, 6);
    let empty = Mark::Cool { reason: Reason::Exhausted, stated: Some(secs(30)) };
    for index in 0..4 {
        pool.mark(index, Scope::Account, empty, &HERE, T0);
    }
    assert_eq!(blocker(&pool, 4), None);
}

#[test]
fn limits_of_long_ago_don_t_count() {
    let pool = pool_behind(5, 6);
    limit(&pool, 0, 3600);
    limit(&pool, 1, 3600);
    let later = T0.after(secs(61));
    assert!(matches!(pool.mark(2, Scope::Account, cool(30), &HERE, later), Some(Event::Rested(..))));
    assert_eq!(pool.standing(3, later), Standing::Ready);
}

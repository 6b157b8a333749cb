//! Keys that rest because they have too little left.

use super::*;

const LONG: Duration = Duration::from_secs(600);

#[test]
fn a_key_with_too_little_rests_until_it_has_enough() {
    let pool = pool(3);
    assert!(pool.rest_balance(1, LONG, T0));
    assert!(!pool.rest_balance(1, LONG, T0), "it rests already");
    assert_eq!(picks(&pool, 4, T0), [0, 2, 0, 2]);
    assert_eq!(pool.standing(1, T0), Standing::Cooling(LONG, Some(Reason::Balance)));
    pool.succeed(1, &HERE);
    pool.reset(1, T0);
    assert_eq!(ready(&pool, T0), 2, "neither a success nor a reset gives it money");
    assert!(pool.wake_balance(1, T0));
    assert!(!pool.wake_balance(1, T0));
    assert_eq!(ready(&pool, T0), 3);
    let rests = pool.transitions().by_reason().find(|(reason, ..)| *reason == Reason::Balance);
    assert_eq!(rests.map(|(_, rests, _)| rests), Some(1));
}

#[test]
fn what_nobody_confirms_is_not_held_against_it_for_ever() {
    let pool = pool(2);
    pool.rest_balance(0, LONG, T0);
    assert_eq!(picks(&pool, 2, T0.after(LONG - secs(1))), [1, 1]);
    assert_eq!(ready(&pool, T0.after(LONG)), 2);
    pool.rest_balance(0, LONG, T0);
    pool.rest_balance(0, LONG, T0.after(secs(300)));
    assert_eq!(ready(&pool, T0.after(LONG)), 1, "told again, it rests on");
    pool.enable(0, T0.after(LONG));
    assert_eq!(ready(&pool, T0.after(LONG)), 2, "an operator's word counts until it is told again");
}

#[test]
fn nothing_else_is_lifted_with_it() {
    let pool = pool(3);
    mark(&pool, 0, cool(30), T0);
    mark(&pool, 1, DEAD, T0);
    for index in 0..2 {
        pool.rest_balance(index, LONG, T0);
        pool.wake_balance(index, T0);
    }
    assert_eq!(pool.standing(0, T0), Standing::Cooling(secs(30), Some(Reason::RateLimited)));
    assert_eq!(pool.standing(1, T0), Standing::Disabled(Some(Reason::Unauthorized)));
    pool.rest_balance(0, LONG, T0);
    assert_eq!(pool.standing(0, T0.after(secs(31))), Standing::Cooling(LONG - secs(31), Some(Reason::Balance)));
}

#[test]
fn it_is_the_same_rest_after_a_reload() {
    let before = pool(2);
    before.rest_balance(0, LONG, T0);
    let after = Arc::new(Pool::new((0..2).map(seed).collect(), RULES, 0, Some(&before)));
    after.open(Some(&before), T0);
    assert_eq!(ready(&after, T0), 1);
    assert!(before.wake_balance(0, T0), "whoever asked before the reload tells the pool of now");
    assert_eq!(picks(&after, 2, T0).len(), 2);
    assert_eq!(ready(&after, T0), 2);
}

//! Which keys are in doubt, and what the provider's word for a key undoes.

use super::*;

const LATELY: Duration = Duration::from_secs(1800);

fn doubts(pool: &Pool, now: Millis) -> Vec<Option<Doubt>> {
    (0..pool.keys().len() as u32).map(|index| pool.doubt(index, LATELY, now)).collect()
}

#[test]
fn keys_are_in_doubt_that_nobody_used_lately_or_that_failed() {
    let pool = pool(5);
    assert_eq!(doubts(&pool, T0), [Some(Doubt::Idle); 5]);
    drop(pool.checkout_key(0, "m", T0));
    pool.succeed(0, &HERE);
    let _under_way = pool.checkout_key(1, "m", T0);
    mark(&pool, 2, cool(60), T0);
    mark(&pool, 3, DEAD, T0);
    pool.disable(4, T0);
    assert_eq!(doubts(&pool, T0), [None; 5]);
    let later = T0.after(secs(60));
    assert_eq!(doubts(&pool, later), [None, None, Some(Doubt::Failed), None, None]);
    pool.succeed(2, &HERE);
    assert_eq!(doubts(&pool, later)[2], Some(Doubt::Idle), "it was never handed out");
    assert_eq!(doubts(&pool, T0.after(LATELY))[0], Some(Doubt::Idle));
}

#[test]
fn a_provider_that_accepts_a_key_brings_it_back() {
    let pool = pool(5);
    mark(&pool, 0, DEAD, T0);
    pool.take_changes();
    assert!(pool.vouch(0, T0));
    assert_eq!((ready(&pool, T0), pool.recheck_at(0)), (5, None));
    assert_eq!(pool.transitions().accepted(), 1);
    assert!(pool.take_changes().iter().any(|saved| saved.subject == Subject::Key(seed(0).id) && saved.until.is_some()));
    assert!(!pool.vouch(0, T0), "it is back already");
    let refused =
        Mark::Escalate { reason: Reason::Unauthorized, first: secs(300), most: secs(3600), disable_on: Some(3) };
    mark(&pool, 1, refused, T0);
    assert!(pool.vouch(1, T0));
    assert_eq!(ready(&pool, T0), 5);
    assert_eq!(pool.doubt(1, LATELY, T0), Some(Doubt::Idle));
}

#[test]
fn limits_and_what_operators_say_stay() {
    let pool = pool(4);
    mark(&pool, 0, cool(60), T0);
    mark(&pool, 1, Mark::Cool { reason: Reason::Exhausted, stated: Some(secs(60)) }, T0);
    pool.disable(2, T0);
    mark(&pool, 3, DEAD, T0);
    pool.disable(3, T0);
    let before = pool.explain("m", T0);
    assert!((0..4).all(|index| !pool.vouch(index, T0)));
    assert_eq!(pool.explain("m", T0), before);
    assert!((0..4).all(|index| !pool.reactivate(index, T0)));
    assert_eq!(pool.explain("m", T0), before);
}

#[test]
fn a_key_is_tried_again_without_a_word_of_the_provider() {
    let pool = pool(4);
    mark(&pool, 0, DEAD, T0);
    mark(&pool, 1, cool(60), T0);
    assert!(pool.reactivate(0, T0) && !pool.reactivate(1, T0));
    assert_eq!((ready(&pool, T0), pool.transitions().reactivated(), pool.transitions().accepted()), (3, 1, 0));
    mark(&pool, 0, DEAD, T0.after(secs(100)));
    assert_eq!(pool.recheck_at(0), Some(T0.after(secs(3700))), "its plan begins anew");
}

#[test]
fn a_ready_key_is_found_from_anywhere() {
    let pool = pool(6);
    for index in [0, 1, 4] {
        mark(&pool, index, cool(60), T0);
    }
    let from = |index| pool.ready_from(index, T0);
    assert_eq!([from(0), from(2), from(4), from(5)], [Some(2), Some(2), Some(5), Some(5)]);
    for index in 2..6 {
        mark(&pool, index, cool(60), T0);
    }
    assert_eq!(from(3), None);
}

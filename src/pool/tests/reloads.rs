//! One pool takes another's place.

use super::*;

fn reload(before: &Pool, seeds: Vec<Seed>, now: Millis) -> Arc<Pool> {
    let pool = Arc::new(Pool::new(seeds, RULES, 0, Some(before)));
    pool.open(Some(before), now);
    pool
}

#[test]
fn kept_keys_keep_their_state_wherever_they_move() {
    let old = pool(3);
    mark(&old, 0, cool(60), T0);
    mark(&old, 1, DEAD, T0);
    old.mark(2, Scope::Model, cool(60), &HERE, T0);
    let new = reload(&old, vec![seed(9), seed(2), seed(1), seed(0)], T0);
    assert_eq!(new.standing(3, T0), Standing::Cooling(secs(60), Some(Reason::RateLimited)));
    assert_eq!(new.standing(2, T0), Standing::Disabled(Some(Reason::Unauthorized)));
    assert_eq!(new.explain("m", T0)[1].blocked, Some((Blocker::Model, Some(Reason::RateLimited))));
    assert_eq!(picks(&new, 2, T0), [0, 0]);
    assert_eq!(ready(&new, T0.after(secs(60))), 3);
}

#[test]
fn turns_go_on_where_they_were() {
    let of = |numbers: &[usize]| numbers.iter().map(|&number| seed(number)).collect();
    let old = pool(5);
    picks(&old, 3, T0);
    let new = reload(&old, of(&[9, 0, 1, 2, 3, 4]), T0);
    assert_eq!(picks(&new, 2, T0), [4, 5], "keys 3 and 4");
    let without_the_last = reload(&new, of(&[0, 1, 2, 3]), T0);
    assert_eq!(picks(&without_the_last, 2, T0), [0, 1]);
    let with_new_ones = reload(&without_the_last, of(&[0, 7, 8]), T0);
    assert_eq!(picks(&with_new_ones, 3, T0), [1, 2, 0], "behind key 0, since key 1 is gone");
    let elsewhere = Arc::new(Pool::new(of(&[0, 7, 8]), RULES, 2, Some(&*with_new_ones)));
    elsewhere.open(Some(&*with_new_ones), T0);
    assert_eq!(picks(&elsewhere, 1, T0), [2], "they were told to begin there");
}

#[test]
fn turns_of_each_priority_go_on() {
    let of = |keys: &[(usize, u32)]| keys.iter().map(|&(number, priority)| Seed { priority, ..seed(number) }).collect();
    let old = pool_of(of(&[(0, 1), (1, 1), (2, 2), (3, 2)]), RULES, 0);
    picks(&old, 1, T0);
    let rest = |pool: &Pool, places: [u32; 2]| places.map(|place| mark(pool, place, cool(9), T0));
    rest(&old, [0, 1]);
    picks(&old, 1, T0);
    let new = reload(&old, of(&[(3, 2), (2, 2), (1, 1), (0, 1), (4, 0)]), T0);
    assert_eq!(picks(&new, 2, T0), [0, 0], "nobody had the new priority's turn");
    mark(&new, 0, cool(99), T0);
    assert_eq!(picks(&new, 2, T0), [3, 4], "key 3 stands before key 2 now, which had its turn");
    let later = T0.after(secs(9));
    new.advance(later, 10);
    assert_eq!(picks(&new, 2, later), [1, 2], "and key 1 before key 0");
}

#[test]
fn marks_of_requests_that_began_before_are_not_lost() {
    let old = pool(3);
    let lease = old.checkout("m", T0).unwrap();
    let new = reload(&old, vec![seed(2), seed(1), seed(0)], T0);
    let newer = reload(&new, vec![seed(1), seed(0)], T0);
    old.mark(lease.index(), Scope::Key, cool(60), &HERE, T0);
    assert_eq!(picks(&newer, 2, T0), [0, 0]);
    assert_eq!(newer.explain("m", T0)[1].blocked, Some((Blocker::Key, Some(Reason::RateLimited))));
    assert_eq!(old.mark(2, Scope::Key, cool(60), &HERE, T0), None, "that key is gone");
    assert!(old.checkout("m", T0).unwrap().index() != lease.index(), "the old pool knows it as well");
}

#[test]
fn a_success_of_a_request_that_began_before_forgives() {
    let old = pool(1);
    old.mark(0, Scope::Model, UNSTATED, &HERE, T0);
    let new = reload(&old, vec![seed(1), seed(0)], T0);
    old.succeed(0, &HERE);
    new.mark(1, Scope::Model, UNSTATED, &HERE, T0.after(secs(60)));
    assert_eq!(new.explain("m", T0.after(secs(60)))[1].ready_in, Some(secs(60)), "the first rest in a row");
}

#[test]
fn what_a_replaced_pool_does_late_disturbs_nothing() {
    let old = pool(2);
    old.fault(0, &HERE, T0);
    mark(&old, 0, cool(60), T0);
    let new = reload(&old, vec![seed(1), seed(0)], T0);
    let later = T0.after(secs(3600));
    old.tidy(later);
    assert_eq!((0..2).map(|i| new.key(i).unwrap().state.runs.load(Relaxed)).collect::<Vec<_>>(), [0, 1]);
    old.advance(later, 10);
    new.advance(later, 10);
    assert_eq!(new.transitions().returns(), 1, "one key came back, once");
}

#[test]
fn suspicion_moves_with_the_key() {
    let old = pool(3);
    let mut now = T0;
    let fail = |pool: &Pool, index, now: Millis| {
        pool.fault(index, &HERE, now);
        (0..5).for_each(|_| pool.served(0, &HERE));
        pool.blame(index, &HERE, now, now.after(Duration::from_millis(1)))
    };
    assert_eq!(fail(&old, 2, now), None);
    let new = reload(&old, vec![seed(2), seed(0), seed(1)], now);
    now = now.after(secs(1));
    let events: Vec<_> = (1..4).map(|i| fail(&new, 0, now.after(secs(i)))).collect();
    assert!(events.iter().flatten().any(|event| matches!(event, Event::Rested(Reason::Failing, _))), "{events:?}");
    assert!(matches!(new.standing(0, now.after(secs(4))), Standing::Cooling(..)));
}

#[test]
fn an_account_rests_on_with_its_new_keys() {
    let of = |i| Seed { account: Some("a".into()), ..seed(i) };
    let old = pool_of(vec![of(0), of(1)], RULES, 0);
    old.mark(0, Scope::Account, cool(60), &HERE, T0);
    let new = reload(&old, vec![of(1), of(2), seed(3)], T0);
    assert_eq!(picks(&new, 2, T0), [2, 2]);
}

#[test]
fn a_key_switched_off_in_the_file_comes_back_with_what_it_earned() {
    let old = pool(2);
    mark(&old, 0, cool(60), T0);
    let off = reload(&old, vec![Seed { is_off: true, ..seed(0) }, Seed { is_off: true, ..seed(1) }], T0);
    assert_eq!(off.checkout("m", T0).err(), Some(Exhausted::NoneUsable));
    let on = reload(&off, vec![seed(0), seed(1)], T0);
    assert_eq!(picks(&on, 2, T0), [1, 1]);
    assert_eq!(ready(&on, T0.after(secs(60))), 2);
}

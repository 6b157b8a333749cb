//! What marks do, and when they end.

use super::*;

#[test]
fn a_cooling_key_returns_exactly_on_time() {
    let pool = pool(1);
    mark(&pool, 0, cool(30), T0);
    let almost = T0.after(Duration::from_millis(29_999));
    assert_eq!(pool.checkout("m", almost).err(), Some(Exhausted::Cooling(Duration::from_millis(1))));
    assert!(pool.checkout("m", T0.after(secs(30))).is_ok());
}

#[test]
fn the_later_deadline_wins() {
    let pool = pool(1);
    mark(&pool, 0, cool(100), T0);
    mark(&pool, 0, cool(10), T0);
    assert_eq!(pool.exhausted("m", T0), Exhausted::Cooling(secs(100)));
    mark(&pool, 0, cool(300), T0);
    assert_eq!(pool.exhausted("m", T0.after(secs(150))), Exhausted::Cooling(secs(150)));
}

#[test]
fn rests_without_a_stated_time_escalate_and_a_success_forgives() {
    let pool = pool(1);
    let mut now = T0;
    for expected in [60, 120, 240, 480, 600, 600] {
        mark(&pool, 0, UNSTATED, now);
        assert_eq!(pool.exhausted("m", now), Exhausted::Cooling(secs(expected)));
        now = now.after(secs(expected));
    }
    pool.succeed(0, &HERE);
    mark(&pool, 0, UNSTATED, now);
    assert_eq!(pool.exhausted("m", now), Exhausted::Cooling(secs(60)));
}

#[test]
fn a_stated_reset_is_never_capped() {
    let pool = pool(1);
    mark(&pool, 0, cool(86_400), T0);
    assert_eq!(pool.exhausted("m", T0), Exhausted::Cooling(secs(86_400)));
}

#[test]
fn many_answers_of_one_moment_are_one_mark() {
    let pool = pool(1);
    let begun = (0..50).filter(|_| mark(&pool, 0, UNSTATED, T0).is_some()).count();
    assert_eq!(begun, 1);
    assert_eq!(pool.exhausted("m", T0), Exhausted::Cooling(secs(60)));
}

#[test]
fn a_disabled_key_never_comes_back_by_itself() {
    let pool = pool(1);
    assert_eq!(mark(&pool, 0, DEAD, T0), Some(Event::Disabled(Reason::Unauthorized)));
    mark(&pool, 0, cool(1), T0);
    assert_eq!(pool.checkout("m", Millis(u64::MAX - 1)).err(), Some(Exhausted::NoneUsable));
    assert_eq!(pool.standing(0, T0), Standing::Disabled(Some(Reason::Unauthorized)));
    pool.reset(0, T0);
    assert!(pool.checkout("m", T0).is_ok());
}

#[test]
fn what_an_operator_disabled_only_an_operator_enables() {
    let pool = pool(2);
    mark(&pool, 0, cool(60), T0);
    pool.disable(0, T0);
    assert_eq!(pool.standing(0, T0), Standing::Disabled(Some(Reason::Operator)));
    pool.reset(0, T0);
    pool.advance(T0.after(secs(90)), 10);
    assert_eq!(picks(&pool, 2, T0.after(secs(90))), [1, 1]);
    pool.enable(0, T0);
    assert_eq!(pool.standing(0, T0), Standing::Ready);
    let off = pool_of(vec![Seed { is_off: true, ..seed(0) }], RULES, 0);
    off.enable(0, T0);
    assert_eq!(off.standing(0, T0), Standing::Disabled(Some(Reason::Operator)), "the file has the last word");
}

#[test]
fn a_rest_after_a_reset_is_not_hidden_behind_an_older_longer_one() {
    let pool = pool(1);
    mark(&pool, 0, cool(86_400), T0);
    pool.reset(0, T0);
    mark(&pool, 0, cool(60), T0);
    assert_eq!(pool.exhausted("m", T0), Exhausted::Cooling(secs(60)));
    assert!(pool.checkout("m", T0.after(secs(60))).is_ok());
}

#[test]
fn without_permanent_a_dead_key_rests() {
    let pool = pool_with(Rules { permanent: false, ..RULES }, 1);
    mark(&pool, 0, DEAD, T0);
    assert_eq!(pool.exhausted("m", T0), Exhausted::Cooling(RULES.max_cooldown));
}

#[test]
fn strikes_count_in_a_row() {
    let pool = pool_with(Rules { threshold: 3, ..RULES }, 1);
    let strike = || pool.strike(0, &HERE, T0);
    assert_eq!((strike(), strike()), (None, None));
    pool.succeed(0, &HERE);
    assert_eq!((strike(), strike()), (None, None));
    assert_eq!(strike(), Some(Event::Rested(Reason::Failing, RULES.cooldown)));
}

#[test]
fn absurd_times_are_bounded() {
    let pool = pool(1);
    mark(&pool, 0, Mark::Cool { reason: Reason::RateLimited, stated: Some(Duration::MAX) }, T0);
    assert!(matches!(pool.exhausted("m", T0), Exhausted::Cooling(rest) if rest < secs(41 * 86_400)));
    mark(&pool, 0, Mark::Cool { reason: Reason::RateLimited, stated: Some(Duration::ZERO) }, Millis(u64::MAX));
}

#[test]
fn a_rest_is_not_for_ever_however_late_it_is() {
    let pool = pool(1);
    let late = Millis(u64::MAX - 1000);
    mark(&pool, 0, cool(60), late);
    assert!(matches!(pool.checkout("m", late).err(), Some(Exhausted::Cooling(_))));
    pool.reset(0, late);
    assert_eq!(mark(&pool, 0, DEAD, late), Some(Event::Disabled(Reason::Unauthorized)));
}

#[test]
fn a_ready_key_is_found_behind_many_whose_rest_was_made_longer() {
    let seeds = (0..200).map(|i| Seed { account: (i < 199).then(|| "a".into()), ..seed(i) }).collect();
    let pool = pool_of(seeds, RULES, 0);
    for index in 0..200 {
        mark(&pool, index, cool(60), T0);
    }
    pool.mark(0, Scope::Account, cool(90), &HERE, T0);
    assert_eq!(pool.checkout("m", T0.after(secs(60))).map(|lease| lease.index()), Ok(199));
}

#[test]
fn only_a_rest_that_ends_by_time_counts_as_a_return() {
    let pool = pool(2);
    mark(&pool, 0, cool(60), T0);
    mark(&pool, 1, cool(60), T0);
    pool.reset(0, T0);
    pool.advance(T0.after(secs(60)), 10);
    assert_eq!(pool.transitions().returns(), 1);
}

#[test]
fn a_key_resting_for_one_model_serves_the_others() {
    let pool = pool(2);
    pool.mark(0, Scope::Model, cool(60), &HERE, T0);
    assert_eq!(picks(&pool, 3, T0), [1, 1, 1]);
    assert_eq!(pool.checkout("other", T0).unwrap().index(), 0);
    pool.mark(1, Scope::Model, cool(30), &HERE, T0);
    assert_eq!(pool.checkout("m", T0).err(), Some(Exhausted::Cooling(secs(30))));
    assert_eq!(picks(&pool, 2, T0.after(secs(30))), [1, 1]);
    assert_eq!(ready(&pool, T0), 2, "the keys themselves are fine");
    mark(&pool, 1, cool(90), T0);
    assert_eq!(pool.checkout("m", T0).err(), Some(Exhausted::Cooling(secs(60))), "the other key is back first");
}

#[test]
fn invented_models_neither_grow_the_pool_nor_hide_its_keys() {
    let pool = pool(3);
    let rests_for = |model: &str| pool.explain(model, T0).iter().filter(|key| key.blocked.is_some()).count();
    for number in 0..100_000 {
        let place = Place { model: &format!("invented-{number}"), ..HERE };
        pool.mark(number % 3, Scope::Model, cool(60), &place, T0);
    }
    assert!(pool.models.load().len() <= model::MODELS);
    assert_eq!(rests_for("invented-99999"), 1);
    assert_eq!(rests_for("invented-0"), 0, "forgotten, so it is simply asked again");
    pool.tidy(T0.after(secs(3600)));
    assert!(pool.models.load().is_empty());
}

#[test]
fn an_account_rests_as_one() {
    let account = |name: &str| Some(Arc::from(name));
    let seeds = vec![
        Seed { account: account("a"), ..seed(0) },
        Seed { account: account("b"), ..seed(1) },
        Seed { account: account("a"), ..seed(2) },
        seed(3),
    ];
    let pool = pool_of(seeds, RULES, 0);
    pool.mark(0, Scope::Account, cool(60), &HERE, T0);
    assert_eq!(picks(&pool, 4, T0), [1, 3, 1, 3]);
    let why = pool.explain("m", T0);
    assert_eq!(why[2].blocked, Some((Blocker::Account, Some(Reason::RateLimited))));
    assert_eq!(why[2].ready_in, Some(secs(60)));
    mark(&pool, 2, cool(90), T0);
    assert_eq!(ready(&pool, T0.after(secs(60))), 3, "its own mark is longer");
    pool.advance(T0.after(secs(60)), 10);
    assert_eq!(picks(&pool, 3, T0.after(secs(60))), [0, 1, 3]);
    pool.mark(3, Scope::Account, cool(60), &HERE, T0);
    assert_eq!(pool.explain("m", T0)[3].blocked, Some((Blocker::Key, Some(Reason::RateLimited))), "it has no account");
}

#[test]
fn keys_of_one_egress_rest_together() {
    let seeds = (0..3).map(|i| Seed { egress: (i != 1).then(|| Arc::from("socks5://x")), ..seed(i) }).collect();
    let pool = pool_of(seeds, RULES, 0);
    pool.mark(2, Scope::Egress, cool(60), &HERE, T0);
    assert_eq!(picks(&pool, 2, T0), [1, 1]);
    assert_eq!(pool.explain("m", T0)[0].blocked.map(|(blocker, _)| blocker), Some(Blocker::Egress));
}

#[test]
fn a_mass_refusal_rests_keys_instead_of_disabling_them() {
    let pool = pool(5);
    assert_eq!(mark(&pool, 0, DEAD, T0), Some(Event::Disabled(Reason::Unauthorized)));
    assert_eq!(mark(&pool, 1, DEAD, T0.after(secs(20))), Some(Event::Disabled(Reason::Unauthorized)));
    assert_eq!(mark(&pool, 2, DEAD, T0.after(secs(40))), Some(Event::MassRefusal { keys: 3 }));
    assert!(matches!(mark(&pool, 3, DEAD, T0.after(secs(41))), Some(Event::Rested(..))));
    assert_eq!(ready(&pool, T0.after(secs(41))), 1);
    assert_eq!(ready(&pool, T0.after(secs(41 + 60))), 5, "also those that were disabled before it was known");
}

#[test]
fn dead_keys_one_by_one_are_disabled() {
    let pool = pool(5);
    for index in 0..5 {
        let now = T0.after(secs(61 * u64::from(index)));
        assert_eq!(mark(&pool, index, DEAD, now), Some(Event::Disabled(Reason::Unauthorized)), "key {index}");
    }
    let pool = super::pool(2);
    assert!((0..2).all(|index| mark(&pool, index, DEAD, T0) == Some(Event::Disabled(Reason::Unauthorized))));
}

#[test]
fn retries_are_a_fifth_of_the_requests_and_three_a_second() {
    let pool = pool(1);
    let spend_all = |is_down, now| (0..100_000).take_while(|_| pool.spend_retry(is_down, now)).count();
    let saved = spend_all(false, T0);
    assert!((10..=100).contains(&saved), "{saved}");
    assert_eq!(spend_all(false, T0.after(secs(1))), 3);
    for _ in 0..50 {
        drop(pool.checkout("m", T0));
    }
    assert_eq!(spend_all(true, T0.after(secs(2))), 3, "requests earn nothing while the circuit is down");
    assert_eq!(spend_all(false, T0.after(secs(2))), 10);
    assert_eq!(spend_all(false, T0), 0, "a clock that seems to go back grants nothing");
}

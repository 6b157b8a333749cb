//! Rounds on a clock that only moves when told to.

use std::collections::BTreeMap;

use super::*;
use crate::pool::tests::{DEAD, HERE, T0, pool, secs};
use crate::pool::{Mark, Reason, Scope};

const TICK: Duration = Duration::from_millis(100);
fn probe(every: u64) -> Probe {
    Probe { every: (every > 0).then(|| Duration::from_secs(every)), concurrency: 4 }
}

/// One that begins now.
fn round() -> Round {
    Round { due: T0.0 as f64, ..Round::default() }
}

fn disable(pool: &Pool, index: u32, now: Millis) {
    assert!(pool.mark(index, Scope::Key, DEAD, &HERE, now).is_some());
}

/// Lets the time pass; every probe ends at once. Who was probed when, in seconds since `from`.
fn run(round: &mut Round, pool: &Pool, probe: &Probe, from: Millis, time: Duration) -> Vec<(u64, u32, Why)> {
    let mut probed = Vec::new();
    let mut now = from;
    while now <= from.after(time) {
        pool.advance(now, 1000);
        if let Some((index, why)) = round.take(pool, probe, 0.5, now) {
            probed.push(((now.0 - from.0) / 1000, index, why));
            round.done();
        }
        now = now.after(TICK);
    }
    probed
}

fn times(probed: &[(u64, u32, Why)]) -> BTreeMap<u32, usize> {
    let mut times = BTreeMap::new();
    probed.iter().for_each(|(_, index, _)| *times.entry(*index).or_default() += 1);
    times
}

#[test]
fn a_round_comes_to_each_idle_key_once_and_spreads_them_over_its_time() {
    let (pool, mut round) = (pool(10), round());
    let probed = run(&mut round, &pool, &probe(100), T0, secs(99));
    assert_eq!(times(&probed), (0..10).map(|index| (index, 1)).collect());
    let pauses: Vec<u64> = probed.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(pauses.iter().all(|pause| (9..=11).contains(pause)), "{pauses:?}");
    let more = run(&mut round, &pool, &probe(100), T0.after(secs(100)), secs(299));
    assert_eq!(times(&more), (0..10).map(|index| (index, 3)).collect());
}

#[test]
fn a_round_begins_a_while_after_the_start() {
    let (pool, mut round) = (pool(60), Round::default());
    assert_eq!(run(&mut round, &pool, &probe(1800), T0, secs(59)), []);
    assert!(!run(&mut round, &pool, &probe(1800), T0.after(secs(60)), secs(60)).is_empty());
}

#[test]
fn a_key_that_serves_requests_is_not_asked() {
    let (pool, mut round) = (pool(3), round());
    let mut probed = Vec::new();
    for minute in 0..20 {
        let now = T0.after(secs(minute * 60));
        let lease = pool.checkout_key(1, "m", now).unwrap();
        drop(lease);
        pool.succeed(1, &HERE);
        probed.extend(run(&mut round, &pool, &probe(120), now, secs(59)));
    }
    assert_eq!(times(&probed).keys().copied().collect::<Vec<_>>(), [0, 2]);
    // One that is in the middle of a request isn't, either.
    let _lease = pool.checkout_key(0, "m", T0).unwrap();
    assert_eq!(times(&run(&mut round, &pool, &probe(120), T0.after(secs(10_000)), secs(119))).get(&0), None);
}

#[test]
fn a_resting_key_is_not_asked_before_its_time_and_a_switched_off_one_never() {
    let (pool, mut round) = (pool(3), round());
    let rest = Mark::Cool { reason: Reason::RateLimited, stated: Some(secs(3600)) };
    pool.mark(0, Scope::Key, rest, &HERE, T0);
    pool.disable(1, T0);
    let probed = run(&mut round, &pool, &probe(60), T0, secs(2 * 3600));
    assert!(probed.iter().all(|(at, index, _)| *index != 0 || *at >= 3600), "{probed:?}");
    assert!(times(&probed)[&0] >= 59);
    assert_eq!(times(&probed).get(&1), None);
}

#[test]
fn what_costs_money_is_asked_only_of_keys_that_failed() {
    let (pool, mut round) = (pool(4), round());
    round.set_billed(true);
    let rest = Mark::Cool { reason: Reason::RateLimited, stated: Some(secs(30)) };
    pool.mark(2, Scope::Key, rest, &HERE, T0);
    let probed = run(&mut round, &pool, &probe(100), T0.after(secs(60)), secs(100));
    assert_eq!(times(&probed).keys().copied().collect::<Vec<_>>(), [2]);
}

#[test]
fn disabled_keys_are_asked_by_their_plan_even_without_rounds() {
    let (pool, mut round) = (pool(9), round());
    disable(&pool, 4, T0);
    let probed = run(&mut round, &pool, &probe(0), T0, secs(7 * 3600));
    assert_eq!(probed, [(3600, 4, Why::Recheck), (6 * 3600, 4, Why::Recheck)]);
}

#[test]
fn a_reactivation_asks_all_that_rules_disabled_once_and_nobody_else() {
    let (pool, mut round) = (pool(40), round());
    (0..9).for_each(|index| disable(&pool, index, T0.after(secs(100 * u64::from(index)))));
    pool.disable(3, T0);
    let now = T0.after(secs(1000));
    assert_eq!(run(&mut round, &pool, &probe(0), now, secs(10)), []);
    round.reactivate();
    let probed = run(&mut round, &pool, &probe(0), now, secs(10));
    assert!(probed.iter().all(|(_, _, why)| *why == Why::Reactivation));
    assert_eq!(times(&probed), (0..9).filter(|index| *index != 3).map(|index| (index, 1)).collect());
    assert_eq!(run(&mut round, &pool, &probe(0), now.after(secs(10)), secs(10)), []);
}

#[test]
fn no_more_are_under_way_than_configured_and_none_while_nobody_answers() {
    let (pool, mut round) = (pool(100), round());
    let take = |round: &mut Round, now| round.take(&pool, &probe(1), 0.5, now).is_some();
    assert_eq!((0..100).filter(|tick| take(&mut round, T0.after(TICK * *tick))).count(), 4);
    let later = T0.after(secs(20));
    round.done();
    round.hold(later.after(secs(30)));
    assert!(!take(&mut round, later));
    assert!(!take(&mut round, later.after(secs(29))));
    assert!((0..5).any(|tick| take(&mut round, later.after(secs(31) + TICK * tick))));
}

#[test]
fn a_process_that_slept_does_not_make_up_for_it() {
    let (pool, mut round) = (pool(1000), round());
    run(&mut round, &pool, &probe(1000), T0, secs(10));
    let probed = run(&mut round, &pool, &probe(1000), T0.after(secs(100_000)), secs(10));
    assert!((9..=11).contains(&probed.len()), "{}", probed.len());
}

#[test]
fn other_settings_hold_at_once() {
    let (pool, mut round) = (pool(3), round());
    assert_eq!(run(&mut round, &pool, &probe(30_000), T0, secs(10)).len(), 1);
    assert!(run(&mut round, &pool, &probe(3), T0.after(secs(11)), secs(10)).len() >= 9);
}

#[test]
fn it_can_be_told_when_a_key_is_next() {
    let (pool, mut round) = (pool(10), round());
    let probe = probe(100);
    let probed = run(&mut round, &pool, &probe, T0, secs(35));
    let now = T0.after(secs(35));
    let next = |round: &Round, index| round.next_probe(&pool, &probe, index, now).map(|at| (at.0 - T0.0) / 1000);
    let told: Vec<u64> = (0..10).map(|index| next(&round, index).unwrap()).collect();
    for (at, index, _) in run(&mut round, &pool, &probe, now, secs(100)) {
        let told = told[index as usize];
        assert!(told.abs_diff(at + 35) <= 1, "key {index}: told {told}, was {}", at + 35);
    }
    assert_eq!(probed.len(), 4, "those come again in the next round");

    let rest = Mark::Cool { reason: Reason::RateLimited, stated: Some(secs(500)) };
    pool.mark(7, Scope::Key, rest, &HERE, now);
    assert!(next(&round, 7).is_some_and(|at| (535..=635).contains(&at)));
    disable(&pool, 8, now);
    assert_eq!(next(&round, 8), Some(35 + 3600));
    round.set_reactivation(Some(now.after(secs(60))));
    assert_eq!(next(&round, 8), Some(95));
    pool.disable(9, now);
    assert_eq!(next(&round, 9), None);
}

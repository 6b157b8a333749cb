//! When disabled keys are asked again, and when an uncertain refusal disables.

use super::*;

const HOUR: u64 = 3600;

fn hours(hours: u64) -> Millis {
    T0.after(secs(hours * HOUR))
}

#[test]
fn a_dead_key_is_asked_again_after_1_6_and_24_hours_then_daily() {
    let pool = pool(4);
    mark(&pool, 1, DEAD, T0);
    let asked: Vec<u64> = (0..=120).filter(|&hour| pool.take_rechecks(hours(hour), 10) == [1]).collect();
    assert_eq!(asked, [1, 6, 24, 48, 72, 96, 120]);
    assert_eq!(pool.recheck_at(1), Some(hours(144)));
    assert_eq!(pool.next_recheck(), Some(hours(144)));
    assert_eq!(pool.recheck_at(0), None);
}

#[test]
fn one_that_works_again_is_left_alone_and_begins_anew() {
    let pool = pool(4);
    mark(&pool, 1, DEAD, T0);
    assert_eq!(pool.take_rechecks(hours(6), 10), [1]);
    pool.reset(1, hours(6));
    assert_eq!((pool.recheck_at(1), pool.take_rechecks(hours(500), 10)), (None, vec![]));
    mark(&pool, 1, DEAD, hours(500));
    assert_eq!(pool.recheck_at(1), Some(hours(501)));
    assert_eq!(pool.take_rechecks(hours(501), 10), [1]);
}

#[test]
fn what_an_operator_disabled_is_never_asked() {
    let pool = pool(4);
    pool.disable(0, T0);
    mark(&pool, 1, DEAD, T0);
    pool.disable(1, T0);
    assert_eq!((0..200).flat_map(|hour| pool.take_rechecks(hours(hour), 10)).count(), 0);
    assert_eq!((pool.recheck_at(0), pool.recheck_at(1)), (None, None));
}

#[test]
fn no_more_are_given_than_asked_for() {
    let pool = pool(20);
    for index in 0..4 {
        mark(&pool, index, DEAD, T0);
    }
    assert_eq!(pool.take_rechecks(hours(1), 3), [0, 1, 2]);
    assert_eq!(pool.take_rechecks(hours(1), 3), [3]);
    assert_eq!(pool.take_rechecks(hours(1), 3), [0; 0]);
}

#[test]
fn a_process_that_slept_for_days_asks_once() {
    let pool = pool(4);
    mark(&pool, 1, DEAD, T0);
    assert_eq!(pool.take_rechecks(hours(1000), 10), [1]);
    assert_eq!(pool.take_rechecks(hours(1000), 10), [0; 0]);
}

#[test]
fn keys_the_provider_refused_all_at_once_are_not_asked_again() {
    let pool = pool(3);
    for index in 0..3 {
        mark(&pool, index, DEAD, T0);
    }
    assert_eq!(pool.take_rechecks(hours(100), 10), [0; 0]);
}

#[test]
fn a_reload_keeps_the_plan_and_a_restart_goes_on_with_it() {
    let old = pool(3);
    mark(&old, 0, DEAD, T0);
    assert_eq!(old.take_rechecks(hours(1), 10), [0]);
    let new = Arc::new(Pool::new(vec![seed(2), seed(1), seed(0)], RULES, 0, Some(&*old)));
    new.open(Some(&*old), hours(2));
    assert_eq!(new.recheck_at(2), Some(hours(6)));
    assert_eq!((old.take_rechecks(hours(6), 10), new.take_rechecks(hours(6), 10)), (vec![], vec![2]));

    let next = pool_of(vec![seed(0)], RULES, 0);
    next.restore(&new.take_changes(), hours(10));
    let asked: Vec<u64> = (10..=100).filter(|&hour| next.take_rechecks(hours(hour), 10) == [0]).collect();
    assert_eq!(asked, [24, 48, 72, 96]);
}

#[test]
fn a_restart_at_any_time_goes_on_with_the_plan() {
    // The clock begins anew with each process, so the key was disabled before it did.
    for (age, asked_at) in [
        (0, [1, 6, 24]),
        (1, [6, 24, 48]),
        (5, [6, 24, 48]),
        (23, [24, 48, 72]),
        (24, [48, 72, 96]),
        (1000, [1008, 1032, 1056]),
    ] {
        let before = pool(1);
        mark(&before, 0, DEAD, T0);
        let mut marks = before.take_changes();
        for mark in &mut marks {
            mark.since = mark.since.map(|_| T0.signed() - (age * HOUR * 1000) as i64);
        }
        let after = pool_of(vec![seed(0)], RULES, 0);
        after.restore(&marks, T0);
        let asked: Vec<u64> = (0..=100)
            .filter(|&hour| after.take_rechecks(hours(hour), 10) == [0])
            .map(|hour| hour + age)
            .take(3)
            .collect();
        assert_eq!(asked, asked_at, "restarted {age} hours later");
        // What is kept of it still says when it began.
        after.disable(0, T0);
        assert_eq!(after.take_changes()[0].since, marks[0].since);
    }
}

#[test]
fn a_question_that_nobody_answers_is_repeated_soon_and_the_plan_goes_on() {
    let pool = pool(4);
    mark(&pool, 1, DEAD, T0);
    let mut asked = Vec::new();
    for minute in 0..=7 * 60 {
        let now = T0.after(secs(minute * 60));
        if pool.take_rechecks(now, 1) == [1] {
            asked.push(minute);
            pool.repeat_recheck(1, now);
        }
    }
    assert_eq!(asked, [60, 65, 70, 75, 375, 380, 385, 390]);
    pool.repeat_recheck(0, hours(8));
    assert_eq!(pool.recheck_at(0), None, "it is not disabled");
}

#[test]
fn the_third_refusal_in_a_row_that_proves_nothing_disables() {
    let bare = Mark::Escalate { reason: Reason::Unauthorized, first: secs(300), most: secs(HOUR), disable_on: Some(3) };
    let pool = pool(9);
    let refuse = |now| mark(&pool, 0, bare, now);
    refuse(T0);
    // Answers to requests that were under way are no refusals of their own.
    refuse(T0);
    refuse(T0);
    refuse(hours(1));
    assert!(matches!(pool.standing(0, hours(1)), Standing::Cooling(..)));
    pool.succeed(0, &HERE);
    refuse(hours(2));
    refuse(hours(3));
    mark(&pool, 0, cool(60), hours(4));
    assert_eq!(refuse(hours(5)), Some(Event::Disabled(Reason::Unauthorized)));
    assert_eq!(pool.recheck_at(0), Some(hours(6)));
}

//! Marks that outlive the process.

use super::*;

/// A pool of the same keys in another process, with the marks that were kept.
fn next_process(seeds: Vec<Seed>, marks: &[Saved], now: Millis) -> Arc<Pool> {
    let pool = pool_of(seeds, RULES, 0);
    pool.restore(marks, now);
    pool
}

#[test]
fn every_kind_of_mark_is_kept_and_put_back() {
    let account = |i: usize| Seed { account: (i > 2).then(|| Arc::from("a")), ..seed(i) };
    let seeds = || (0..5).map(account).collect::<Vec<_>>();
    let before = pool_of(seeds(), RULES, 0);
    mark(&before, 0, UNSTATED, T0);
    mark(&before, 1, DEAD, T0);
    before.mark(2, Scope::Model, cool(120), &HERE, T0);
    before.mark(3, Scope::Account, cool(90), &HERE, T0);
    let marks = before.take_changes();
    assert_eq!(marks.len(), 4);
    assert!(before.take_changes().is_empty(), "each change is told once");

    let after = next_process(seeds(), &marks, T0);
    assert_eq!(after.explain("m", T0), before.explain("m", T0));
    assert_eq!(after.checkout("m", T0).err(), Some(Exhausted::Cooling(secs(60))));
    mark(&after, 0, UNSTATED, T0.after(secs(60)));
    let escalated = after.standing(0, T0.after(secs(60)));
    assert_eq!(escalated, Standing::Cooling(secs(120), Some(Reason::RateLimited)), "the second rest in a row");
}

#[test]
fn what_was_lifted_is_kept_as_well() {
    let before = pool(2);
    mark(&before, 0, DEAD, T0);
    let mut marks = before.take_changes();
    before.reset(0, T0);
    marks.extend(before.take_changes());
    assert_eq!(ready(&next_process(vec![seed(0), seed(1)], &marks, T0), T0), 2);
}

#[test]
fn marks_of_unknown_keys_and_of_long_ago_do_no_harm() {
    let before = pool(2);
    mark(&before, 0, cool(60), T0);
    mark(&before, 1, cool(60), T0);
    before.mark(1, Scope::Model, cool(60), &HERE, T0);
    let later = T0.after(secs(1000));
    let after = next_process(vec![seed(1), seed(7)], &before.take_changes(), later);
    assert_eq!(ready(&after, later), 2);
    assert!(after.models.load().is_empty());
}

#[test]
fn a_reload_leaves_the_marks_of_keys_that_go_with_the_pool_before() {
    let account = |i: usize| Seed { account: (i == 2).then(|| Arc::from("a")), ..seed(i) };
    let before = pool_of((0..3).map(account).collect(), RULES, 0);
    mark(&before, 0, DEAD, T0);
    mark(&before, 1, DEAD, T0);
    before.mark(2, Scope::Account, cool(90), &HERE, T0);
    let after = Arc::new(Pool::new(vec![account(2), account(1)], RULES, 0, Some(&before)));
    after.open(Some(&before), T0);
    let subjects = |pool: &Pool| pool.take_changes().into_iter().map(|saved| saved.subject).collect::<HashSet<_>>();
    let (left, moved) = (subjects(&before), subjects(&after));
    assert_eq!(left, [Subject::Key(seed(0).id), Subject::Account("a".into())].into());
    assert_eq!(moved, [Subject::Key(seed(1).id)].into());
}

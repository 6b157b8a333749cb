//! Properties of the pool's parts, each against the plainest thing that could be in its place.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Strategy;

use super::*;
use budget::Budget;
use circuit::Circuits;
use ready::ReadySet;
use rest::Rest;
use schedule::Schedule;

/// Numbers that are small, near the end of the clock, or anything between.
fn moment() -> impl Strategy<Value = u64> {
    prop_oneof![0..10_000_u64, 0..=u64::MAX, (0..10_000_u64).prop_map(|left| u64::MAX - left)]
}

fn duration() -> impl Strategy<Value = Duration> {
    moment().prop_map(Duration::from_millis)
}

proptest! {
    #[test]
    fn a_ready_set_is_a_set(len in prop_oneof![1..200_usize, 4000..5000_usize, 260_000..265_000_usize],
                            changes in vec((any::<bool>(), 0.0..1.0_f64), 1..200), asked in vec((0.0..1.0_f64, 0.0..1.0_f64), 20)) {
        let (set, mut plain) = (ReadySet::new(len), BTreeSet::new());
        let at = |share: f64| (share * len as f64) as usize;
        for (is_added, share) in changes {
            if is_added {
                set.insert(at(share));
                plain.insert(at(share));
            } else {
                // Mostly one that is there, so that words become empty.
                let index = plain.range(at(share)..).next().copied().unwrap_or(at(share));
                set.remove(index);
                plain.remove(&index);
            }
        }
        for (from, end) in asked {
            let (from, end) = (at(from), at(end));
            let expected = plain.range(from..).next().copied().filter(|&found| found < end);
            prop_assert_eq!(set.next(from, end), expected);
        }
        prop_assert_eq!(set.next(len, len + 1000), None);
    }

    #[test]
    fn a_schedule_hands_out_each_key_at_its_first_plan(plans in vec((0..8_u32, 0..100_u64, any::<bool>()), 1..100)) {
        let (mut schedule, mut plain) = (Schedule::new(8), BTreeMap::new());
        for (index, at, is_planned) in plans {
            if is_planned {
                schedule.plan(index, at);
                let planned = plain.entry(index).or_insert(at);
                *planned = at.min(*planned);
            } else {
                while let Some(due) = schedule.take_due(Millis(at)) {
                    prop_assert!(plain.remove(&due).is_some_and(|planned| planned <= at));
                }
            }
            let first = plain.iter().map(|(&index, &at)| (at, index)).min();
            prop_assert_eq!(schedule.first().map(|(at, index)| (at.0, index)), first);
        }
    }

    #[test]
    fn rests_only_grow_and_end(rests in vec((moment(), proptest::option::of(duration())), 1..20), now in moment(),
                               cooldown in duration(), max_cooldown in duration()) {
        let rules = Rules { threshold: 1, cooldown, max_cooldown, permanent: true };
        let (rest, mut until) = (Rest::default(), 0);
        for (now, stated) in rests {
            let was_ready = rest.begin(Reason::RateLimited, stated, &rules, Millis(now));
            prop_assert_eq!(was_ready, until <= now);
            prop_assert!(rest.until() >= until, "the later deadline wins");
            prop_assert!(!rest.is_disabled(), "every rest ends");
            if let Some(stated) = stated.filter(|&stated| stated <= secs(30 * 86_400)) {
                prop_assert!(rest.until() >= Millis(now).after(stated).0.min(u64::MAX - 1), "as long as stated");
            }
            if rest.until() > until {
                let longest = stated.unwrap_or(max_cooldown);
                prop_assert!(rest.until() <= Millis(now).after(longest).0, "no longer");
                prop_assert!(rest.until() <= Millis(now).after(secs(40 * 86_400)).0, "nor absurdly long");
            }
            until = rest.until();
        }
        rest.disable(Reason::Unauthorized);
        rest.begin(Reason::RateLimited, None, &rules, Millis(now));
        prop_assert!(rest.is_disabled());
        rest.reset();
        prop_assert!(rest.is_over(Millis(now)));
    }

    #[test]
    fn retries_stay_within_a_fifth_and_three_a_second(
        events in vec(prop_oneof![
            (1..200_u64).prop_map(|pause| (pause, None)),
            any::<bool>().prop_map(|is_down| (0, Some(is_down))),
        ], 1..2000),
        per_event in 0..4_u64,
        start in moment(),
    ) {
        let budget = Budget::new();
        let (mut requests, mut retries, mut while_down) = (0, 0, 0);
        let mut now = Millis(start);
        budget.spend(true, now);
        for (pause, retry) in events {
            now = Millis(now.0.saturating_add(pause));
            requests += per_event;
            (0..per_event).for_each(|_| budget.earn());
            if let Some(is_down) = retry && budget.spend(is_down, now) {
                retries += 1;
                while_down += u64::from(is_down);
            }
        }
        let by_time = (now.0 - start) * 3 / 1000;
        prop_assert!(retries <= 26 + requests / 5 + by_time, "{retries} for {requests}");
        prop_assert!(while_down <= 6 + by_time, "{while_down} while down");
    }

    #[test]
    fn no_key_is_blamed_where_no_other_was_served(events in vec((0..6_u32, any::<bool>(), 0..50_u64), 1..300)) {
        let circuits = Circuits::default();
        let mut now = T0;
        for (index, is_held, pause) in events {
            now = now.after(Duration::from_millis(pause));
            if is_held {
                prop_assert!(!circuits.blame(index, &HERE, now, 1, now));
            } else {
                circuits.fault(index, &HERE, 6, now);
            }
        }
    }

    #[test]
    fn circuits_forget_what_is_long_past(events in vec((0..5_u32, 0..2000_u32), 1..600)) {
        let pool = pool(5);
        for (index, model) in events {
            pool.fault(index, &Place { model: &format!("m{model}"), ..HERE }, T0);
        }
        prop_assert!(pool.circuits.len() <= 256, "however many models are invented");
        pool.tidy(T0.after(secs(3600)));
        prop_assert_eq!(pool.circuits.len(), 0);
        prop_assert!(pool.keys().iter().all(|key| key.state.runs.load(Relaxed) == 0));
    }
}

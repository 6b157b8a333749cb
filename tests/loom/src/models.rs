//! What must hold in every interleaving.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use loom::sync::Mutex;
use loom::thread;

use crate::lease::Lease;
use crate::ready::ReadySet;
use crate::{KeyState, Millis};

/// Runs a model in all interleavings with up to three preemptions, which show practically all mistakes; without a bound
/// it takes hours.
fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn set_of(len: usize, members: &[usize]) -> Arc<ReadySet> {
    let set = Arc::new(ReadySet::new(len));
    members.iter().for_each(|&index| set.insert(index));
    set
}

/// A search for `stays`, which is in the set all the time, while others come and go.
fn search_during(len: usize, members: &'static [usize], stays: usize, write: fn(&ReadySet)) {
    check(move || {
        let set = set_of(len, members);
        let writer = thread::spawn({
            let set = set.clone();
            move || write(&set)
        });
        let mut from = 0;
        let found = loop {
            match set.next(from, len) {
                Some(found) if found < stays => from = found + 1,
                found => break found,
            }
        };
        assert_eq!(found, Some(stays));
        writer.join().unwrap();
    });
}

#[test]
fn a_member_is_found_while_its_neighbour_comes_and_goes() {
    search_during(4, &[2, 3], 3, |set| {
        set.remove(2);
        set.insert(2);
    });
    search_during(4, &[1], 1, |set| {
        set.insert(0);
        set.remove(0);
    });
}

#[test]
fn a_member_is_found_while_words_before_it_become_empty_and_full() {
    search_during(8, &[0, 7], 7, |set| {
        set.remove(0);
        set.insert(2);
        set.remove(2);
    });
    search_during(8, &[5], 5, |set| {
        set.insert(4);
        set.insert(1);
        set.remove(4);
    });
}

#[test]
fn a_member_is_found_while_summaries_are_cleared_and_set() {
    search_during(16, &[4, 13], 13, |set| {
        set.remove(4);
        set.insert(12);
        set.insert(8);
        set.remove(8);
    });
}

#[test]
fn writers_that_take_turns_leave_what_each_has_written() {
    check(|| {
        let set = set_of(8, &[0, 3]);
        let turn = Arc::new(Mutex::new(()));
        let writers: Vec<_> = [(0, 1), (3, 6)]
            .map(|(leaves, comes)| {
                let (set, turn) = (set.clone(), turn.clone());
                thread::spawn(move || {
                    let in_turn = |write: &dyn Fn()| {
                        let _turn = turn.lock().unwrap();
                        write();
                    };
                    in_turn(&|| set.remove(leaves));
                    in_turn(&|| set.insert(comes));
                })
            })
            .into();
        for writer in writers {
            writer.join().unwrap();
        }
        let members: Vec<_> = (0..8).filter(|&index| set.contains(index)).collect();
        assert_eq!(members, [1, 6]);
    });
}

#[test]
fn leases_dropped_at_once_are_all_counted_off() {
    check(|| {
        let state = Arc::new(KeyState::default());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let state = state.clone();
                thread::spawn(move || drop(Lease::new(state, 0, Millis(1), None)))
            })
            .collect();
        let lease = Lease::new(state.clone(), 0, Millis(2), None);
        assert!((1..=3).contains(&state.in_flight.load(Relaxed)));
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(state.in_flight.load(Relaxed), 1);
        drop(lease);
        assert_eq!(state.in_flight.load(Relaxed), 0);
        assert_eq!(state.uses.load(Relaxed), 3);
    });
}

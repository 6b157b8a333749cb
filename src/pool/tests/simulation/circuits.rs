//! The reference's circuits: whose fault failures are, by the book of chances.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Millis;
use super::reference::Number;

/// Less likely than this, a run of failures is no chance.
const CHANCE: f64 = 0.000_911_881_965_554_516_2;

#[derive(Default)]
pub(super) struct Circuit {
    pub(super) served: u64,
    pub(super) last: u64,
    pub(super) runs: BTreeMap<Number, Run>,
    faults: u64,
    /// Three that failed since somebody was served, and how many had been by then.
    failing: BTreeSet<Number>,
    served_by_then: u64,
}

#[derive(Default)]
pub(super) struct Run {
    faults_before: u64,
    served_before: u64,
    own: u64,
    held: u32,
    last_held: Option<u64>,
    is_blamed: bool,
}

impl Circuit {
    /// If everybody fails here: whose rests are to be taken back.
    pub(super) fn fault(&mut self, number: Number, keys: usize, now: Millis) -> Option<Vec<Number>> {
        let new = Run { faults_before: self.faults, served_before: self.served, ..Run::default() };
        self.runs.entry(number).or_insert(new).own += 1;
        self.faults += 1;
        self.last = now.0;
        if self.served != self.served_by_then {
            self.served_by_then = self.served;
            self.failing.clear();
        }
        if self.failing.len() < 3 {
            self.failing.insert(number);
        }
        let is_down = self.failing.len() >= keys.min(3);
        is_down
            .then(|| std::mem::take(&mut self.runs).into_iter().filter(|(_, r)| r.is_blamed).map(|(n, _)| n).collect())
    }

    /// The failures of this key are its own fault.
    pub(super) fn blame(&mut self, number: Number, since: Millis, threshold: u32, now: Millis) -> bool {
        let Some(run) = self.runs.get_mut(&number) else { return false };
        if run.last_held.is_some_and(|last| since.0 <= last) {
            return false;
        }
        run.held += 1;
        run.last_held = Some(now.0);
        let served = self.served.saturating_sub(run.served_before);
        let failed = (self.faults - run.faults_before).saturating_sub(run.own);
        let share = (failed + 1) as f64 / (failed + served + 2) as f64;
        let is_fault = served > 0 && run.held >= threshold && share.powi(run.held.try_into().unwrap()) <= CHANCE;
        run.is_blamed |= is_fault;
        is_fault
    }

    pub(super) fn keep(&mut self, is_known: &impl Fn(&Number) -> bool) {
        self.runs.retain(|number, _| is_known(number));
        self.failing.retain(is_known);
    }
}

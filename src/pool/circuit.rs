//! Whose fault it is: failures that may be the provider's, the request's or the key's.
//!
//! A circuit is a target and a model. A failure counts against it first. Against a key it counts only where the same
//! request, or one that could not be tried again, failed, and it becomes the key's fault when a run of failures would be
//! most unlikely were the key like the others: with `r` the share of failures among the others' attempts since the run
//! began, `rᵏ` is the chance of `k` failures in a row. In an outage `r` is 1 and nothing is ever blamed on a key; where
//! others are served, two or three failures are enough. Keys that fail without any success between them show that the
//! circuit is down: all suspicion is taken back.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::{Millis, Place};

/// A run is the key's fault if it is less likely than e⁻⁷, 1 in 1,100.
const SURPRISE: f64 = 7.0;
/// So many keys failing with no success between them show that a circuit is down.
const DOWN: usize = 3;
/// Circuits told apart; beyond them the one that failed least recently is forgotten.
const CIRCUITS: usize = 256;
/// A circuit without failures is forgotten after this time.
const MEMORY: Duration = Duration::from_secs(600);

/// All circuits of a pool that failed lately. Empty in good times, so that a success costs nothing.
#[derive(Default)]
pub(super) struct Circuits(ArcSwap<HashMap<u64, Arc<Circuit>>>);

#[derive(Default)]
struct Circuit {
    successes: AtomicU64,
    faults: Mutex<Faults>,
}

#[derive(Default)]
struct Faults {
    total: u64,
    last: Millis,
    /// Keys that failed and did not succeed since.
    runs: HashMap<u32, Run>,
    /// Some of the keys that failed since the last success, and how many successes there had been by then.
    failing: Vec<u32>,
    successes: u64,
}

impl Circuit {
    /// Ends all runs; returns whose.
    fn forget(&self) -> Vec<u32> {
        self.faults.lock().runs.drain().map(|(index, _)| index).collect()
    }
}

/// One key's failures in a row.
struct Run {
    /// Failures, its own and others', and successes before it began.
    total_before: u64,
    successes_before: u64,
    /// The key's own failures.
    own: u64,
    /// Those held against it: none that overlaps the one before.
    held: u32,
    last: Millis,
    is_blamed: bool,
}

impl Run {
    /// How unlikely the run is by chance, as a negative logarithm.
    fn surprise(&self, total: u64, successes: u64) -> f64 {
        let failed = total.saturating_sub(self.total_before).saturating_sub(self.own) as f64;
        let served = successes.saturating_sub(self.successes_before) as f64;
        if served == 0.0 {
            return 0.0;
        }
        // The rule of succession: what few attempts show is not taken for certain.
        let share = (failed + 1.0) / (failed + served + 2.0);
        -share.ln() * f64::from(self.held)
    }
}

/// What a failure showed.
pub(super) struct Finding {
    /// The key did not fail there before, or was served since.
    pub(super) is_new: bool,
    /// Whoever is asked there fails.
    pub(super) is_down: bool,
    /// Whose suspicions are taken back, and whether they rest because of it. May include the key itself.
    pub(super) refunds: Vec<(u32, bool)>,
}

impl Circuits {
    /// Another request was served there.
    pub(super) fn served(&self, place: &Place<'_>) {
        if let Some(circuit) = self.find(place) {
            circuit.successes.fetch_add(1, Relaxed);
        }
    }

    /// What was counted as served broke off after all.
    pub(super) fn broke(&self, place: &Place<'_>) {
        if let Some(circuit) = self.find(place) {
            // Only what was counted is taken back: the circuit may be younger than the request.
            let _unchanged = circuit.successes.fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1));
        }
    }

    /// A key failed there.
    pub(super) fn fault(&self, index: u32, place: &Place<'_>, keys: usize, now: Millis) -> Finding {
        let (circuit, forgotten) = self.find(place).map_or_else(|| self.insert(place), |known| (known, Vec::new()));
        let successes = circuit.successes.load(Relaxed);
        let mut faults = circuit.faults.lock();
        let (total_before, mut is_new) = (faults.total, false);
        faults.total += 1;
        faults.last = faults.last.max(now);
        let run = faults.runs.entry(index).or_insert_with(|| {
            is_new = true;
            Run { total_before, successes_before: successes, own: 0, held: 0, last: Millis(0), is_blamed: false }
        });
        run.own += 1;
        if faults.successes != successes {
            faults.successes = successes;
            faults.failing.clear();
        }
        if faults.failing.len() < DOWN && !faults.failing.contains(&index) {
            faults.failing.push(index);
        }
        let is_down = faults.failing.len() >= DOWN.min(keys);
        let mut refunds: Vec<_> = forgotten.into_iter().map(|index| (index, false)).collect();
        if is_down {
            refunds.extend(faults.runs.drain().map(|(index, run)| (index, run.is_blamed)));
        }
        Finding { is_new, is_down, refunds }
    }

    /// Holds a failure against the key, of an attempt that began `since`; true if its run is now its own fault.
    pub(super) fn blame(&self, index: u32, place: &Place<'_>, since: Millis, threshold: u32, now: Millis) -> bool {
        let Some(circuit) = self.find(place) else { return false };
        let mut faults = circuit.faults.lock();
        let total = faults.total;
        let Some(run) = faults.runs.get_mut(&index) else { return false };
        if run.held > 0 && since <= run.last {
            return false;
        }
        run.held += 1;
        run.last = now;
        let is_fault = run.held >= threshold && run.surprise(total, circuit.successes.load(Relaxed)) >= SURPRISE;
        run.is_blamed |= is_fault;
        is_fault
    }

    /// The key succeeded there; true if that ended a run.
    pub(super) fn end_run(&self, index: u32, place: &Place<'_>) -> bool {
        self.find(place).is_some_and(|circuit| circuit.faults.lock().runs.remove(&index).is_some())
    }

    /// Forgets circuits that work again. Returns whose runs were forgotten with them.
    pub(super) fn tidy(&self, now: Millis) -> Vec<u32> {
        let known = self.0.load_full();
        let is_old = |circuit: &Circuit| circuit.faults.lock().last.after(MEMORY) <= now;
        let (old, kept): (Vec<_>, HashMap<_, _>) = {
            let (old, kept): (Vec<_>, Vec<_>) =
                known.iter().map(|(id, circuit)| (*id, circuit.clone())).partition(|(_, circuit)| is_old(circuit));
            (old, kept.into_iter().collect())
        };
        if old.is_empty() {
            return Vec::new();
        }
        self.0.store(Arc::new(kept));
        old.iter().flat_map(|(_, circuit)| circuit.forget()).collect()
    }

    /// Takes over the circuits of a pool whose keys have moved.
    pub(super) fn take_over(&self, before: &Self, moved: &[Option<u32>]) {
        let known = before.0.load_full();
        for circuit in known.values() {
            let place = |index: u32| moved.get(index as usize).copied().flatten();
            let mut faults = circuit.faults.lock();
            faults.failing = faults.failing.iter().filter_map(|&index| place(index)).collect();
            faults.runs = std::mem::take(&mut faults.runs)
                .into_iter()
                .filter_map(|(index, run)| Some((place(index)?, run)))
                .collect();
        }
        self.0.store(known);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.load().len()
    }

    fn find(&self, place: &Place<'_>) -> Option<Arc<Circuit>> {
        let known = self.0.load();
        if known.is_empty() {
            return None;
        }
        known.get(&id(place)).cloned()
    }

    /// Also returns whose runs were forgotten with the circuit that gave way. Callers hold the pool's lock.
    fn insert(&self, place: &Place<'_>) -> (Arc<Circuit>, Vec<u32>) {
        let mut known = HashMap::clone(&self.0.load());
        let oldest = || known.iter().min_by_key(|(_, circuit)| circuit.faults.lock().last).map(|(id, _)| *id);
        let dropped = if known.len() >= CIRCUITS { oldest().and_then(|id| known.remove(&id)) } else { None };
        let circuit = Arc::<Circuit>::default();
        known.insert(id(place), circuit.clone());
        self.0.store(Arc::new(known));
        (circuit, dropped.map(|dropped| dropped.forget()).unwrap_or_default())
    }
}

fn id(place: &Place<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (place.target, place.model).hash(&mut hasher);
    hasher.finish()
}

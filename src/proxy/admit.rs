//! How much may be under way at once: connections, requests, and bytes of buffered bodies.
//!
//! All are plain counters with RAII guards; beyond them the client is told to come back, in well under a millisecond.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::answer::Answer;

/// Memory for buffered bodies where the system states less or nothing (bytes).
const BUDGET_MAX: usize = 4 << 30;
/// Share of the machine's memory that buffered bodies may take.
const BUDGET_SHARE: usize = 4;

/// The counters, shared by all requests.
pub struct Admission {
    connections: Arc<AtomicUsize>,
    in_flight: Arc<AtomicUsize>,
    buffered: Arc<AtomicUsize>,
    buffered_max: usize,
}

impl Admission {
    /// Counters for a machine with that much memory (bytes), if known.
    pub fn new(memory: Option<usize>) -> Self {
        let buffered_max = memory.map_or(BUDGET_MAX, |bytes| bytes / BUDGET_SHARE).min(BUDGET_MAX);
        Self { connections: Arc::default(), in_flight: Arc::default(), buffered: Arc::default(), buffered_max }
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Admits a request if fewer than `limit` are under way.
    pub(super) fn admit(&self, limit: usize) -> Result<Slot, Answer> {
        Slot::take(&self.in_flight, limit)
    }

    /// Accepts a connection if fewer than `limit` are open.
    pub(super) fn connect(&self, limit: usize) -> Result<Slot, Answer> {
        Slot::take(&self.connections, limit)
    }

    /// An empty share of the body budget.
    pub(super) fn budget(&self) -> BodyBudget {
        BodyBudget { total: self.buffered.clone(), max: self.buffered_max, held: 0 }
    }
}

/// One admitted request or connection.
pub(super) struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(counter: &Arc<AtomicUsize>, limit: usize) -> Result<Self, Answer> {
        let slot = Self(counter.clone());
        // The guard exists before the check, so what is refused is counted back as well.
        if slot.0.fetch_add(1, Relaxed) < limit { Ok(slot) } else { Err(Answer::Overloaded) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// One request's share of the memory for bodies.
pub(super) struct BodyBudget {
    total: Arc<AtomicUsize>,
    max: usize,
    held: usize,
}

impl BodyBudget {
    /// Takes more, as the bytes arrive: a length that is only announced costs nothing.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Answer> {
        self.held += bytes;
        if self.total.fetch_add(bytes, Relaxed) + bytes > self.max { Err(Answer::Overloaded) } else { Ok(()) }
    }
}

impl Drop for BodyBudget {
    fn drop(&mut self) {
        self.total.fetch_sub(self.held, Relaxed);
    }
}

/// Memory this process may use (bytes): the container's limit or the machine's, whichever is smaller.
pub fn available_memory() -> Option<usize> {
    let number = |text: String| text.trim().parse::<usize>().ok();
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(number);
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        Some(line.trim().trim_end_matches("kB").trim().parse::<usize>().ok()? * 1024)
    });
    [container, machine].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_given_back_also_by_the_refused() {
        let admission = Admission::new(None);
        let first = admission.admit(1).ok().unwrap();
        assert!(matches!(admission.admit(1), Err(Answer::Overloaded)));
        assert_eq!(admission.in_flight(), 1);
        drop(first);
        assert_eq!(admission.in_flight(), 0);
        assert!(admission.admit(1).is_ok());
    }

    #[test]
    fn the_budget_is_shared_and_given_back() {
        let admission = Admission::new(Some(400));
        let mut first = admission.budget();
        assert!(first.grow(60).is_ok());
        let mut second = admission.budget();
        assert!(matches!(second.grow(60), Err(Answer::Overloaded)));
        drop(second);
        drop(first);
        assert!(admission.budget().grow(100).is_ok());
    }
}

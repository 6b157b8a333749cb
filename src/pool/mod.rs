//! The pool core: which key now, what a failure costs, when a key returns.
//!
//! Sans-io: no socket, no clock, no random numbers, no async. Time comes in as [`Millis`] since the process started, so
//! every rule can be tested without waiting. The truth is a deadline per key, account, egress and (key, model), in
//! atomics; boards (bitsets and schedules) find keys by it. A checkout takes no lock and allocates nothing, unless the
//! key has limits; whatever changes a deadline holds the pool's lock, off the fast path.
//!
//! Invariants: a disabled key is never handed out; a resting key not before its time, one with limits never for more than
//! they leave, and one of which the provider says that nothing is left only where no other is ready; a lease counts as in
//! flight until it is dropped, however its request ended; a reload loses no mark, also none of a request that began
//! before it.

mod apply;
mod atomic;
mod balance;
mod board;
mod budget;
mod build;
mod checkout;
mod circuit;
mod control;
mod crowd;
mod egress;
mod explain;
mod group;
mod key;
mod lease;
mod mark;
mod model;
mod quota;
mod ready;
mod recheck;
mod refusal;
mod rest;
mod restriction;
mod saved;
mod schedule;
mod selection;
mod vouch;
mod window;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

pub use checkout::{Demand, Exhausted};
pub use explain::{Blocker, Explanation, Standing};
pub use key::{Key, KeyState, RESULTS, Seed};
pub use lease::Lease;
pub use mark::{Event, Mark, Place, Reason, Scope};
pub use quota::{Calendar, LimitUse};
pub use saved::{Saved, Subject};
pub use vouch::Doubt;
pub(crate) use window::{Day, Minute};

use board::{Board, Deadlines};
use budget::Budget;
use circuit::Circuits;
use crowd::Crowds;
use group::{Bond, Group};
use model::{ModelBoard, Models, Owner, View};
use recheck::Rechecks;
use refusal::Refusals;
use rest::{NEVER, Rest};
use restriction::Restrictions;
use saved::Changed;
use selection::Strategy;

/// Milliseconds on a monotonic clock that starts with the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// This moment plus a duration, without overflow.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// For differences with moments before the process started.
    pub(crate) fn signed(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// Time left until `later`; zero if it has passed.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }
}

/// How the pool answers failures.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Consecutive uncertain failures before a key rests.
    pub threshold: u32,
    /// Rest where no time was stated.
    pub cooldown: Duration,
    /// Cap of the rest that repeated marks escalate to.
    pub max_cooldown: Duration,
    /// A key may be disabled; otherwise it rests for `max_cooldown`.
    pub permanent: bool,
}

/// How often keys entered a state. Outlives reloads.
#[derive(Debug, Default)]
pub struct Transitions {
    rests: [AtomicU64; Reason::ALL.len()],
    disablements: [AtomicU64; Reason::ALL.len()],
    returns: AtomicU64,
    accepted: AtomicU64,
    reactivated: AtomicU64,
}

impl Transitions {
    /// Per reason: rests begun and keys disabled.
    pub fn by_reason(&self) -> impl Iterator<Item = (Reason, u64, u64)> + '_ {
        let counts = self.rests.iter().zip(&self.disablements);
        Reason::ALL.into_iter().zip(counts).map(|(reason, (r, d))| (reason, r.load(Relaxed), d.load(Relaxed)))
    }

    /// Keys whose rest ended.
    pub fn returns(&self) -> u64 {
        self.returns.load(Relaxed)
    }

    /// Keys that are used again because a probe showed that the provider accepts them.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Keys that are used again because the time had come to try them.
    pub fn reactivated(&self) -> u64 {
        self.reactivated.load(Relaxed)
    }
}

/// The keys of one pool, in the order they are asked; one generation, from one reload to the next.
pub struct Pool {
    keys: Box<[Key]>,
    groups: Box<[Group]>,
    /// Ranges of equal priority in `keys`, which is sorted by it.
    tiers: Box<[Tier]>,
    start_index: usize,
    rules: Rules,
    board: Board,
    models: ArcSwap<Models>,
    restrictions: Restrictions,
    circuits: Circuits,
    calendar: Calendar,
    budget: Arc<Budget>,
    transitions: Arc<Transitions>,
    ledger: Mutex<Ledger>,
    /// Set under the ledger's lock.
    heir: OnceLock<Heir>,
}

struct Tier {
    priority: u32,
    range: Range<usize>,
    strategy: Box<dyn Strategy>,
}

/// What only writers need; its lock serialises them.
#[derive(Default)]
struct Ledger {
    /// Keys that time alone does not bring back.
    disabled: usize,
    /// Keys with as many requests at once as they may have.
    full: usize,
    refusals: Refusals,
    crowds: Crowds,
    rechecks: Rechecks,
    /// Marks to be kept beyond this process.
    changed: HashSet<Changed>,
}

/// The pool that took this one's place.
struct Heir {
    pool: Arc<Pool>,
    /// Where this pool's keys are in it.
    moved: Box<[Option<u32>]>,
}

impl Heir {
    fn place(&self, index: u32) -> Option<u32> {
        self.moved.get(index as usize).copied().flatten()
    }
}

impl Pool {
    /// The keys, tier by tier.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// One key.
    pub fn key(&self, index: u32) -> Option<&Key> {
        self.keys.get(index as usize)
    }

    /// How often keys entered a state.
    pub fn transitions(&self) -> &Transitions {
        &self.transitions
    }

    /// Some keys are for some models only.
    pub fn has_reserved_keys(&self) -> bool {
        !self.restrictions.is_empty()
    }

    /// Some key is for this model, whether or not it can be used at present.
    pub fn serves(&self, model: &str) -> bool {
        self.restrictions.serve(model)
    }

    /// Takes one retry from the budget: false if it is spent. Fewer are granted where everything `is_down`.
    pub fn spend_retry(&self, is_down: bool, now: Millis) -> bool {
        self.budget.spend(is_down, now)
    }

    /// The board that a request for this model is served by.
    fn view(&self, model: &str, now: Millis) -> View {
        let models = self.models.load();
        // Neither is what nearly every request finds.
        if models.is_empty() && self.restrictions.is_empty() {
            return View::Pool;
        }
        let own = models.iter().position(|board| board.model().is_some_and(|name| &**name == model));
        if let Some(place) = own {
            return View::Known(models, place);
        }
        let Some(class) = self.restrictions.class(model) else { return View::Pool };
        let owner = Owner::Class(class);
        match models.iter().position(|board| board.owner == owner) {
            Some(place) => View::Known(models, place),
            None => {
                let _writer = self.ledger.lock();
                View::Made(self.board_of(owner, now))
            }
        }
    }

    /// Until when a key may not be used: for this model, or at all.
    fn blocked_until(&self, index: u32, model: Option<&ModelBoard>) -> u64 {
        let Some(key) = self.key(index).filter(|key| !key.is_switched_off()) else { return NEVER };
        let of_group = |place| self.group(place).map_or(0, |group| group.rest.until());
        let own = key.state.until().max(of_group(key.account)).max(of_group(key.egress));
        own.max(model.map_or(0, |model| model.blocked_until(index)))
    }

    /// Until when a key may not be used, and until when others are asked first: for this model, or at all.
    fn deadlines(&self, index: u32, model: Option<&ModelBoard>) -> Deadlines {
        let own = self.key(index).map_or(0, |key| {
            let account = self.group(key.account).map_or(0, |group| group.rest.deferred());
            account.max(key.state.own.deferred())
        });
        let of_model = model.and_then(|model| model.mark(index)).map_or(0, Rest::deferred);
        Deadlines { blocked: self.blocked_until(index, model), deferred: own.max(of_model) }
    }

    /// The name of the account a key belongs to.
    pub fn account(&self, key: &Key) -> Option<&str> {
        self.group(key.account).map(|account| &*account.name)
    }

    fn group(&self, place: Option<u32>) -> Option<&Group> {
        place.and_then(|place| self.groups.get(place as usize))
    }

    /// Lets keys return whose time has come, at most `limit` of each board; returns how many were looked at.
    pub fn advance(&self, now: Millis, limit: usize) -> usize {
        let _writer = self.ledger.lock();
        let mut returned = 0;
        let mut looked_at = self.board.advance(now, limit, |index| {
            let until = self.deadlines(index, None);
            returned += u64::from(until.blocked <= now.0 && !self.board.ready.contains(index as usize));
            until
        });
        // The pool that took this one's place counts the same returns.
        if self.heir.get().is_none() {
            self.transitions.returns.fetch_add(returned, Relaxed);
        }
        for model in self.models.load().iter() {
            looked_at += model.board.advance(now, limit, |index| self.deadlines(index, Some(model)));
        }
        looked_at
    }

    /// When [`Pool::advance`] has something to do next.
    pub fn next_return(&self) -> Option<Millis> {
        let _writer = self.ledger.lock();
        let models = self.models.load();
        let first = self.board.first_return(|index| self.blocked_until(index, None));
        let of_models =
            models.iter().filter_map(|model| model.board.first_return(|i| self.blocked_until(i, Some(model))));
        first.into_iter().chain(of_models).min()
    }

    /// Forgets what is of no use any more: models whose keys are long back, circuits that work.
    pub fn tidy(&self, now: Millis) {
        let _writer = self.ledger.lock();
        // The circuits are the heir's, and their keys' places in it.
        if self.heir.get().is_some() {
            return;
        }
        let models = self.models.load();
        if models.iter().any(|model| model.is_forgotten(now)) {
            let kept = models.iter().filter(|model| !model.is_forgotten(now)).cloned().collect();
            self.models.store(Arc::new(kept));
        }
        for index in self.circuits.tidy(now) {
            self.end_run(index);
        }
    }

    /// Corrects the boards' picture of a key.
    fn refresh(&self, index: u32, now: Millis) {
        let _writer = self.ledger.lock();
        self.enter(index, now);
    }

    /// Enters a key into every board as its deadlines say. Callers hold the ledger.
    fn enter(&self, index: u32, now: Millis) {
        self.board.enter(index, self.deadlines(index, None), now);
        for model in self.models.load().iter() {
            model.board.enter(index, self.deadlines(index, Some(model)), now);
        }
    }

    fn end_run(&self, index: u32) {
        if let Some(key) = self.key(index) {
            // Runs are counted under the ledger's lock, so this never passes zero.
            key.state.runs.fetch_sub(1, Relaxed);
        }
    }
}

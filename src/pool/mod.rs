//! The pool core: which key now, what a failure costs, when a key returns.
//!
//! Sans-io: no socket, no clock, no random numbers, no async. Time comes in as [`Millis`] since the process started, so
//! every rule can be tested without waiting. The truth is a deadline per key, account, egress and (key, model), in
//! atomics; boards (bitsets and schedules) find keys by it. A checkout takes no lock and allocates nothing; whatever
//! changes a deadline holds the pool's lock, off the fast path.
//!
//! Invariants: a disabled key is never handed out; a resting key not before its time, and one with nothing left of a
//! limit only where no other is ready; a lease counts as in flight until
//! it is dropped, however its request ended; a reload loses no mark, also none of a request that began before it.

mod apply;
mod atomic;
mod balance;
mod board;
mod budget;
mod build;
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

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

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
use quota::PLACE_WAIT;
use ready::ReadySet;
use recheck::Rechecks;
use refusal::Refusals;
use rest::{FULL, NEVER, Rest};
use restriction::Restrictions;
use saved::Changed;
use selection::{Candidates, Strategy};

/// Keys that a request which found none ready looks at in the schedule, before it gives up.
const DUE_AT_ONCE: usize = 32;
/// After so many keys in a row a request looks elsewhere: keys that were bought together often die together.
const NEIGHBOURS: usize = 8;
/// Keys that a retry passes over in search of one without suspicion.
const PASSED_OVER: usize = 16;
/// Keys without room for it that a request passes over.
const NARROW: usize = 1024;

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

/// What a request asks of a key.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a> {
    /// The model; empty if none.
    pub model: &'a str,
    /// Tokens of text that it is expected to use.
    pub tokens: u64,
}

impl<'a> From<&'a str> for Demand<'a> {
    fn from(model: &'a str) -> Self {
        Self { model, tokens: 0 }
    }
}

/// Why a key that is blocked until then is not handed out.
fn blocked(until: u64, now: Millis) -> Exhausted {
    match until {
        NEVER => Exhausted::NoneUsable,
        FULL => Exhausted::Cooling(PLACE_WAIT),
        _ => Exhausted::Cooling(now.until(Millis(until))),
    }
}

/// Why no key was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// Every usable key rests; the first is back after this time.
    Cooling(Duration),
    /// Time alone brings none back.
    NoneUsable,
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

    /// The key of a request's first attempt: the next ready one in turn.
    ///
    /// # Errors
    /// [`Exhausted`] if no key is ready for this model.
    pub fn checkout<'a>(self: &Arc<Self>, demand: impl Into<Demand<'a>>, now: Millis) -> Result<Lease, Exhausted> {
        self.budget.earn();
        let demand = demand.into();
        let mut room = NEVER;
        self.find(demand, 0, now, &mut room, |_| true).ok_or_else(|| self.without(demand.model, room, now))
    }

    /// One certain key, for a request that no other one can serve.
    ///
    /// # Errors
    /// [`Exhausted`] if it can't be used now.
    pub fn checkout_key<'a>(
        self: &Arc<Self>,
        index: u32,
        demand: impl Into<Demand<'a>>,
        now: Millis,
    ) -> Result<Lease, Exhausted> {
        let demand = demand.into();
        self.usable(index, demand.model, now)?;
        self.lease(index, demand, now).map_err(|until| blocked(until, now))
    }

    /// Whether a key can be used for this model.
    ///
    /// # Errors
    /// [`Exhausted`] if it can't be used now.
    pub fn usable(&self, index: u32, model: &str, now: Millis) -> Result<(), Exhausted> {
        match self.blocked_until(index, self.view(model, now).board()) {
            until if until > now.0 => Err(blocked(until, now)),
            _ => Ok(()),
        }
    }

    /// Some keys are for some models only.
    pub fn has_reserved_keys(&self) -> bool {
        !self.restrictions.is_empty()
    }

    /// Some key is for this model, whether or not it can be used at present.
    pub fn serves(&self, model: &str) -> bool {
        self.restrictions.serve(model)
    }

    /// The key of a further attempt. One in `tried` is handed out again only if no other is ready.
    pub fn checkout_again<'a>(
        self: &Arc<Self>,
        demand: impl Into<Demand<'a>>,
        tried: &[u32],
        now: Millis,
    ) -> Option<Lease> {
        let (demand, mut room) = (demand.into(), NEVER);
        self.checkout_other(demand, tried, now).or_else(|| self.find(demand, 0, now, &mut room, |_| true))
    }

    /// The next ready key in turn that is not in `tried`, if there is one: rather one that does not fail itself at
    /// present, for its answer tells whose fault the failure was.
    pub fn checkout_other<'a>(
        self: &Arc<Self>,
        demand: impl Into<Demand<'a>>,
        tried: &[u32],
        now: Millis,
    ) -> Option<Lease> {
        let (demand, mut room) = (demand.into(), NEVER);
        let is_tried = |index: usize| tried.iter().any(|&t| t as usize == index);
        let is_doubted = |index: usize| self.keys.get(index).is_none_or(|key| key.state.runs.load(Relaxed) != 0);
        let passed_over = std::cell::Cell::new(0);
        let proven = |index: usize| {
            if is_tried(index) {
                return false;
            }
            let is_accepted = !is_doubted(index) || passed_over.get() >= PASSED_OVER;
            passed_over.set(passed_over.get() + usize::from(!is_accepted));
            is_accepted
        };
        let refusals = tried.len();
        let found = self.find(demand, refusals, now, &mut room, proven);
        found.or_else(|| self.find(demand, refusals, now, &mut room, |index| !is_tried(index)))
    }

    /// Takes one retry from the budget: false if it is spent. Fewer are granted where everything `is_down`.
    pub fn spend_retry(&self, is_down: bool, now: Millis) -> bool {
        self.budget.spend(is_down, now)
    }

    /// The next key that is ready for the model and has room for the request. `refusals` are those of this request so
    /// far; `room` becomes the moment when one has, if that is why there is none.
    fn find(
        self: &Arc<Self>,
        demand: Demand<'_>,
        refusals: usize,
        now: Millis,
        room: &mut u64,
        admits: impl Fn(usize) -> bool,
    ) -> Option<Lease> {
        let view = self.view(demand.model, now);
        let model = view.board();
        let board = model.map_or(&self.board, |model| &model.board);
        // Nothing is allocated before a key has no room.
        let mut narrow = BTreeSet::new();
        loop {
            let admits = |index: usize| admits(index) && (narrow.is_empty() || !narrow.contains(&index));
            let index = loop {
                if let Some(index) = self.pick(&board.preferred, model, refusals, now, &admits) {
                    break index;
                }
                // Those looked at may all have been marked again meanwhile, with a ready one behind them.
                if self.advance(now, DUE_AT_ONCE) == 0 {
                    break self.pick(&board.ready, model, refusals, now, &admits)?;
                }
            };
            match self.lease(u32::try_from(index).unwrap_or(u32::MAX), demand, now) {
                Ok(lease) => return Some(lease),
                Err(until) => *room = until.min(*room),
            }
            if narrow.len() >= NARROW {
                return None;
            }
            narrow.insert(index);
        }
    }

    fn lease(self: &Arc<Self>, index: u32, demand: Demand<'_>, now: Millis) -> Result<Lease, u64> {
        let share = self.share(index, demand.tokens, now)?;
        Ok(Lease::new(self.key(index).ok_or(NEVER)?.state.clone(), index, now, share))
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

    fn pick(
        &self,
        ready: &ReadySet,
        model: Option<&ModelBoard>,
        refusals: usize,
        now: Millis,
        admits: &impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let is_candidate = |index: usize| {
            let place = index as u32;
            if !admits(index) {
                return false;
            }
            let is_ready = self.blocked_until(place, model) <= now.0;
            if !is_ready {
                // A mark that is being entered, or one put on the key after a reload took this pool's place.
                self.refresh(place, now);
            }
            is_ready
        };
        self.tiers.iter().find_map(|tier| {
            let candidates = Candidates { ready, tier: tier.range.clone(), admits: &is_candidate };
            if refusals < NEIGHBOURS { tier.strategy.choose(&candidates) } else { candidates.elsewhere(refusals) }
        })
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

    /// A key is ready now.
    pub fn has_ready(&self, model: &str, now: Millis) -> bool {
        let view = self.view(model, now);
        let model = view.board();
        let board = model.map_or(&self.board, |model| &model.board);
        let mut from = 0;
        while let Some(index) = board.ready.next(from, self.keys.len()) {
            if self.blocked_until(index as u32, model) <= now.0 {
                return true;
            }
            from = index + 1;
        }
        false
    }

    /// Why nothing can be handed out.
    pub fn exhausted(&self, model: &str, now: Millis) -> Exhausted {
        self.without(model, NEVER, now)
    }

    /// The same for a request for which a key has room from that moment on.
    fn without(&self, model: &str, room: u64, now: Millis) -> Exhausted {
        let view = self.view(model, now);
        let model = view.board();
        let board = model.map_or(&self.board, |model| &model.board);
        let ledger = self.ledger.lock();
        let back = board.first_return(|index| self.blocked_until(index, model));
        let back = back.into_iter().chain((room < FULL).then_some(Millis(room))).min();
        self.for_a_place(&ledger, back, now)
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

//! Which key now: the choice among those that are ready, and why there is none.
//!
//! A checkout takes no lock and allocates nothing, unless a key has no room for the request or a rest is over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::board::Board;
use super::model::ModelBoard;
use super::quota::PLACE_WAIT;
use super::ready::ReadySet;
use super::rest::{FULL, NEVER};
use super::selection::Candidates;
use super::{Lease, Millis, Pool};

/// Keys that a request which found none ready looks at in the schedule, before it gives up.
const DUE_AT_ONCE: usize = 32;
/// After so many keys in a row a request looks elsewhere: keys that were bought together often die together.
const NEIGHBOURS: usize = 8;
/// Keys that a retry passes over in search of one without suspicion.
const PASSED_OVER: usize = 16;
/// Keys without room for it that a request passes over.
const NARROW: usize = 1024;

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

/// Why no key was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// Every usable key rests; the first is back after this time.
    Cooling(Duration),
    /// Time alone brings none back.
    NoneUsable,
}

/// Why a key that is blocked until then is not handed out.
fn blocked(until: u64, now: Millis) -> Exhausted {
    match until {
        NEVER => Exhausted::NoneUsable,
        FULL => Exhausted::Cooling(PLACE_WAIT),
        _ => Exhausted::Cooling(now.until(Millis(until))),
    }
}

impl Pool {
    /// The key of a request's first attempt: the next ready one in turn.
    ///
    /// # Errors
    /// [`Exhausted`] if no key is ready for this model.
    pub fn checkout<'a>(self: &Arc<Self>, demand: impl Into<Demand<'a>>, now: Millis) -> Result<Lease, Exhausted> {
        self.budget.earn();
        let demand = demand.into();
        self.find(demand, 0, now, |_| true).map_err(|room| self.without(demand.model, room, now))
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

    /// The key of a further attempt. One in `tried` is handed out again only if no other is ready.
    pub fn checkout_again(self: &Arc<Self>, demand: Demand<'_>, tried: &[u32], now: Millis) -> Option<Lease> {
        self.checkout_other(demand, tried, now).or_else(|| self.find(demand, 0, now, |_| true).ok())
    }

    /// The next ready key in turn that is not in `tried`, if there is one: rather one that does not fail itself at
    /// present, for its answer tells whose fault the failure was.
    pub fn checkout_other(self: &Arc<Self>, demand: Demand<'_>, tried: &[u32], now: Millis) -> Option<Lease> {
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
        let found = self.find(demand, refusals, now, proven);
        found.or_else(|_| self.find(demand, refusals, now, |index| !is_tried(index))).ok()
    }

    /// The next key that is ready for the model and has room for the request. `refusals` are those of this request so
    /// far.
    ///
    /// # Errors
    /// When one of those that are ready will have room; [`NEVER`] if none is.
    fn find(
        self: &Arc<Self>,
        demand: Demand<'_>,
        refusals: usize,
        now: Millis,
        admits: impl Fn(usize) -> bool,
    ) -> Result<Lease, u64> {
        let view = self.view(demand.model, now);
        let model = view.board();
        let board = self.board_for(model);
        // Nothing is allocated before a key has no room.
        let (mut narrow, mut room) = (BTreeSet::new(), NEVER);
        loop {
            let admits = |index: usize| admits(index) && (narrow.is_empty() || !narrow.contains(&index));
            let index = loop {
                if let Some(index) = self.pick(&board.preferred, model, refusals, now, &admits) {
                    break index;
                }
                // Those looked at may all have been marked again meanwhile, with a ready one behind them.
                if self.advance(now, DUE_AT_ONCE) == 0 {
                    break self.pick(&board.ready, model, refusals, now, &admits).ok_or(room)?;
                }
            };
            match self.lease(u32::try_from(index).unwrap_or(u32::MAX), demand, now) {
                Ok(lease) => return Ok(lease),
                Err(until) => room = until.min(room),
            }
            if narrow.len() >= NARROW {
                return Err(room);
            }
            narrow.insert(index);
        }
    }

    fn lease(self: &Arc<Self>, index: u32, demand: Demand<'_>, now: Millis) -> Result<Lease, u64> {
        let share = self.share(index, demand.tokens, now)?;
        Ok(Lease::new(self.key(index).ok_or(NEVER)?.state.clone(), index, now, share))
    }

    /// The board that finds keys for a model, or for requests in general.
    fn board_for<'a>(&'a self, model: Option<&'a ModelBoard>) -> &'a Board {
        model.map_or(&self.board, |model| &model.board)
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

    /// A key is ready now.
    pub fn has_ready(&self, model: &str, now: Millis) -> bool {
        let view = self.view(model, now);
        let model = view.board();
        let board = self.board_for(model);
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
        let board = self.board_for(model);
        let ledger = self.ledger.lock();
        let back = board.first_return(|index| self.blocked_until(index, model));
        let room = (room < FULL).then_some(Millis(room));
        let place = (ledger.full > 0).then(|| now.after(PLACE_WAIT));
        let first = [back, room, place].into_iter().flatten().min();
        first.map_or(Exhausted::NoneUsable, |at| Exhausted::Cooling(now.until(at)))
    }
}

//! Keys that rest for one model only, or are not for it at all.
//!
//! A model gets a board of its own when the first key rests for it, and loses it some time after the last one is back.
//! Models without one share that of their class, where some keys are for some models only. Their number is bounded: a
//! client that invents model names can push others out, whose keys are then asked again and rest again, but it can't make
//! the pool grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::board::Board;
use super::rest::{NEVER, Rest};
use super::restriction::{Class, Closed};
use super::{Millis, Reason, Rules, Saved};

/// Models with resting keys that a pool tells apart.
pub(super) const MODELS: usize = 32;
/// Classes of models that a pool tells apart.
const CLASSES: usize = 64;
/// A model's marks are remembered so long after the last has ended: a rest in a row is longer than a first one.
const MEMORY: Duration = Duration::from_secs(600);

/// Whose board it is.
#[derive(PartialEq, Eq)]
pub(super) enum Owner {
    /// One model of which some keys rest.
    Model(Arc<str>),
    /// All models of a class that have no board of their own.
    Class(Class),
}

/// The keys as one model, or a class of models, sees them.
pub(super) struct ModelBoard {
    pub(super) owner: Owner,
    pub(super) board: Board,
    /// By key; none for a class.
    marks: Box<[Rest]>,
    closed: Closed,
    /// When the last rest ends.
    last_end: AtomicU64,
}

impl ModelBoard {
    pub(super) fn new(owner: Owner, keys: usize, closed: Closed) -> Self {
        let marks = if matches!(owner, Owner::Model(_)) { keys } else { 0 };
        let marks = (0..marks).map(|_| Rest::default()).collect();
        Self { owner, board: Board::new(keys), marks, closed, last_end: AtomicU64::new(0) }
    }

    /// The model, if it is one's own board.
    pub(super) fn model(&self) -> Option<&Arc<str>> {
        match &self.owner {
            Owner::Model(model) => Some(model),
            Owner::Class(_) => None,
        }
    }

    /// The key is not for this model.
    pub(super) fn is_closed(&self, index: u32) -> bool {
        self.closed.contains(index)
    }

    /// Until when the key may not be used for this model.
    pub(super) fn blocked_until(&self, index: u32) -> u64 {
        if self.is_closed(index) { NEVER } else { self.until(index) }
    }

    pub(super) fn mark(&self, index: u32) -> Option<&Rest> {
        self.marks.get(index as usize)
    }

    /// Until when the key rests for this model.
    pub(super) fn until(&self, index: u32) -> u64 {
        self.mark(index).map_or(0, Rest::until)
    }

    /// Lets a key rest for this model; true if it was ready for it.
    pub(super) fn rest(
        &self,
        index: u32,
        reason: Reason,
        stated: Option<Duration>,
        rules: &Rules,
        now: Millis,
    ) -> bool {
        let was_ready = self.mark(index).is_some_and(|mark| mark.begin(reason, stated, rules, now));
        self.last_end.fetch_max(self.until(index), Relaxed);
        was_ready
    }

    /// Asks others first for this model.
    pub(super) fn defer(&self, index: u32, time: Duration, now: Millis) {
        if let Some(mark) = self.mark(index) {
            mark.defer(time, now);
            self.last_end.fetch_max(mark.deferred(), Relaxed);
        }
    }

    /// Puts a mark back that was kept.
    pub(super) fn restore(&self, index: u32, kept: &Saved) {
        if let Some(mark) = self.mark(index) {
            mark.restore(kept);
            self.last_end.fetch_max(mark.until(), Relaxed);
        }
    }

    pub(super) fn last_end(&self) -> u64 {
        self.last_end.load(Relaxed)
    }

    pub(super) fn is_forgotten(&self, now: Millis) -> bool {
        self.model().is_some() && Millis(self.last_end()).after(MEMORY) <= now
    }

    /// The same model for the keys of a pool that takes this one's place; `moved` maps old places to new ones.
    pub(super) fn carry_over(&self, model: &Arc<str>, keys: usize, closed: Closed, moved: &[Option<u32>]) -> Self {
        let mut next = Self::new(Owner::Model(model.clone()), keys, closed);
        next.last_end = AtomicU64::new(self.last_end());
        for (mark, place) in self.marks.iter().zip(moved) {
            if let Some(slot) = place.and_then(|place| next.marks.get_mut(place as usize)) {
                *slot = mark.copy();
            }
        }
        next
    }
}

/// The boards of a pool's models.
pub(super) type Models = Vec<Arc<ModelBoard>>;

/// The board of a model, if it has one of its own.
pub(super) fn find<'a>(models: &'a Models, model: &str) -> Option<&'a Arc<ModelBoard>> {
    models.iter().find(|board| board.model().is_some_and(|name| &**name == model))
}

/// With one more; without the one whose marks end first, or the oldest class, if there are too many.
pub(super) fn with(models: &Models, more: Arc<ModelBoard>) -> Models {
    let mut models = models.clone();
    let is_model = more.model().is_some();
    let alike = || models.iter().enumerate().filter(|(_, board)| board.model().is_some() == is_model);
    if alike().count() >= if is_model { MODELS } else { CLASSES }
        && let Some((first, _)) = alike().min_by_key(|(_, board)| board.last_end())
    {
        models.remove(first);
    }
    models.push(more);
    models
}

/// The board that a request is served by.
pub(super) enum View {
    /// The pool's own.
    Pool,
    /// One of those there are.
    Known(arc_swap::Guard<Arc<Models>>, usize),
    /// One that was not there before.
    Made(Arc<ModelBoard>),
}

impl View {
    /// The model's; `None` = the pool's own.
    pub(super) fn board(&self) -> Option<&ModelBoard> {
        match self {
            Self::Pool => None,
            Self::Known(models, place) => models.get(*place).map(|board| &**board),
            Self::Made(board) => Some(board),
        }
    }
}

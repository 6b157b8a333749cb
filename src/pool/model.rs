//! Keys that rest for one model only.
//!
//! A model gets a board of its own when the first key rests for it, and loses it some time after the last one is back.
//! Their number is bounded: a client that invents model names can push others out, whose keys are then asked again and
//! rest again, but it can't make the pool grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::board::Board;
use super::rest::Rest;
use super::{Millis, Reason, Rules, Saved};

/// Models with resting keys that a pool tells apart.
pub(super) const MODELS: usize = 32;
/// A model's marks are remembered so long after the last has ended: a rest in a row is longer than a first one.
const MEMORY: Duration = Duration::from_secs(600);

/// One model of which some keys rest.
pub(super) struct ModelBoard {
    pub(super) model: Arc<str>,
    pub(super) board: Board,
    /// By key.
    marks: Box<[Rest]>,
    /// When the last rest ends.
    last_end: AtomicU64,
}

impl ModelBoard {
    pub(super) fn new(model: &str, keys: usize) -> Self {
        let marks = (0..keys).map(|_| Rest::default()).collect();
        Self { model: model.into(), board: Board::new(keys), marks, last_end: AtomicU64::new(0) }
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
        Millis(self.last_end()).after(MEMORY) <= now
    }

    /// The same model for the keys of a pool that takes this one's place; `moved` maps old places to new ones.
    pub(super) fn carry_over(&self, keys: usize, moved: &[Option<u32>]) -> Self {
        let mut next = Self::new(&self.model, keys);
        next.last_end = AtomicU64::new(self.last_end());
        for (mark, place) in self.marks.iter().zip(moved) {
            if let Some(slot) = place.and_then(|place| next.marks.get_mut(place as usize)) {
                *slot = mark.copy();
            }
        }
        next
    }
}

/// The models of a pool that have boards.
pub(super) type Models = Vec<Arc<ModelBoard>>;

/// The board of a model, if it has one.
pub(super) fn find<'a>(models: &'a Models, model: &str) -> Option<&'a Arc<ModelBoard>> {
    models.iter().find(|board| &*board.model == model)
}

/// With one more model; without the one whose marks end first if there are too many.
pub(super) fn with(models: &Models, more: Arc<ModelBoard>) -> Models {
    let mut models = models.clone();
    if models.len() >= MODELS
        && let Some(first) = (0..models.len()).min_by_key(|&i| models.get(i).map(|board| board.last_end()))
    {
        models.swap_remove(first);
    }
    models.push(more);
    models
}

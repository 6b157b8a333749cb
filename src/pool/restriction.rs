//! Keys that are for some models only.
//!
//! Models are told apart by which of the pool's globs match them: those that match the same ones are one class, and a
//! class gets a board of its own when it is first asked for. A pool whose keys are for all models looks nothing up here.

use std::collections::HashMap;

use globset::{GlobSet, GlobSetBuilder};

use super::Seed;
use super::atomic::BITS;

/// The globs that match a model, by number.
pub(super) type Class = Vec<usize>;

/// Which keys are for which models.
#[derive(Default)]
pub(super) struct Restrictions {
    globs: GlobSet,
    /// By key: the globs whose models it is for; `None` = all models. Empty if that is so of every key.
    keys: Box<[Option<Class>]>,
}

impl Restrictions {
    /// Globs that can't be used match nothing, so that no key is used for more than it may be.
    pub(super) fn new(seeds: &[Seed]) -> Self {
        if seeds.iter().all(|seed| seed.models.is_empty()) {
            return Self::default();
        }
        let mut set = GlobSetBuilder::new();
        let mut numbers: HashMap<&str, Option<usize>> = HashMap::new();
        let mut count = 0;
        let mut number = |text| {
            *numbers.entry(text).or_insert_with(|| {
                set.add(globset::Glob::new(text).ok()?);
                count += 1;
                Some(count - 1)
            })
        };
        let keys = seeds.iter().map(|seed| {
            let globs = || seed.models.iter().filter_map(|text| number(text.as_str())).collect();
            (!seed.models.is_empty()).then(globs)
        });
        let keys = keys.collect();
        Self { globs: set.build().unwrap_or_else(|_| GlobSet::empty()), keys }
    }

    /// Every key is for every model.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The class of a model, if that makes a difference.
    pub(super) fn class(&self, model: &str) -> Option<Class> {
        (!self.is_empty() && !model.is_empty()).then(|| self.globs.matches(model))
    }

    /// Some key is for this model, whether or not it can be used at present.
    pub(super) fn serve(&self, model: &str) -> bool {
        self.is_empty() || self.keys.iter().any(Option::is_none) || self.globs.is_match(model)
    }

    /// The keys that are not for a model.
    pub(super) fn closed_to(&self, model: &str) -> Closed {
        self.class(model).map(|class| self.closed(&class)).unwrap_or_default()
    }

    /// The keys that are not for the models of a class.
    pub(super) fn closed(&self, class: &Class) -> Closed {
        let mut words = vec![0; self.keys.len().div_ceil(BITS)];
        for (index, globs) in self.keys.iter().enumerate() {
            let is_closed = globs.as_ref().is_some_and(|globs| !globs.iter().any(|glob| class.contains(glob)));
            if let Some(word) = words.get_mut(index / BITS) {
                *word |= u64::from(is_closed) << (index % BITS);
            }
        }
        Closed(words.into())
    }
}

/// A set of keys; most are empty.
#[derive(Default)]
pub(super) struct Closed(Box<[u64]>);

impl Closed {
    pub(super) fn contains(&self, index: u32) -> bool {
        let index = index as usize;
        self.0.get(index / BITS).is_some_and(|word| word >> (index % BITS) & 1 == 1)
    }
}

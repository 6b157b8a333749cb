//! Tokens of text by pool and model.
//!
//! The model is a name that a client typed, so it becomes a label only once a request for it was served, and only for the
//! first few hundred names of a pool; all others are counted together.

use std::collections::HashMap;

use arc_swap::ArcSwap;
use once_cell::sync::Lazy;
use prometheus::{IntCounter, IntCounterVec};

use super::{TOKENS, opts, registered};

/// Models of one pool that are counted under their names.
const MODELS: usize = 200;
/// Longest name that becomes a label, in bytes.
const NAME_MAX: usize = 128;
/// Whatever has no name of its own here.
const OTHER: &str = "other";

static FAMILY: Lazy<IntCounterVec> = Lazy::new(|| registered(IntCounterVec::new(opts(&TOKENS), TOKENS.labels)));

/// One pool's counters.
pub(super) struct TokenMetrics {
    pool: String,
    models: ArcSwap<HashMap<Box<str>, Counters>>,
    other: Counters,
}

#[derive(Clone)]
struct Counters {
    prompt: IntCounter,
    completion: IntCounter,
}

impl TokenMetrics {
    pub(super) fn new(pool: &str) -> Self {
        Self { pool: pool.to_owned(), models: ArcSwap::default(), other: Counters::new(pool, OTHER) }
    }

    /// Counts what a request used; `is_served` if it was answered to the end.
    pub(super) fn add(&self, model: &str, prompt: u64, completion: u64, is_served: bool) {
        match self.models.load().get(model) {
            Some(known) => known.add(prompt, completion),
            None if is_served => self.learn(model).add(prompt, completion),
            None => self.other.add(prompt, completion),
        }
    }

    fn learn(&self, model: &str) -> Counters {
        let may_become_label = !model.is_empty() && model.len() <= NAME_MAX && !model.chars().any(char::is_control);
        if !may_become_label || self.models.load().len() >= MODELS {
            return self.other.clone();
        }
        let counters = Counters::new(&self.pool, model);
        self.models.rcu(|models| {
            let mut models = HashMap::clone(models);
            models.insert(model.into(), counters.clone());
            models
        });
        counters
    }
}

impl Counters {
    fn new(pool: &str, model: &str) -> Self {
        let counter = |kind| FAMILY.with_label_values(&[pool, model, kind]);
        Self { prompt: counter("prompt"), completion: counter("completion") }
    }

    fn add(&self, prompt: u64, completion: u64) {
        self.prompt.inc_by(prompt);
        self.completion.inc_by(completion);
    }
}

//! The models of each pool by number, and the tokens of text used for each.
//!
//! A model is a name that a client typed, so it becomes a label only once a request for it was served, and only for the
//! first few hundred names of a pool; all others are counted together. Whatever else counts by model uses the same
//! numbers, so that it is bounded too.

use std::collections::HashMap;
use std::sync::Arc;

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

/// A model of one pool, for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModelId(u16);

impl ModelId {
    /// No model was asked for.
    const NONE: Self = Self(0);
    const OTHER: Self = Self(1);
}

/// One pool's models.
pub(super) struct Models {
    pool: String,
    table: ArcSwap<Table>,
}

#[derive(Clone)]
struct Table {
    ids: HashMap<Arc<str>, ModelId>,
    /// By number.
    models: Vec<Model>,
}

#[derive(Clone)]
struct Model {
    name: Arc<str>,
    prompt: IntCounter,
    completion: IntCounter,
}

impl Models {
    pub(super) fn new(pool: &str) -> Self {
        let other = Model::new(pool, OTHER);
        let models = vec![Model { name: "".into(), ..other.clone() }, other];
        Self { pool: pool.to_owned(), table: ArcSwap::from_pointee(Table { ids: HashMap::new(), models }) }
    }

    /// The number of a model; it gets one of its own when a request for it `is_served`.
    pub(super) fn id(&self, model: &str, is_served: bool) -> ModelId {
        if model.is_empty() {
            return ModelId::NONE;
        }
        let table = self.table.load();
        match table.ids.get(model) {
            Some(id) => *id,
            None if is_served && table.ids.len() < MODELS && may_become_label(model) => self.learn(model),
            None => ModelId::OTHER,
        }
    }

    fn learn(&self, name: &str) -> ModelId {
        let model = Model::new(&self.pool, name);
        self.table.rcu(|table| {
            let mut table = Table::clone(table);
            if let Ok(number) = u16::try_from(table.models.len())
                && !table.ids.contains_key(name)
            {
                table.ids.insert(model.name.clone(), ModelId(number));
                table.models.push(model.clone());
            }
            table
        });
        self.table.load().ids.get(name).copied().unwrap_or(ModelId::OTHER)
    }

    pub(super) fn add(&self, id: ModelId, prompt: u64, completion: u64) {
        if let Some(model) = self.table.load().models.get(usize::from(id.0)) {
            model.prompt.inc_by(prompt);
            model.completion.inc_by(completion);
        }
    }

    /// As it is shown: empty where no model was asked for.
    pub(super) fn name(&self, id: ModelId) -> Arc<str> {
        self.table.load().models.get(usize::from(id.0)).map_or_else(|| OTHER.into(), |model| model.name.clone())
    }

    /// Tokens of all models: asked, answered.
    pub(super) fn total(&self) -> (u64, u64) {
        let table = self.table.load();
        // The first shares its counters with the second.
        let models = table.models.iter().skip(usize::from(ModelId::OTHER.0));
        models.fold((0, 0), |(prompt, completion), model| {
            (prompt + model.prompt.get(), completion + model.completion.get())
        })
    }
}

impl Model {
    fn new(pool: &str, name: &str) -> Self {
        let counter = |kind| FAMILY.with_label_values(&[pool, name, kind]);
        Self { name: name.into(), prompt: counter("prompt"), completion: counter("completion") }
    }
}

fn may_become_label(model: &str) -> bool {
    model.len() <= NAME_MAX && !model.chars().any(char::is_control)
}

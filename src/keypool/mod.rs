//! The key pool service: owns the pools, gives them their clock, and carries their state over reloads.
//!
//! `pool` decides; here decisions meet the world: wall clocks, log lines, snapshots for metrics and the admin plane.
//! Invariant: a key that stays through a reload keeps its state object, so leases of the old generation still count.

mod clock;
mod entry;
mod service;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use clock::{at, now, wall_time};
pub use entry::{Credential, Entry};

use crate::config::{Config, Keys, keys::KeyId};
use crate::pool::KeyState;
use crate::telemetry::PoolSnapshot;

/// All pools, as of the last successful reload.
#[derive(Default)]
pub struct KeyPool {
    entries: ArcSwap<Vec<Arc<Entry>>>,
}

/// What a reload changed, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// Keys after the reload.
    pub keys: usize,
    /// Keys that were not there before.
    pub added: usize,
    /// Keys that are no longer there.
    pub removed: usize,
}

impl KeyPool {
    /// The pools in the order of the configuration.
    pub fn entries(&self) -> Arc<Vec<Arc<Entry>>> {
        self.entries.load_full()
    }

    /// Replaces all pools. Keys that stay keep their state.
    pub fn replace(&self, config: &Config, keys: Keys) -> Change {
        let before = self.entries.load();
        let mut states: HashMap<KeyId, Arc<KeyState>> = HashMap::new();
        for entry in before.iter() {
            states.extend(entry.pool.keys().iter().map(|key| (key.id, key.state.clone())));
        }
        let known = states.len();
        let mut change = Change::default();
        let entries: Vec<_> = config
            .pools
            .iter()
            .zip(keys)
            .map(|(pool, specs)| {
                change.keys += specs.len();
                Arc::new(Entry::new(pool.clone(), specs, |id| states.remove(&id)))
            })
            .collect();
        change.removed = states.len();
        change.added = change.keys + change.removed - known;
        self.entries.store(Arc::new(entries));
        change
    }

    /// What metrics and the admin plane show.
    pub fn snapshots(&self, default_pool: Option<&str>) -> Vec<PoolSnapshot> {
        let now = now();
        let is_default = |name: &str| default_pool == Some(name);
        self.entries.load().iter().map(|entry| entry.snapshot(now, is_default(&entry.config.name))).collect()
    }
}

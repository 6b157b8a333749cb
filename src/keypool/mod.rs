//! The key pool service: owns the pools, gives them their clock, and carries their state over reloads.
//!
//! `pool` decides; here decisions meet the world: wall clocks, log lines, snapshots for metrics and the admin plane.
//! Invariant: a key that stays through a reload keeps its state object, so leases of the old generation still count.

mod balances;
mod browse;
mod clock;
mod control;
pub mod egress;
mod entry;
mod pins;
mod round;
mod seen;
mod service;

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

pub use balances::{ANSWERED_WITHIN, Balances, Told};
pub use browse::{Page, Wanted};
pub use clock::{at, now, wall_time};
pub use control::{Action, ControlError};
pub use egress::{Certainty, Egress, Egresses};
pub use entry::{Credential, Entry, RECHECK};
pub use pins::{Pin, Pins, ResourceId, Span};
pub use round::{Round, Why};
pub use seen::Seen;

use crate::config::{Config, Keys};
use crate::telemetry::{KeyChance, PoolSnapshot};
use crate::verdict::{Engine, Memory};

/// All pools, as of the last successful reload.
#[derive(Default)]
pub struct KeyPool {
    entries: ArcSwap<Vec<Arc<Entry>>>,
    /// Replaced, and perhaps still in use by requests: none of them shall be the one that has to free 100,000 keys.
    replaced: Mutex<Vec<Arc<Entry>>>,
}

impl KeyPool {
    /// The pools in the order of the configuration.
    pub fn entries(&self) -> Arc<Vec<Arc<Entry>>> {
        self.entries.load_full()
    }

    /// Prepares pools to take the place of the present ones. Nothing changes before they are put
    /// [in place](Self::put_in_place).
    pub fn prepare(&self, config: &Config, keys: Keys) -> Vec<Arc<Entry>> {
        let before = self.entries.load();
        let prepare = |(pool, specs): (&crate::config::Pool, _)| {
            Arc::new(Entry::new(pool.clone(), specs, named(&before, &pool.name)))
        };
        config.pools.iter().zip(keys).map(prepare).collect()
    }

    /// Replaces all pools by prepared ones. Keys that stay keep their state.
    pub fn put_in_place(&self, entries: Vec<Arc<Entry>>) {
        let (before, now) = (self.entries.load(), now());
        for entry in &entries {
            entry.open(named(&before, &entry.config.name), now);
        }
        self.replaced.lock().extend_from_slice(&before);
        self.entries.store(Arc::new(entries));
    }

    /// Takes out what was replaced and is not in use any more.
    fn take_unused(&self) -> Vec<Arc<Entry>> {
        let is_unused = |entry: &mut Arc<Entry>| Arc::strong_count(entry) + Arc::strong_count(&entry.pool) == 2;
        self.replaced.lock().extract_if(.., is_unused).collect()
    }

    /// Why each key of a pool would or would not be handed out for this model now; `None` if there is no such pool.
    pub fn explain(&self, pool: &str, model: &str) -> Option<Vec<KeyChance>> {
        Some(named(&self.entries.load(), pool)?.explain(model, now()))
    }

    /// The rules by which a pool judges answers; `None` if there is no such pool.
    pub fn verdicts(&self, pool: &str) -> Option<Arc<Engine>> {
        Some(named(&self.entries.load(), pool)?.config.verdicts.clone())
    }

    /// The last failures of a pool; `None` if there is no such pool.
    pub fn failures(&self, pool: &str) -> Option<Arc<Memory>> {
        Some(named(&self.entries.load(), pool)?.failures.clone())
    }

    /// What metrics and the admin plane show.
    pub fn snapshots(&self, default_pool: Option<&str>) -> Vec<PoolSnapshot> {
        let is_default = |name: &str| default_pool == Some(name);
        self.entries.load().iter().map(|entry| entry.snapshot(is_default(&entry.config.name))).collect()
    }
}

fn named<'a>(entries: &'a [Arc<Entry>], name: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.config.name == name).map(|entry| &**entry)
}

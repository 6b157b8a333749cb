//! What is told of keys beside what their pool knows of them: what they were used for today, out of the store's counters,
//! and what their provider refused them last.
//!
//! Invariant: keys are shown also while the store is away, then without their use; and only what is asked for just the
//! keys that are shown, so that a list of 100,000 stays quick.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::failures::KeyFailure;
use super::identity::Identity;
use super::router::AdminState;
use super::stats::Sum;
use crate::config::{KeyId, Role};
use crate::store::Use;
use crate::telemetry::KeySnapshot;
use crate::verdict::Failure;

/// Longest time somebody waits for the store.
const PATIENCE: Duration = Duration::from_millis(500);
/// Milliseconds of a UTC day; Unix time knows no leap seconds.
const DAY: i64 = 86_400_000;

/// What is told beside some keys of a pool.
pub(super) struct Beside {
    /// Since midnight (UTC); `None` = the store does not tell now.
    used: Option<HashMap<KeyId, Use>>,
    /// By the key's name.
    failures: HashMap<Arc<str>, Arc<Failure>>,
}

impl Beside {
    /// Of these keys, as far as the asker may know it.
    pub(super) async fn of(state: &AdminState, asker: &Identity, pool: &str, keys: &[KeySnapshot]) -> Self {
        Self { used: used(state, keys).await, failures: failures(state, asker, pool) }
    }

    /// What one of them was used for today.
    pub(super) fn today(&self, key: &KeySnapshot) -> Option<Sum> {
        self.used.as_ref().map(|used| Sum::from(&used.get(&key.id).copied().unwrap_or_default()))
    }

    /// What the provider refused it last, as far as the pool remembers.
    pub(super) fn last_failure(&self, key: &KeySnapshot) -> Option<KeyFailure> {
        self.failures.get(key.name.as_str()).map(|failure| KeyFailure::from(&**failure))
    }
}

async fn used(state: &AdminState, keys: &[KeySnapshot]) -> Option<HashMap<KeyId, Use>> {
    let store = state.manager.store();
    if store.status().down.is_some() {
        return None;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let ids = keys.iter().map(|key| key.id).collect();
    let read = tokio::time::timeout(PATIENCE, store.key_use(ids, now.div_euclid(DAY) * DAY)).await;
    read.ok()?.ok()
}

/// What providers say is for operators.
fn failures(state: &AdminState, asker: &Identity, pool: &str) -> HashMap<Arc<str>, Arc<Failure>> {
    let remembered = state.keypool.failures(pool).filter(|_| asker.role >= Role::Operator);
    let (newest_first, _) = remembered.map(|memory| memory.failures()).unwrap_or_default();
    newest_first.into_iter().rev().map(|failure| (failure.scene.key.clone(), failure)).collect()
}

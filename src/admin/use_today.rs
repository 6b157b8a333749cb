//! What keys were used for today: the store's counters, of just the keys that are shown.
//!
//! Invariant: keys are shown also while the store is away, then without this.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::router::AdminState;
use super::stats::Sum;
use crate::config::KeyId;
use crate::store::Use;

/// Longest time somebody waits for it.
const PATIENCE: Duration = Duration::from_millis(500);
/// Milliseconds of a UTC day; Unix time knows no leap seconds.
const DAY: i64 = 86_400_000;

/// What some keys were used for since midnight (UTC); `None` = the store does not tell now.
pub(super) struct UseToday(Option<HashMap<KeyId, Use>>);

impl UseToday {
    /// Of these keys.
    pub(super) async fn of(state: &AdminState, keys: Vec<KeyId>) -> Self {
        let store = state.manager.store();
        if store.status().down.is_some() {
            return Self(None);
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let read = tokio::time::timeout(PATIENCE, store.key_use(keys, now.div_euclid(DAY) * DAY)).await;
        Self(read.ok().and_then(Result::ok))
    }

    /// Of one of them.
    pub(super) fn of_key(&self, key: KeyId) -> Option<Sum> {
        self.0.as_ref().map(|known| Sum::from(&known.get(&key).copied().unwrap_or_default()))
    }
}

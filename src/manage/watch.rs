//! What those who watch are told: keys that changed their state, and the counters. It costs nothing unless somebody does.

use std::collections::HashMap;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::Manager;
use crate::config::KeyId;
use crate::keypool::{Entry, KeyPool, Seen, now};
use crate::telemetry::{Outcome, State, Totals, events};

/// What every key was seen to be.
pub(super) struct Watch {
    pools: HashMap<String, Vec<(KeyId, Seen)>>,
}

impl Watch {
    pub(super) fn begin(keypool: &KeyPool) -> Self {
        let now = now();
        let seen = |entry: &Entry| entry.seen(now).map(|(key, seen)| (key.id, seen)).collect();
        let pools = keypool.entries();
        Self { pools: pools.iter().map(|entry| (entry.config.name.clone(), seen(entry))).collect() }
    }

    /// Tells of every key that is something else than when it was looked at last.
    pub(super) fn tell_changes(&mut self, keypool: &KeyPool) {
        let now = now();
        let before = std::mem::take(&mut self.pools);
        for entry in keypool.entries().iter() {
            let pool = entry.config.name.as_str();
            let before = before.get(pool).map_or(&[][..], Vec::as_slice);
            let mut by_id = None;
            let mut seen_now = Vec::with_capacity(before.len());
            for (place, (key, seen)) in entry.seen(now).enumerate() {
                seen_now.push((key.id, seen));
                let was = match before.get(place) {
                    Some((id, was)) if *id == key.id => Some(*was),
                    // Keys came or went.
                    _ => by_id
                        .get_or_insert_with(|| before.iter().copied().collect::<HashMap<_, _>>())
                        .get(&key.id)
                        .copied(),
                };
                if was.is_some_and(|was| was.is_other(seen)) {
                    events::publish("key", || shown(pool, key.id, &key.name, seen));
                }
            }
            self.pools.insert(pool.to_owned(), seen_now);
        }
    }
}

fn shown(pool: &str, id: KeyId, name: &str, seen: Seen) -> Value {
    json!({
        "pool": pool,
        "key": name,
        "id": id.to_string(),
        "state": seen.state,
        "reason": seen.reason,
        "back_in": seen.back_in.map(|left| left.as_secs_f64()),
    })
}

impl Manager {
    /// Tells what was counted since the start, pool by pool.
    pub(super) fn tell_counters(&self) {
        events::publish("counters", || self.counters());
    }

    /// What was counted since the start, pool by pool.
    pub fn counters(&self) -> Value {
        let now = now();
        let pool = |entry: &Entry| {
            let totals = entry.metrics.totals();
            let mut keys = [0_usize; State::ALL.len()];
            for (_, seen) in entry.seen(now) {
                if let Some(count) = keys.get_mut(seen.state as usize) {
                    *count += 1;
                }
            }
            let mut shown = show_totals(&totals);
            shown["name"] = entry.config.name.as_str().into();
            shown["in_flight"] = entry.metrics.in_flight().into();
            shown["keys"] = State::ALL.into_iter().zip(keys).map(|(state, count)| (state.as_str(), count)).collect();
            shown
        };
        let pools: Vec<Value> = self.live.keypool.entries().iter().map(|entry| pool(entry)).collect();
        let time = jiff::Timestamp::try_from(SystemTime::now()).unwrap_or_default();
        json!({"time": format!("{time:.3}"), "pools": pools})
    }
}

/// Counts as JSON.
pub fn show_totals(totals: &Totals) -> Value {
    let outcomes = Outcome::ALL.into_iter().zip(totals.outcomes);
    let outcomes: serde_json::Map<_, _> =
        outcomes.map(|(outcome, count)| (outcome.as_str().to_owned(), count.into())).collect();
    json!({
        "requests": totals.requests(),
        "outcomes": outcomes,
        "tokens_in": totals.prompt,
        "tokens_out": totals.completion,
    })
}

//! What those who watch are told: keys that changed their state, and the counters. It costs nothing unless somebody does.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::Manager;
use crate::config::KeyId;
use crate::keypool::{Entry, KeyPool, Seen, now};
use crate::telemetry::{KeyCounts, Outcome, State, Totals, events};

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
                    events::publish("key", || json!(shown(pool, key.id, &key.name, seen)));
                }
            }
            self.pools.insert(pool.to_owned(), seen_now);
        }
    }
}

/// A key is something else than before.
#[derive(Serialize, JsonSchema)]
pub struct KeyEvent {
    pool: String,
    /// Its name.
    key: String,
    id: String,
    state: State,
    /// Why it is not ready.
    reason: Option<&'static str>,
    /// Seconds until it is ready again.
    back_in: Option<f64>,
}

fn shown(pool: &str, id: KeyId, name: &str, seen: Seen) -> KeyEvent {
    KeyEvent {
        pool: pool.to_owned(),
        key: name.to_owned(),
        id: id.to_string(),
        state: seen.state,
        reason: seen.reason,
        back_in: seen.back_in.map(|left| left.as_secs_f64()),
    }
}

/// What was counted since the start, pool by pool.
#[derive(Serialize, JsonSchema)]
pub struct Counters {
    /// RFC 3339.
    time: String,
    pools: Vec<PoolCounters>,
}

/// What was counted of a pool.
#[derive(Serialize, JsonSchema)]
pub struct PoolCounters {
    name: String,
    in_flight: i64,
    keys: KeyCounts,
    #[serde(flatten)]
    counts: Counts,
}

/// Finished requests and what they used.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Counts {
    /// All of them.
    pub requests: u64,
    /// By how they ended.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Tokens of text asked.
    pub tokens_in: u64,
    /// Tokens of text answered.
    pub tokens_out: u64,
}

impl From<&Totals> for Counts {
    fn from(totals: &Totals) -> Self {
        let outcomes = Outcome::ALL.into_iter().zip(totals.outcomes);
        Self {
            requests: totals.requests(),
            outcomes: outcomes.map(|(outcome, count)| (outcome.as_str(), count)).collect(),
            tokens_in: totals.prompt,
            tokens_out: totals.completion,
        }
    }
}

impl Manager {
    /// Tells what was counted since the start, pool by pool.
    pub(super) fn tell_counters(&self) {
        events::publish("counters", || json!(self.counters()));
    }

    /// What was counted since the start, pool by pool.
    pub fn counters(&self) -> Counters {
        let now = now();
        let pool = |entry: &Entry| PoolCounters {
            name: entry.config.name.clone(),
            in_flight: entry.metrics.in_flight(),
            keys: entry.seen(now).map(|(_, seen)| seen.state).collect(),
            counts: Counts::from(&entry.metrics.totals()),
        };
        let pools = self.live.keypool.entries().iter().map(|entry| pool(entry)).collect();
        let time = jiff::Timestamp::try_from(SystemTime::now()).unwrap_or_default();
        Counters { time: format!("{time:.3}"), pools }
    }
}

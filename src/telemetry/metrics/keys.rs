//! Key metrics, read from the pools when somebody scrapes.
//!
//! The pools count for themselves anyway; copying those counts into gauges on every request would cost the hot path
//! something and tell nobody anything sooner.

use std::collections::BTreeMap;
use std::sync::Arc;

use once_cell::sync::Lazy;
use parking_lot::RwLock;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};
use rust_decimal::Decimal;

use super::{ATTEMPTS, EGRESS_UP, KEY_BALANCE, KEY_STATE, KEY_TRANSITIONS, KEYS, TARGET_UP, opts, registered};
use crate::telemetry::snapshot::{AttemptResult, KeyCounts, KeySnapshot, PoolSnapshot, Snapshots, State, nearest};

/// Above this many proxies there is no series for each.
const EGRESS_MAX: usize = 1000;

static SNAPSHOTS: RwLock<Option<Snapshots>> = RwLock::new(None);

/// Exports what `snapshots` gives at every scrape, in place of what was given here before.
pub fn register(snapshots: Snapshots) {
    static COLLECTOR: Lazy<KeyCollector> = Lazy::new(|| registered(KeyFamilies::new().map(KeyCollector::new)));
    *SNAPSHOTS.write() = Some(snapshots);
    Lazy::force(&COLLECTOR);
}

/// Describes the families; their samples are made anew at every scrape, so that removed keys disappear.
#[derive(Clone)]
struct KeyCollector {
    descriptions: Vec<Desc>,
}

impl KeyCollector {
    fn new(families: KeyFamilies) -> Self {
        Self { descriptions: families.parts().iter().flat_map(|part| part.desc()).cloned().collect() }
    }
}

impl Collector for KeyCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let snapshots = SNAPSHOTS.read().clone();
        let (Some(snapshots), Ok(families)) = (snapshots, KeyFamilies::new()) else { return Vec::new() };
        let pools = snapshots();
        pools.iter().for_each(|pool| families.fill(pool));
        families.fill_egresses(&pools);
        families.parts().iter().flat_map(|part| part.collect()).collect()
    }
}

struct KeyFamilies {
    attempts: IntCounterVec,
    keys: IntGaugeVec,
    state: IntGaugeVec,
    transitions: IntCounterVec,
    targets: IntGaugeVec,
    egress: IntGaugeVec,
    balance: GaugeVec,
}

impl KeyFamilies {
    fn new() -> prometheus::Result<Self> {
        Ok(Self {
            attempts: IntCounterVec::new(opts(&ATTEMPTS), ATTEMPTS.labels)?,
            keys: IntGaugeVec::new(opts(&KEYS), KEYS.labels)?,
            state: IntGaugeVec::new(opts(&KEY_STATE), KEY_STATE.labels)?,
            transitions: IntCounterVec::new(opts(&KEY_TRANSITIONS), KEY_TRANSITIONS.labels)?,
            targets: IntGaugeVec::new(opts(&TARGET_UP), TARGET_UP.labels)?,
            egress: IntGaugeVec::new(opts(&EGRESS_UP), EGRESS_UP.labels)?,
            balance: GaugeVec::new(opts(&KEY_BALANCE), KEY_BALANCE.labels)?,
        })
    }

    fn parts(&self) -> [&dyn Collector; 7] {
        [&self.attempts, &self.keys, &self.state, &self.transitions, &self.targets, &self.egress, &self.balance]
    }

    fn fill(&self, pool: &PoolSnapshot) {
        let name = pool.pool.as_str();
        for (state, reason, times) in &pool.transitions {
            self.transitions.with_label_values(&[name, state.as_str(), reason]).inc_by(*times);
        }
        for target in &pool.targets {
            self.targets.with_label_values(&[name, &*target.name]).set(target.is_up.into());
        }
        let (mut states, mut all) = (KeyCounts::default(), Sums::default());
        pool.keys.visit(&mut |key| {
            states.count(key.state);
            if pool.per_key {
                self.fill_key(name, &key);
            } else {
                all.add(&key);
            }
        });
        for state in State::ALL {
            let count = i64::try_from(states.of(state)).unwrap_or(i64::MAX);
            self.keys.with_label_values(&[name, state.as_str()]).set(count);
        }
        if !pool.per_key {
            self.add_attempts([name, ""], &all.attempts);
            for (unit, sum) in all.balances {
                self.balance.with_label_values(&[name, "", &*unit]).set(nearest(sum));
            }
        }
    }

    fn fill_key(&self, pool: &str, key: &KeySnapshot) {
        let name = key.name.as_str();
        self.add_attempts([pool, name], &key.attempts);
        for state in State::ALL {
            self.state.with_label_values(&[pool, name, state.as_str()]).set((key.state == state).into());
        }
        for holding in key.balance.iter().flat_map(|balance| &*balance.amounts) {
            self.balance.with_label_values(&[pool, name, &*holding.unit]).set(nearest(holding.amount));
        }
    }

    /// A proxy may serve several pools; too many of them get no series.
    fn fill_egresses(&self, pools: &[PoolSnapshot]) {
        let all = || pools.iter().flat_map(|pool| &pool.egress);
        if all().count() > EGRESS_MAX {
            return;
        }
        for egress in all() {
            self.egress.with_label_values(&[&*egress.name]).set(1);
        }
        for egress in all().filter(|egress| !egress.is_up) {
            self.egress.with_label_values(&[&*egress.name]).set(0);
        }
    }

    /// Results a key never had get no series, but for `ok`: with a thousand keys they would be most of the page.
    fn add_attempts(&self, [pool, key]: [&str; 2], attempts: &[u64; AttemptResult::COUNT]) {
        for (result, times) in AttemptResult::ALL.iter().zip(attempts) {
            if *times > 0 || *result == AttemptResult::Ok {
                self.attempts.with_label_values(&[pool, key, result.as_str()]).inc_by(*times);
            }
        }
    }
}

/// What the keys of a pool add up to where they have no series of their own.
#[derive(Default)]
struct Sums {
    attempts: [u64; AttemptResult::COUNT],
    /// By unit.
    balances: BTreeMap<Arc<str>, Decimal>,
}

impl Sums {
    fn add(&mut self, key: &KeySnapshot) {
        self.attempts.iter_mut().zip(key.attempts).for_each(|(sum, times)| *sum += times);
        for holding in key.balance.iter().flat_map(|balance| &*balance.amounts) {
            let sum = self.balances.entry(holding.unit.clone()).or_default();
            *sum = sum.saturating_add(holding.amount);
        }
    }
}

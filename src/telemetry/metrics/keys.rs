//! Key metrics, read from the pools when somebody scrapes.
//!
//! The pools count for themselves anyway; copying those counts into gauges on every request would cost the hot path
//! something and tell nobody anything sooner.

use std::collections::BTreeMap;

use once_cell::sync::Lazy;
use parking_lot::RwLock;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};
use rust_decimal::Decimal;

use super::{ATTEMPTS, EGRESS_UP, KEY_BALANCE, KEY_STATE, KEY_TRANSITIONS, KEYS, TARGET_UP, opts, registered};
use crate::telemetry::snapshot::{AttemptResult, KeySnapshot, PoolSnapshot, Snapshots, State, nearest};

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
        for state in State::ALL {
            let count = i64::try_from(pool.count(state)).unwrap_or(i64::MAX);
            self.keys.with_label_values(&[name, state.as_str()]).set(count);
        }
        for (state, reason, times) in &pool.transitions {
            self.transitions.with_label_values(&[name, state.as_str(), reason]).inc_by(*times);
        }
        for target in &pool.targets {
            self.targets.with_label_values(&[name, &*target.name]).set(target.is_up.into());
        }
        self.fill_balances(pool);
        for key in &pool.keys {
            self.add_attempts(pool, key);
            if pool.per_key {
                for state in State::ALL {
                    let is_in = i64::from(key.state == state);
                    self.state.with_label_values(&[name, key.name.as_str(), state.as_str()]).set(is_in);
                }
            }
        }
    }

    /// By key, or in sum where keys have no series.
    fn fill_balances(&self, pool: &PoolSnapshot) {
        let mut sums: BTreeMap<&str, Decimal> = BTreeMap::new();
        for key in &pool.keys {
            for holding in key.balance.iter().flat_map(|balance| &*balance.amounts) {
                let labels = [pool.pool.as_str(), key.name.as_str(), &*holding.unit];
                if pool.per_key {
                    self.balance.with_label_values(&labels).set(nearest(holding.amount));
                } else {
                    let sum = sums.entry(&*holding.unit).or_default();
                    *sum = sum.saturating_add(holding.amount);
                }
            }
        }
        for (unit, sum) in sums {
            self.balance.with_label_values(&[pool.pool.as_str(), "", unit]).set(nearest(sum));
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
    fn add_attempts(&self, pool: &PoolSnapshot, key: &KeySnapshot) {
        let label = if pool.per_key { key.name.as_str() } else { "" };
        for result in AttemptResult::ALL {
            let times = key.attempts[result.index()];
            if times > 0 || result == AttemptResult::Ok {
                self.attempts.with_label_values(&[pool.pool.as_str(), label, result.as_str()]).inc_by(times);
            }
        }
    }
}

//! Which proxy a key's requests leave by, and how each proxy does.
//!
//! A key without a proxy of its own has a home among the pool's, by rendezvous hashing: every key ranks all proxies, and
//! the first is its home. So one that is added takes an even share of the keys, and no other key moves.
//!
//! Invariant: a key leaves its home only while that fails and `on_failure` allows it, and is back as soon as it works.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::clock::{now, wall_time};
use crate::config::{self, KeyId, KeySpec, OnFailure};
use crate::pool::Millis;
use crate::telemetry::EgressSnapshot;

/// A deadline that never comes.
const NEVER: u64 = u64::MAX;
/// After a failure another proxy is preferred for so long; doubled for each further one.
const SHUN: Duration = Duration::from_secs(1);
const SHUN_AT_MOST: Duration = Duration::from_secs(60);

/// One proxy of a pool.
pub struct Egress {
    /// As it is written.
    pub config: config::Egress,
    /// Tells its connections from others'; the same as long as nothing about it changes.
    pub group: u64,
    pool: Arc<str>,
    /// Keys rank proxies by it: the same in every process.
    rank: u64,
    max_failures: u32,
    health: Arc<Health>,
}

/// How a proxy does; outlives reloads.
#[derive(Default)]
struct Health {
    /// Until when another one is preferred; [`NEVER`] = out of use until a check succeeds.
    shunned: AtomicU64,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    /// Failures since the last success.
    failures: u32,
    error: Option<String>,
    checked: Option<Millis>,
    took: Option<Duration>,
}

/// How sure a failure is the proxy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// It can't be reached, refuses, or does not speak its protocol.
    Certain,
    /// It may as well be what lies behind it.
    Doubtful,
}

impl Egress {
    /// A proxy that no pool has.
    pub fn on_trial(config: config::Egress) -> Self {
        Self::new(&config, "", u32::MAX, None)
    }

    fn new(config: &config::Egress, pool: &str, max_failures: u32, before: Option<&Egresses>) -> Self {
        let known = before.and_then(|before| before.list.iter().find(|other| other.config.name == config.name));
        let mut hasher = DefaultHasher::new();
        config.name.hash(&mut hasher);
        config.login.as_ref().map(|(user, password)| (user.expose(), password.expose())).hash(&mut hasher);
        Self {
            config: config.clone(),
            group: hasher.finish(),
            pool: pool.into(),
            rank: number(&Sha256::digest(config.name.as_bytes())),
            max_failures,
            health: known.map(|known| known.health.clone()).unwrap_or_default(),
        }
    }

    /// What it is called.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// Out of use until a check succeeds.
    pub fn is_down(&self) -> bool {
        self.health.shunned.load(Relaxed) == NEVER
    }

    fn is_clear(&self, now: Millis) -> bool {
        self.health.shunned.load(Relaxed) <= now.0
    }

    /// A request got through.
    pub fn succeeded(&self) {
        // Only after a failure: a healthy proxy's cache line stays clean.
        if self.health.shunned.load(Relaxed) == 0 || self.is_down() {
            return;
        }
        self.health.record.lock().failures = 0;
        self.health.shunned.store(0, Relaxed);
    }

    /// A request did not get through. Enough of that in a row puts the proxy out of use.
    pub fn failed(&self, certainty: Certainty, reason: &str, now: Millis) {
        let mut record = self.health.record.lock();
        record.error = Some(reason.to_owned());
        if certainty == Certainty::Doubtful {
            return self.shun(SHUN, now);
        }
        record.failures = record.failures.saturating_add(1);
        if record.failures < self.max_failures {
            let pause = SHUN.saturating_mul(1 << (record.failures - 1).min(10)).min(SHUN_AT_MOST);
            return self.shun(pause, now);
        }
        if self.health.shunned.swap(NEVER, Relaxed) != NEVER {
            let (pool, egress) = (&*self.pool, &**self.name());
            log::warn!(pool, egress, failures = record.failures, reason; "An egress is out of use.");
        }
    }

    /// Others are preferred for a time.
    pub fn shun(&self, pause: Duration, now: Millis) {
        self.health.shunned.fetch_max(now.after(pause).0.min(NEVER - 1), Relaxed);
    }

    /// A check got through.
    pub fn proved(&self, took: Duration) {
        let mut record = self.health.record.lock();
        *record = Record { failures: 0, error: None, checked: Some(now()), took: Some(took) };
        if self.health.shunned.swap(0, Relaxed) == NEVER {
            let (pool, egress) = (&*self.pool, &**self.name());
            log::info!(pool, egress; "An egress works again.");
        }
    }

    /// A check did not get through. What that costs is told by [`failed`](Self::failed).
    pub fn disproved(&self) {
        let mut record = self.health.record.lock();
        (record.checked, record.took) = (Some(now()), None);
    }

    /// When it was checked last.
    pub fn checked(&self) -> Option<Millis> {
        self.health.record.lock().checked
    }
}

/// The proxies of a pool, and which keys leave by which.
pub struct Egresses {
    /// Those of the pool, then those of single keys.
    list: Vec<Arc<Egress>>,
    /// How many are the pool's.
    shared: usize,
    /// By key: its home's place in the list.
    homes: Vec<Option<u32>>,
    ids: Vec<KeyId>,
    on_failure: OnFailure,
}

impl Egresses {
    pub(super) fn new(pool: &config::Pool, specs: &[Arc<KeySpec>], before: Option<&Self>) -> Self {
        let made = |config| Arc::new(Egress::new(config, &pool.name, pool.egress_check.max_failures, before));
        let mut list: Vec<_> = pool.egress.iter().map(made).collect();
        let shared = list.len();
        let mut homes = Vec::new();
        let mut own = std::collections::HashMap::new();
        for spec in specs {
            homes.push(match &spec.egress {
                Some(config) => Some(*own.entry(&config.name).or_insert_with(|| {
                    let known = list.iter().position(|egress| egress.config.name == config.name);
                    known.unwrap_or_else(|| {
                        list.push(made(config));
                        list.len() - 1
                    }) as u32
                })),
                None => first(spec.id, list.get(..shared).unwrap_or_default(), |_| true),
            });
        }
        let ids = if list.is_empty() { Vec::new() } else { specs.iter().map(|spec| spec.id).collect() };
        Self { list, shared, homes, ids, on_failure: pool.egress_check.on_failure }
    }

    /// All of them.
    pub fn list(&self) -> &[Arc<Egress>] {
        &self.list
    }

    /// Where a key's requests leave in good times; `None` = directly.
    pub(super) fn home(&self, key: usize) -> Option<&Arc<Egress>> {
        self.list.get((*self.homes.get(key)?)? as usize)
    }

    /// By which proxy a key's request leaves now; `None` = directly.
    pub fn of(&self, key: u32, now: Millis) -> Option<&Arc<Egress>> {
        if self.list.is_empty() {
            return None;
        }
        let home = self.home(key as usize)?;
        if home.is_clear(now) {
            return Some(home);
        }
        match self.on_failure {
            OnFailure::Direct if home.is_down() => None,
            OnFailure::Rebind => Some(self.substitute(key, now).unwrap_or(home)),
            OnFailure::Direct | OnFailure::Rest => Some(home),
        }
    }

    fn substitute(&self, key: u32, now: Millis) -> Option<&Arc<Egress>> {
        let shared = self.list.get(..self.shared)?;
        let id = *self.ids.get(key as usize)?;
        let place = first(id, shared, |egress| egress.is_clear(now)).or_else(|| first(id, shared, |e| !e.is_down()))?;
        shared.get(place as usize)
    }

    /// The keys at home there have nowhere to go.
    pub(super) fn must_rest(&self, egress: &Egress) -> bool {
        let has_other = || self.list.iter().take(self.shared).any(|other| !other.is_down());
        egress.is_down()
            && match self.on_failure {
                OnFailure::Direct => false,
                OnFailure::Rest => true,
                OnFailure::Rebind => !has_other(),
            }
    }

    /// Keys may leave by another proxy than their home.
    pub(super) fn may_rebind(&self) -> bool {
        self.on_failure == OnFailure::Rebind && self.shared > 1
    }

    pub(super) fn snapshot(&self) -> Vec<EgressSnapshot> {
        let mut keys = vec![0; self.list.len()];
        for home in self.homes.iter().flatten() {
            keys.get_mut(*home as usize).into_iter().for_each(|count| *count += 1);
        }
        let snapshot = |(egress, keys): (&Arc<Egress>, usize)| {
            let record = egress.health.record.lock();
            EgressSnapshot {
                name: egress.name().clone(),
                is_up: !egress.is_down(),
                keys,
                failures: record.failures,
                error: record.error.clone().filter(|_| record.failures > 0),
                checked: record.checked.map(wall_time),
                took: record.took,
            }
        };
        self.list.iter().zip(keys).map(snapshot).collect()
    }
}

/// The place of the proxy that a key ranks first among those that qualify.
fn first(id: KeyId, list: &[Arc<Egress>], qualifies: impl Fn(&Egress) -> bool) -> Option<u32> {
    let id = number(id.as_bytes());
    let ranked = (0..).zip(list).filter(|(_, egress)| qualifies(egress));
    ranked.max_by_key(|(_, egress)| mix(id ^ egress.rank)).map(|(place, _)| place)
}

/// The first eight bytes, as a number.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Spreads the differences of two numbers over all bits (the finaliser of SplitMix64).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;

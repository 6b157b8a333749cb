//! One pool with what the proxy needs beside the core: configuration, credentials, metrics.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use serde_json::json;

use super::balances::Balances;
use super::clock::{now, wall_time};
use super::egress::{Egress, Egresses};
use super::pins::Pins;
use super::round::Round;
use super::seen::Seen;
use crate::config::KeyId;
use crate::config::{self, KeySpec, PerKeyMetrics};
use crate::pool::{Calendar, Event, Explanation, Key, Mark, Millis, Place, Pool, Reason, Rules, Scope, Seed};
use crate::telemetry::{KeyChance, KeyCounts, KeySnapshot, Keys, PoolMetrics, PoolSnapshot, State, events};
use crate::verdict::Memory;

/// A proxy that is out of use is checked at least so often.
pub const RECHECK: Duration = Duration::from_secs(30);
/// Above this many keys, per-key metrics are off unless asked for.
const PER_KEY_METRICS_UP_TO: usize = 1000;

/// What a key's requests carry upstream.
#[derive(Clone, Copy)]
pub struct Credential<'e> {
    /// Ready to send, hidden in debug output and never indexed by HPACK.
    pub value: &'e HeaderValue,
    /// The key's own extra headers.
    pub headers: &'e [(HeaderName, HeaderValue)],
}

/// One pool.
pub struct Entry {
    /// Its part of the configuration.
    pub config: config::Pool,
    /// Its keys.
    pub pool: Arc<Pool>,
    /// Its metrics.
    pub metrics: Arc<PoolMetrics>,
    /// Its last failures.
    pub failures: Arc<Memory>,
    pub(super) balances: Arc<Balances>,
    egresses: Egresses,
    /// What its keys made.
    pub pins: Arc<Pins>,
    /// Where its probes are.
    pub round: Arc<Mutex<Round>>,
    credentials: Vec<HeaderValue>,
    specs: Vec<Arc<KeySpec>>,
    per_key: bool,
    list_key: Option<u32>,
    places: OnceLock<HashMap<KeyId, u32>>,
}

impl Entry {
    /// Prepares a pool. Keys that are in `before` too keep their state; nothing changes before it is [opened](Self::open).
    pub(super) fn new(config: config::Pool, mut specs: Vec<Arc<KeySpec>>, before: Option<&Self>) -> Self {
        // As the core sorts them, so that an index means the same key here and there.
        specs.sort_by_key(|spec| spec.priority);
        let credentials = specs.iter().map(|spec| credential(&config, spec)).collect();
        let per_key = match config.per_key_metrics {
            PerKeyMetrics::On => true,
            PerKeyMetrics::Off => false,
            PerKeyMetrics::Auto => specs.len() <= PER_KEY_METRICS_UP_TO,
        };
        let list_key =
            config.models.list_key.as_ref().and_then(|name| specs.iter().position(|spec| spec.name == *name));
        if let (Some(name), None) = (&config.models.list_key, list_key) {
            let pool = config.name.as_str();
            log::warn!(pool; "models.list_key: the pool has no key called {name}; any key lists models.");
        }
        let egresses = Egresses::new(&config, &specs, before.map(|before| &before.egresses));
        let seeds = specs.iter().enumerate().map(|(index, spec)| seed(spec, egresses.home(index))).collect();
        let blacklist = &config.blacklist;
        let rules = Rules {
            threshold: blacklist.threshold,
            cooldown: blacklist.cooldown,
            max_cooldown: blacklist.max_cooldown,
            permanent: blacklist.permanent,
        };
        let epoch = wall_time(Millis(0)).duration_since(UNIX_EPOCH).unwrap_or_default();
        let epoch = u64::try_from(epoch.as_millis()).unwrap_or(u64::MAX);
        let calendar = Calendar { zone: config.provider.zone.clone(), epoch };
        let pool = Pool::new(seeds, rules, config.start_index, before.map(|before| &*before.pool)).by(calendar);
        let metrics = PoolMetrics::for_pool(&config.name);
        let failures = before.map(|before| before.failures.clone()).unwrap_or_default();
        let list_key = list_key.map(|place| place as u32);
        let (pool, places) = (Arc::new(pool), OnceLock::new());
        let pins = before.map_or_else(Arc::default, |before| before.pins.clone());
        let balances = Arc::default();
        let round = before.map_or_else(Arc::default, |before| before.round.clone());
        let mut entry = Self {
            config,
            pool,
            metrics,
            failures,
            balances,
            egresses,
            pins,
            round,
            credentials,
            specs,
            per_key,
            list_key,
            places,
        };
        if let Some(known) = before.and_then(|before| entry.balances_of(before)) {
            entry.balances = known;
        }
        entry
    }

    /// A pool that no server has, to ask with its keys.
    pub fn alone(config: config::Pool, specs: Vec<Arc<KeySpec>>) -> Self {
        Self::new(config, specs, None)
    }

    /// Lets it take the place of `before`.
    pub(super) fn open(&self, before: Option<&Self>, now: Millis) {
        self.pool.open(before.map(|before| &*before.pool), now);
        self.apply_egresses(now);
        if let Some(before) = before {
            self.apply_balances(before, now);
        }
    }

    /// The proxies of the pool.
    pub fn egresses(&self) -> &Egresses {
        &self.egresses
    }

    /// Rests keys whose proxy is out of use, if they may not leave by another way, and wakes those whose proxy is back.
    pub fn apply_egresses(&self, now: Millis) {
        for egress in self.egresses.list() {
            if self.egresses.must_rest(egress) {
                let check = &self.config.egress_check;
                self.pool.rest_egress(egress.name(), check.every.min(RECHECK) + check.timeout, now);
            } else {
                self.pool.wake_egress(egress.name(), now);
            }
        }
    }

    /// Puts a mark on a key or on what it belongs to. `egress` is what the attempt left by.
    pub fn mark(
        &self,
        index: u32,
        (scope, mark): (Scope, Mark),
        egress: Option<&Egress>,
        place: &Place<'_>,
        now: Millis,
    ) -> Option<Event> {
        match (scope, egress) {
            // Its keys need not rest where they have another way.
            (Scope::Egress, Some(egress)) if self.egresses.may_rebind() => {
                egress.shun(mark.rest().unwrap_or(self.config.blacklist.cooldown), now);
                None
            }
            _ => self.pool.mark(index, scope, mark, place, now),
        }
    }

    /// Tells operators what became of a key.
    pub fn announce(&self, index: u32, event: Option<Event>) {
        let (Some(event), Some(key)) = (event, self.pool.key(index)) else { return };
        let (pool, key) = (self.config.name.as_str(), &*key.name);
        match event {
            Event::Rested(reason, rest) => {
                log::debug!(pool, key, reason = reason.as_str(), seconds = rest.as_secs_f64(); "A key rests.");
            }
            Event::Disabled(reason) => log::warn!(pool, key, reason = reason.as_str(); "A key is disabled."),
            Event::EgressLimited(rest) => log::warn!(
                pool, key, seconds = rest.as_secs_f64();
                "One account after the other is limited behind this key's egress, and none is served: the egress rests."
            ),
            Event::MassRefusal { keys } => {
                log::error!(
                    pool, keys;
                    "The provider refuses most keys of the pool at once. They rest and are not disabled: \
                     check the provider and the pool's target."
                );
                events::publish("mass_refusal", || json!({"pool": pool, "keys": keys}));
            }
        }
    }

    /// The text of that key.
    pub fn secret(&self, index: u32) -> Option<&str> {
        self.specs.get(index as usize).map(|spec| spec.key.expose())
    }

    /// What a request with that key carries.
    pub fn credential(&self, index: u32) -> Option<Credential<'_>> {
        let (value, spec) = (self.credentials.get(index as usize)?, self.specs.get(index as usize)?);
        Some(Credential { value, headers: &spec.headers })
    }

    /// The key that lists models, if not any may.
    pub fn list_key(&self) -> Option<u32> {
        self.list_key
    }

    /// What the keys are, in their order.
    pub fn specs(&self) -> &[Arc<KeySpec>] {
        &self.specs
    }

    /// Whether a key is here.
    pub fn has(&self, id: KeyId) -> bool {
        self.place(id).is_some()
    }

    /// Where a key is, if it is here.
    pub fn place(&self, id: KeyId) -> Option<u32> {
        let places = self.places.get_or_init(|| self.pool.keys().iter().map(|key| key.id).zip(0..).collect());
        places.get(&id).copied()
    }

    pub(super) fn snapshot_at(&self, index: u32, now: Millis) -> Option<KeySnapshot> {
        Some(self.snapshot_key(index, self.pool.key(index)?, now))
    }

    pub(super) fn snapshot(self: &Arc<Self>, is_default: bool) -> PoolSnapshot {
        let counted = self.pool.transitions();
        let mut transitions = vec![
            (State::Ready, "rest_over", counted.returns()),
            (State::Ready, "accepted", counted.accepted()),
            (State::Ready, "reactivated", counted.reactivated()),
        ];
        for (reason, rests, disablements) in counted.by_reason() {
            transitions.push((State::Cooling, reason.as_str(), rests));
            transitions.push((State::Disabled, reason.as_str(), disablements));
        }
        transitions.retain(|(_, _, times)| *times > 0);
        PoolSnapshot {
            pool: self.config.name.clone(),
            per_key: self.per_key,
            is_default,
            keys: self.clone(),
            transitions,
            egress: self.egresses.snapshot(),
            // Whoever asks targets knows of them.
            targets: Vec::new(),
        }
    }

    /// Why each key would or would not be handed out for this model now.
    pub(super) fn explain(&self, model: &str, now: Millis) -> Vec<KeyChance> {
        let round = self.round.lock();
        let next_probe = |index| {
            let at = round.next_probe(&self.pool, &self.config.probe, index, now)?;
            Some(wall_time(at)).filter(|_| self.config.enabled)
        };
        let chance = |(index, (key, explanation)): (u32, (&Key, Explanation))| KeyChance {
            name: key.name.to_string(),
            state: match (explanation.blocked, explanation.ready_in) {
                (None, _) => State::Ready,
                (Some(_), Some(_)) => State::Cooling,
                (Some(_), None) => State::Disabled,
            },
            blocked_by: explanation.blocked.map(|(blocker, _)| blocker.as_str()),
            reason: explanation.blocked.and_then(|(_, reason)| reason).map(Reason::as_str),
            ready_in: explanation.ready_in,
            deferred: explanation.deferred,
            next_probe: next_probe(index),
        };
        let model = self.config.models.resolve(model);
        // Whoever names no model wants to know what is wrong with a key, also if it is so for one model only.
        let explained = if model.is_empty() { self.pool.explain_worst(now) } else { self.pool.explain(model, now) };
        (0..).zip(self.pool.keys().iter().zip(explained)).map(chance).collect()
    }

    fn snapshot_key(&self, index: u32, key: &Key, now: Millis) -> KeySnapshot {
        let Seen { state, reason, back_in } = self.pool.worst_standing(index, now).into();
        KeySnapshot {
            id: key.id,
            name: key.name.to_string(),
            state,
            reason,
            back_in,
            requests: key.state.uses(),
            last_used: key.state.last_used().map(wall_time),
            attempts: key.state.results(),
            in_flight: key.state.in_flight(),
            recheck_at: self.pool.recheck_at(index).map(wall_time),
            limits: self.pool.limits(index, now),
            balance: self.balances.snapshot(key.id),
        }
    }
}

impl Keys for Entry {
    fn visit(&self, look: &mut dyn FnMut(KeySnapshot)) {
        let now = now();
        (0..).zip(self.pool.keys()).for_each(|(index, key)| look(self.snapshot_key(index, key, now)));
    }

    fn counts(&self) -> KeyCounts {
        self.seen(now()).map(|(_, seen)| seen.state).collect()
    }
}

fn seed(spec: &KeySpec, egress: Option<&Arc<Egress>>) -> Seed {
    Seed {
        id: spec.id,
        name: spec.name.as_str().into(),
        priority: spec.priority,
        account: spec.account.as_deref().map(Arc::from),
        limits: spec.limits.clone(),
        models: spec.models.clone(),
        egress: egress.map(|egress| egress.name().clone()),
        is_off: spec.disabled,
    }
}

fn credential(config: &config::Pool, spec: &KeySpec) -> HeaderValue {
    let text = config.auth().value(spec.key.expose());
    // The configuration refuses keys that are not visible ASCII, so this can't fail for a loaded key.
    let mut value = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

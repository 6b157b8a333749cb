//! One pool with what the proxy needs beside the core: configuration, credentials, metrics.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::clock::wall_time;
use crate::config::keys::KeyId;
use crate::config::{self, KeySpec, PerKeyMetrics};
use crate::pool::{Key, KeyState, Millis, Pool, Rules, Standing};
use crate::telemetry::{KeySnapshot, PoolMetrics, PoolSnapshot, State};

/// Above this many keys, per-key metrics are off unless asked for.
const PER_KEY_METRICS_UP_TO: usize = 1000;

/// What a key's requests carry upstream.
pub struct Credential {
    /// Ready to send, hidden in debug output and never indexed by HPACK.
    pub value: HeaderValue,
    /// The key's own extra headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// One pool.
pub struct Entry {
    /// Its part of the configuration.
    pub config: config::Pool,
    /// Its keys.
    pub pool: Arc<Pool>,
    /// Its metrics.
    pub metrics: Arc<PoolMetrics>,
    credentials: Vec<Credential>,
    per_key: bool,
}

impl Entry {
    pub(super) fn new(
        config: config::Pool,
        mut specs: Vec<KeySpec>,
        mut known: impl FnMut(KeyId) -> Option<Arc<KeyState>>,
    ) -> Self {
        // As the core sorts them, so that an index means the same key here and there.
        specs.sort_by_key(|spec| spec.priority);
        let credentials = specs.iter().map(|spec| credential(&config, spec)).collect();
        let keys: Vec<_> = specs
            .iter()
            .map(|spec| {
                let state = known(spec.id).unwrap_or_default();
                state.set_disabled_by_operator(spec.disabled);
                Key { id: spec.id, name: spec.name.as_str().into(), priority: spec.priority, state }
            })
            .collect();
        let blacklist = &config.blacklist;
        let rules = Rules {
            threshold: blacklist.threshold,
            cooldown: blacklist.cooldown,
            max_cooldown: blacklist.max_cooldown,
            permanent: blacklist.permanent,
        };
        let per_key = match config.per_key_metrics {
            PerKeyMetrics::On => true,
            PerKeyMetrics::Off => false,
            PerKeyMetrics::Auto => keys.len() <= PER_KEY_METRICS_UP_TO,
        };
        let metrics = PoolMetrics::for_pool(&config.name);
        let pool = Arc::new(Pool::new(keys, rules, config.start_index));
        Self { config, pool, metrics, credentials, per_key }
    }

    /// What a request with that key carries.
    pub fn credential(&self, index: u32) -> Option<&Credential> {
        self.credentials.get(index as usize)
    }

    pub(super) fn snapshot(&self, now: Millis, is_default: bool) -> PoolSnapshot {
        let mut transitions = std::collections::BTreeMap::new();
        let keys = self.pool.keys();
        for (reason, rests, disablements) in keys.iter().flat_map(|key| key.state.transitions()) {
            *transitions.entry((false, reason.as_str())).or_insert(0) += rests;
            *transitions.entry((true, reason.as_str())).or_insert(0) += disablements;
        }
        PoolSnapshot {
            pool: self.config.name.clone(),
            per_key: self.per_key,
            is_default,
            keys: keys.iter().map(|key| snapshot(key, now)).collect(),
            transitions: transitions
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .map(|((off, reason), n)| (if off { State::Disabled } else { State::Cooling }, reason, n))
                .collect(),
        }
    }
}

fn credential(config: &config::Pool, spec: &KeySpec) -> Credential {
    let text = config.provider.auth.value(spec.key.expose());
    // The configuration refuses keys that are not visible ASCII, so this can't fail for a loaded key.
    let mut value = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    Credential { value, headers: spec.headers.clone() }
}

fn snapshot(key: &Key, now: Millis) -> KeySnapshot {
    let (state, reason, back_in) = match key.state.standing(now) {
        Standing::Ready => (State::Ready, None, None),
        Standing::Cooling(left, reason) => (State::Cooling, reason, Some(left)),
        Standing::Disabled(reason) => (State::Disabled, reason, None),
    };
    KeySnapshot {
        name: key.name.to_string(),
        state,
        reason: reason.map(crate::pool::Reason::as_str),
        back_in,
        requests: key.state.uses(),
        last_used: key.state.last_used().map(wall_time),
        attempts: key.state.results(),
        in_flight: key.state.in_flight(),
    }
}

//! Every metric, declared once, in the registry that `pingora_prometheus` serves too.
//!
//! The request path never looks a label up: a [`PoolMetrics`] is resolved when a pool is built and hands out counters
//! from arrays. What belongs to single keys is not counted here at all but read from the pools' own counters when
//! somebody scrapes ([`register_keys`]).
//!
//! Labels are bounded: pools and keys come from the configuration, the rest from enums; nothing a client types becomes a
//! label.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use once_cell::sync::Lazy;
use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    TextEncoder,
};
use schemars::JsonSchema;

use super::refusals::{AdminAuthFailure, AuthFailure};
use super::snapshot::AttemptResult;
use models::Models;

mod keys;
mod models;
mod totals;

pub use keys::register as register_keys;
pub use models::ModelId;
pub use totals::{Spread, Totals};

/// One registry in the whole process: two versions of the crate would each have their own, and this would not compile.
const _: fn(prometheus::Registry) -> pingora_prometheus::prometheus::Registry = |registry| registry;

/// The version of Pingora in `keyweir_build_info`.
const PINGORA_VERSION: &str = "0.9.1";

/// What is declared of one metric.
#[derive(Debug)]
struct Metric {
    name: &'static str,
    labels: &'static [&'static str],
    /// In a line; the table in docs/metrics.md has the same.
    help: &'static str,
}

const REQUESTS: Metric = Metric {
    name: "keyweir_requests_total",
    labels: &["pool", "code", "outcome"],
    help: "Finished requests, by the status the client got (none if nothing was sent) and by outcome.",
};
const DURATION: Metric = Metric {
    name: "keyweir_request_duration_seconds",
    labels: &["pool"],
    help: "Time from a request's first byte to its end.",
};
const FIRST_BYTE: Metric = Metric {
    name: "keyweir_time_to_first_byte_seconds",
    labels: &["pool"],
    help: "Time from a request's first byte to its answer's first byte.",
};
const OVERHEAD: Metric = Metric {
    name: "keyweir_overhead_seconds",
    labels: &["pool"],
    help: "Part of a request's time spent waiting for neither provider nor client.",
};
const IN_FLIGHT: Metric = Metric { name: "keyweir_in_flight_requests", labels: &["pool"], help: "Requests under way." };
const ATTEMPTS: Metric = Metric {
    name: "keyweir_upstream_attempts_total",
    labels: &["pool", "key", "result"],
    help: "Finished attempts upstream.",
};
const RETRIES: Metric = Metric {
    name: "keyweir_retries_total",
    labels: &["pool", "reason"],
    help: "Attempts repeated, by the result that made it necessary.",
};
const RULE_MATCHES: Metric = Metric {
    name: "keyweir_rule_matches_total",
    labels: &["pool", "rule", "mode"],
    help: "Failing answers by the verdict rule that decided (enforce) or would have (shadow).",
};
const PROBES: Metric = Metric {
    name: "keyweir_probes_total",
    labels: &["pool", "result"],
    help: "Requests that test a key, by what they show of it.",
};
const KEYS: Metric = Metric { name: "keyweir_keys", labels: &["pool", "state"], help: "Keys in each state." };
const KEY_STATE: Metric = Metric {
    name: "keyweir_key_state",
    labels: &["pool", "key", "state"],
    help: "1 for the state a key is in, 0 for the others.",
};
const KEY_TRANSITIONS: Metric = Metric {
    name: "keyweir_key_transitions_total",
    labels: &["pool", "to", "reason"],
    help: "Times keys entered a state, by why they did.",
};
const TARGET_UP: Metric = Metric {
    name: "keyweir_target_up",
    labels: &["pool", "target"],
    help: "1 while a target answers, 0 while it fails.",
};
const EGRESS_UP: Metric = Metric {
    name: "keyweir_egress_up",
    labels: &["egress"],
    help: "1 while a proxy is used, 0 while it is out of use in some pool.",
};
const KEY_BALANCE: Metric = Metric {
    name: "keyweir_key_balance",
    labels: &["pool", "key", "unit"],
    help: "What a key has left, as its provider told last.",
};
const BALANCE_CHECKS: Metric = Metric {
    name: "keyweir_balance_checks_total",
    labels: &["pool", "result"],
    help: "Questions to providers for what a key has left, by what they brought.",
};
const TOKENS: Metric = Metric {
    name: "keyweir_tokens_total",
    labels: &["pool", "model", "type"],
    help: "Tokens of text, where the provider told how many.",
};
const AUTH_FAILURES: Metric = Metric {
    name: "keyweir_client_auth_failures_total",
    labels: &["reason"],
    help: "Requests without a valid client token.",
};
const ADMIN_AUTH_FAILURES: Metric = Metric {
    name: "keyweir_admin_auth_failures_total",
    labels: &["reason"],
    help: "Requests to the admin listener without a valid token or session.",
};
const RELOAD_SUCCESSFUL: Metric = Metric {
    name: "keyweir_config_last_reload_successful",
    labels: &[],
    help: "1 if the last reload was taken over, else 0.",
};
const RELOAD_TIME: Metric = Metric {
    name: "keyweir_config_last_reload_success_timestamp_seconds",
    labels: &[],
    help: "Unix time of the last reload taken over.",
};
const LOG_DROPPED: Metric = Metric {
    name: "keyweir_log_dropped_total",
    labels: &[],
    help: "Lines of the logs and rows of the request log given up because their destination was too slow or failed.",
};
const STORE_UP: Metric =
    Metric { name: "keyweir_store_up", labels: &[], help: "Whether the last write to the store succeeded." };
const STORE_PENDING: Metric = Metric {
    name: "keyweir_store_pending",
    labels: &[],
    help: "Marks, counts and request rows that wait to be written to the store.",
};
const STORE_DROPPED: Metric =
    Metric { name: "keyweir_store_dropped", labels: &[], help: "Of those, how many were given up since the start." };
const BUILD_INFO: Metric = Metric {
    name: "keyweir_build_info",
    labels: &["version", "pingora"],
    help: "Always 1; the labels are the versions of keyweir and Pingora.",
};

/// Seconds; a long generation may take its half hour.
const DURATION_BUCKETS: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1800.0];
/// Seconds.
const FIRST_BYTE_BUCKETS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0];
/// Seconds: 25 µs to 50 ms.
const OVERHEAD_BUCKETS: &[f64] = &[0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05];

/// How a request ended, as its client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum Outcome {
    /// Served.
    Ok,
    /// The provider refused the request itself.
    ClientError,
    /// The provider failed and its answer was passed on, or it could not be reached.
    ProviderError,
    /// No key could serve it.
    Exhausted,
    /// Refused here, before any attempt.
    Rejected,
    /// The client left.
    Cancelled,
    /// The answer broke off after it had begun.
    Broken,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 7] = [
        Outcome::Ok,
        Outcome::ClientError,
        Outcome::ProviderError,
        Outcome::Exhausted,
        Outcome::Rejected,
        Outcome::Cancelled,
        Outcome::Broken,
    ];

    /// The word used in labels and log lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::ClientError => "client_error",
            Outcome::ProviderError => "provider_error",
            Outcome::Exhausted => "exhausted",
            Outcome::Rejected => "rejected",
            Outcome::Cancelled => "cancelled",
            Outcome::Broken => "broken",
        }
    }

    /// Whether a client that did nothing wrong, and stayed, went without its answer.
    pub fn is_failure(self) -> bool {
        matches!(self, Outcome::ProviderError | Outcome::Exhausted | Outcome::Broken)
    }
}

/// Statuses 100–599 and one slot for everything else.
const CODES: usize = 501;

static POOLS: Lazy<Mutex<HashMap<String, Arc<PoolMetrics>>>> = Lazy::new(Mutex::default);

type OutcomeCounters = [OnceLock<IntCounter>; Outcome::ALL.len()];

/// One pool's request metrics, resolved.
pub struct PoolMetrics {
    pool: String,
    /// By status, then outcome; made when first seen, because most combinations never are.
    requests: Box<[OnceLock<Box<OutcomeCounters>>]>,
    retries: [OnceLock<IntCounter>; AttemptResult::COUNT],
    duration: Histogram,
    first_byte: Histogram,
    overhead: Histogram,
    in_flight: IntGauge,
    models: Models,
}

impl PoolMetrics {
    /// The pool's name.
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// The metrics of the pool called `name`, the same ones for as long as the process lives. Requests that reached no
    /// pool are counted under the empty name.
    pub fn for_pool(name: &str) -> Arc<PoolMetrics> {
        Arc::clone(POOLS.lock().entry(name.to_owned()).or_insert_with(|| Arc::new(PoolMetrics::new(name))))
    }

    /// Those of every pool there was so far.
    pub fn all() -> Vec<Arc<PoolMetrics>> {
        POOLS.lock().values().cloned().collect()
    }

    fn new(name: &str) -> Self {
        let metrics = Self {
            pool: name.to_owned(),
            requests: (0..CODES).map(|_| OnceLock::new()).collect(),
            retries: Default::default(),
            duration: FAMILIES.duration.with_label_values(&[name]),
            first_byte: FAMILIES.first_byte.with_label_values(&[name]),
            overhead: FAMILIES.overhead.with_label_values(&[name]),
            in_flight: FAMILIES.in_flight.with_label_values(&[name]),
            models: Models::new(name),
        };
        // Shown as 0 before the first request: rates and alerts need a series to start from.
        metrics.requests_counter(200, Outcome::Ok);
        metrics
    }

    /// Counts a request as under way until the guard is dropped.
    pub fn request_started(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts a finished request. A `code` that is no HTTP status (0: nothing was sent) appears as `none`. `overhead` is
    /// the part of `duration` spent on neither the provider nor the client.
    pub fn request_finished(
        &self,
        code: u16,
        outcome: Outcome,
        duration: Duration,
        first_byte: Option<Duration>,
        overhead: Option<Duration>,
    ) {
        self.requests_counter(code, outcome).inc();
        self.duration.observe(duration.as_secs_f64());
        if let Some(first_byte) = first_byte {
            self.first_byte.observe(first_byte.as_secs_f64());
        }
        if let Some(overhead) = overhead {
            self.overhead.observe(overhead.as_secs_f64());
        }
    }

    /// By what a model is counted: by itself once a request for it `is_served` to the end, which takes a provider; else
    /// as `other`.
    pub fn model(&self, name: &str, is_served: bool) -> ModelId {
        self.models.id(name, is_served)
    }

    /// The name a model is counted under; empty where none was asked for.
    pub fn model_name(&self, model: ModelId) -> Arc<str> {
        self.models.name(model)
    }

    /// Counts the tokens a request used.
    pub fn tokens_used(&self, model: ModelId, prompt: u64, completion: u64) {
        self.models.add(model, prompt, completion);
    }

    /// Counts one more attempt, made because the last one ended in `reason`.
    pub fn retry(&self, reason: AttemptResult) {
        self.retries[reason.index()]
            .get_or_init(|| FAMILIES.retries.with_label_values(&[self.pool.as_str(), reason.as_str()]))
            .inc();
    }

    /// Counts an answer that a verdict rule decided (`enforce`) or would have decided (`shadow`).
    pub fn rule_matched(&self, rule: &str, mode: &str) {
        FAMILIES.rule_matches.with_label_values(&[self.pool.as_str(), rule, mode]).inc();
    }

    /// Counts a question for a key's balance.
    pub fn balance_asked(&self, result: &str) {
        FAMILIES.balance_checks.with_label_values(&[self.pool.as_str(), result]).inc();
    }

    /// Counts a request that tested a key, by what it showed.
    pub fn probed(&self, result: &str) {
        FAMILIES.probes.with_label_values(&[self.pool.as_str(), result]).inc();
    }

    fn requests_counter(&self, code: u16, outcome: Outcome) -> &IntCounter {
        let known = (100..600).contains(&code);
        let slot = if known { usize::from(code) - 99 } else { 0 };
        self.requests[slot].get_or_init(Box::default)[outcome as usize].get_or_init(|| {
            let code = if known { code.to_string() } else { "none".to_owned() };
            FAMILIES.requests.with_label_values(&[self.pool.as_str(), &code, outcome.as_str()])
        })
    }
}

/// One request under way.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Notes how a reload, or the first load, ended.
pub fn config_reloaded(successful: bool) {
    FAMILIES.reload_successful.set(successful.into());
    if successful {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        FAMILIES.reload_time.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    }
}

/// How the store is: written or not, what waits, what was given up.
pub fn store(is_up: bool, pending: usize, dropped: u64) {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    FAMILIES.store_up.set(is_up.into());
    FAMILIES.store_pending.set(number(pending as u64));
    FAMILIES.store_dropped.set(number(dropped));
}

/// Counts a request without a valid client token.
pub(super) fn client_auth_failed(why: AuthFailure) {
    FAMILIES.auth_failures[why as usize].inc();
}

/// Counts a request to the admin listener without a valid token or session.
pub(super) fn admin_auth_failed(why: AdminAuthFailure) {
    FAMILIES.admin_auth_failures[why as usize].inc();
}

/// Counts lines and rows of logs that were given up.
pub fn log_dropped(lines: u64) {
    FAMILIES.log_dropped.inc_by(lines);
}

#[cfg(test)]
pub(super) fn log_dropped_so_far() -> u64 {
    FAMILIES.log_dropped.get()
}

/// The `Content-Type` of [`encode`]'s text.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Everything in Prometheus' text format.
pub fn encode() -> Vec<u8> {
    Lazy::force(&FAMILIES);
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&prometheus::gather(), &mut text) {
        log::error!("metrics are incomplete: {error}");
    }
    text
}

static FAMILIES: Lazy<Families> = Lazy::new(Families::register);

struct Families {
    requests: IntCounterVec,
    duration: HistogramVec,
    first_byte: HistogramVec,
    overhead: HistogramVec,
    in_flight: IntGaugeVec,
    retries: IntCounterVec,
    rule_matches: IntCounterVec,
    balance_checks: IntCounterVec,
    probes: IntCounterVec,
    auth_failures: [IntCounter; AuthFailure::ALL.len()],
    admin_auth_failures: [IntCounter; AdminAuthFailure::ALL.len()],
    reload_successful: IntGauge,
    reload_time: IntGauge,
    log_dropped: IntCounter,
    store_up: IntGauge,
    store_pending: IntGauge,
    store_dropped: IntGauge,
}

impl Families {
    fn register() -> Self {
        let build_info = registered(IntGaugeVec::new(opts(&BUILD_INFO), BUILD_INFO.labels));
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION"), PINGORA_VERSION]).set(1);
        Self {
            requests: registered(IntCounterVec::new(opts(&REQUESTS), REQUESTS.labels)),
            duration: histograms(&DURATION, DURATION_BUCKETS),
            first_byte: histograms(&FIRST_BYTE, FIRST_BYTE_BUCKETS),
            overhead: histograms(&OVERHEAD, OVERHEAD_BUCKETS),
            in_flight: registered(IntGaugeVec::new(opts(&IN_FLIGHT), IN_FLIGHT.labels)),
            retries: registered(IntCounterVec::new(opts(&RETRIES), RETRIES.labels)),
            rule_matches: registered(IntCounterVec::new(opts(&RULE_MATCHES), RULE_MATCHES.labels)),
            balance_checks: registered(IntCounterVec::new(opts(&BALANCE_CHECKS), BALANCE_CHECKS.labels)),
            probes: registered(IntCounterVec::new(opts(&PROBES), PROBES.labels)),
            auth_failures: {
                let family = registered(IntCounterVec::new(opts(&AUTH_FAILURES), AUTH_FAILURES.labels));
                AuthFailure::ALL.map(|why| family.with_label_values(&[why.as_str()]))
            },
            admin_auth_failures: {
                let family = registered(IntCounterVec::new(opts(&ADMIN_AUTH_FAILURES), ADMIN_AUTH_FAILURES.labels));
                AdminAuthFailure::ALL.map(|why| family.with_label_values(&[why.as_str()]))
            },
            reload_successful: registered(IntGauge::with_opts(opts(&RELOAD_SUCCESSFUL))),
            reload_time: registered(IntGauge::with_opts(opts(&RELOAD_TIME))),
            log_dropped: registered(IntCounter::with_opts(opts(&LOG_DROPPED))),
            store_up: registered(IntGauge::with_opts(opts(&STORE_UP))),
            store_pending: registered(IntGauge::with_opts(opts(&STORE_PENDING))),
            store_dropped: registered(IntGauge::with_opts(opts(&STORE_DROPPED))),
        }
    }
}

fn opts(metric: &Metric) -> Opts {
    Opts::new(metric.name, metric.help)
}

fn histograms(metric: &Metric, buckets: &[f64]) -> HistogramVec {
    let opts = HistogramOpts::new(metric.name, metric.help).buckets(buckets.to_vec());
    registered(HistogramVec::new(opts, metric.labels))
}

#[expect(
    clippy::expect_used,
    reason = "names and labels are constants of this file, and every test run registers them"
)]
fn registered<M: Collector + Clone + 'static>(metric: prometheus::Result<M>) -> M {
    metric.and_then(|metric| prometheus::register(Box::new(metric.clone())).map(|()| metric)).expect("a metric")
}

#[cfg(test)]
mod tests;

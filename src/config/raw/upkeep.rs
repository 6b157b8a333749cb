//! What a pool does beside requests: checks, probes, balances.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Named, Time};

/// How proxies towards the provider are checked.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EgressCheck {
    /// How often.
    pub every: Time,
    /// What to fetch through them, which must be answered with a 2xx or 3xx; null = the pool's target, where any answer
    /// will do.
    pub url: Option<String>,
    /// For one check.
    pub timeout: Time,
    /// Failures in a row before a proxy counts as down.
    #[schemars(range(min = 1))]
    pub max_failures: u32,
    /// What happens to its keys: they take another of the pool's proxies (`rebind`; they rest where there is none), none
    /// (`direct`), or they `rest`.
    pub on_failure: OnFailure,
}

impl Default for EgressCheck {
    fn default() -> Self {
        Self {
            every: Time::seconds(3600),
            url: None,
            timeout: Time::seconds(10),
            max_failures: 3,
            on_failure: OnFailure::Rebind,
        }
    }
}

/// What happens to the keys of a proxy that is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it; docs would turn into noise in the schema")]
pub enum OnFailure {
    Rebind,
    Direct,
    Rest,
}

/// Tests of keys that no request tests.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Probe {
    /// How often a key is tested that may be used and serves no requests; 0s = never. What rules disabled is tested all
    /// the same, after 1 h, 6 h, 24 h, then daily.
    pub every: Time,
    /// How many at once.
    #[schemars(range(min = 1))]
    pub concurrency: u32,
}

impl Default for Probe {
    fn default() -> Self {
        Self { every: Time::seconds(1800), concurrency: 4 }
    }
}

/// When all keys that rules disabled are tried again, beside their own plan.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Reactivate {
    /// Never.
    Word(Off),
    /// By the clock.
    Schedule(Schedule),
}

/// Not at all.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the word says it")]
pub enum Off {
    Off,
}

/// `every` or `cron`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// How often; at least `1s`.
    pub every: Option<Time>,
    /// A cron line of five fields, e.g. `0 0 * * *`.
    pub cron: Option<String>,
    /// The zone of `cron`, e.g. `Asia/Shanghai`; UTC if there is none.
    pub timezone: Option<String>,
    /// Test a key before it is used again; true if left out.
    pub probe: Option<bool>,
}

/// Asking the provider for balances, where its pack says how (docs/balance.md).
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Balance {
    /// How often each key's is asked for; `0s` = only when somebody wants to see it.
    pub every: Time,
    /// A key with less left rests: one number for every unit, or one for each unit named.
    pub minimum: Minimum,
}

impl Default for Balance {
    fn default() -> Self {
        Self { every: Time::seconds(300), minimum: Minimum::OfAll(0.0) }
    }
}

/// How much a key shall have left.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Minimum {
    /// Of whatever it is counted in.
    OfAll(f64),
    /// By unit; units that are not named have none.
    OfUnits(Named<f64>),
}

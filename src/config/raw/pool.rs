//! One entry of `pools:`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::upkeep::{Balance, EgressCheck, Off, Probe, Reactivate};
use super::value::Headers;
use super::{Named, Secret, Time};
use crate::verdict::RuleText;

/// Keys of one provider behind one path.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    /// A pool that is not enabled serves nobody.
    pub enabled: bool,
    /// The provider's pack: base URL, authentication header, verdict rules. `generic` = any OpenAI-compatible one; or a file
    /// of your own, ending in `.yaml`, relative to this one (docs/verdicts.md).
    pub provider: String,
    /// Upstream base URLs. Default: the pack's.
    pub targets: Vec<TargetEntry>,
    /// Path prefixes. Default: `/` and the pool's name.
    pub paths: Vec<String>,
    /// Which routes are open: `inference`, or globs over the path behind the prefix; `["*"]` = the whole account API.
    pub routes: Routes,
    /// Order among pools with `fallback`.
    pub priority: u32,
    /// Pools tried when this one has no key for the request.
    pub fallback: Vec<String>,
    /// How the next key is picked.
    pub select: Select,
    /// How often a request is tried.
    pub retry: Retry,
    /// What a failure costs a key.
    pub blacklist: Blacklist,
    /// Parking requests until a key is back.
    pub wait: Wait,
    /// Deadlines towards the provider.
    pub timeouts: Timeouts,
    /// Proxies towards the provider, e.g. `socks5://user:pass@host:1080`.
    pub egress: Vec<Secret>,
    /// How those proxies are checked.
    pub egress_check: EgressCheck,
    /// Models by name.
    pub models: Models,
    /// Headers added upstream; a key may add its own.
    pub headers: Headers,
    /// Tests of resting keys while there is no traffic.
    pub probe: Probe,
    /// When keys disabled by rules are tried again.
    pub reactivate: Reactivate,
    /// Asking the provider for balances.
    pub balance: Balance,
    /// What the provider's models cost, by globs over their names; the first that fits counts. All in one currency.
    pub prices: Named<Price>,
    /// How much the pool may spend.
    pub budget: Option<serde_json::Value>,
    /// Detail of the metrics.
    pub metrics: PoolMetrics,
    /// Verdict rules of one's own.
    pub rules: Rules,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            enabled: true,
            provider: "generic".into(),
            targets: Vec::new(),
            paths: Vec::new(),
            routes: Routes::Word(Inference::Inference),
            priority: 0,
            fallback: Vec::new(),
            select: Select::default(),
            retry: Retry::default(),
            blacklist: Blacklist::default(),
            wait: Wait::default(),
            timeouts: Timeouts::default(),
            egress: Vec::new(),
            egress_check: EgressCheck::default(),
            models: Models::default(),
            headers: Headers::default(),
            probe: Probe::default(),
            reactivate: Reactivate::Word(Off::Off),
            balance: Balance::default(),
            prices: Named::default(),
            budget: None,
            metrics: PoolMetrics::default(),
            rules: Rules::default(),
        }
    }
}

/// What a million tokens of text cost.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Price {
    /// Those that are asked.
    pub input: f64,
    /// Those that are answered.
    pub output: f64,
}

/// An upstream base URL, alone or with its settings.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum TargetEntry {
    /// The URL alone.
    Url(String),
    /// With settings.
    Full(Target),
}

/// An upstream base URL. Its path takes the place of the client's `/v1`; without a path it is `/v1`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `https://HOST[:PORT][/PATH]`
    pub url: String,
    /// Share of requests.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 256))]
    pub weight: u32,
    /// How its health is checked.
    #[serde(default)]
    pub health: Health,
}

fn one() -> u32 {
    1
}

/// How a target's health is checked.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// How often; every 5 s at least while it fails.
    pub every: Time,
    /// A path to ask for; null = only a connection is made.
    pub path: Option<String>,
}

impl Default for Health {
    fn default() -> Self {
        Self { every: Time::seconds(30), path: None }
    }
}

/// Which routes are open.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Routes {
    /// Chat, completions, responses, messages, embeddings, models, images, audio, moderations, rerank, tasks.
    Word(Inference),
    /// Globs.
    Globs(Vec<String>),
}

/// The inference routes.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the word says it")]
pub enum Inference {
    Inference,
}

/// How the next key is picked; keys' `priority` comes first.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Select {
    /// The order among ready keys.
    pub strategy: Strategy,
    /// Round robin starts at this key, counted from 0.
    pub start_index: u32,
}

/// The order among ready keys.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it; docs would turn into noise in the schema")]
pub enum Strategy {
    #[default]
    RoundRobin,
    Weighted,
    Random,
    LeastUsed,
    LeastInFlight,
    PrefixAffinity,
}

/// How often a request is tried.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Attempts whose failure is not certainly a key's fault, the first included.
    #[schemars(range(min = 1, max = 1000))]
    pub attempts: u32,
    /// Attempts in all, those that certainly were a key's fault (limited, exhausted, revoked) included.
    #[schemars(range(min = 1, max = 1000))]
    pub key_attempts: u32,
    /// No attempt starts later than this after the request.
    pub deadline: Time,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 3, key_attempts: 32, deadline: Time::seconds(150) }
    }
}

/// What a failure costs a key.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Blacklist {
    /// Consecutive failures of uncertain cause before a key rests. Certain ones act at once; a success clears the count.
    #[schemars(range(min = 1, max = 1000))]
    pub threshold: u32,
    /// How long a key rests where the provider states no time; doubled when it fails again. Where it is not given, a pack
    /// that knows its provider's limits better decides.
    pub cooldown: Time,
    /// Longest rest by doubling; a time the provider stated is always kept.
    pub max_cooldown: Time,
    /// Whom a 5xx blames: found out by comparison (`attribute`), always the `key`, or nobody (`never`).
    pub on_5xx: On5xx,
    /// Rules may disable a key for good; `false` rests it instead.
    pub permanent: bool,
}

impl Default for Blacklist {
    fn default() -> Self {
        Self {
            threshold: 1,
            cooldown: Time::seconds(60),
            max_cooldown: Time::seconds(86_400),
            on_5xx: On5xx::Attribute,
            permanent: true,
        }
    }
}

/// Whom a 5xx blames.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it; docs would turn into noise in the schema")]
pub enum On5xx {
    Attribute,
    Key,
    Never,
}

/// Parking requests until a key is back.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Wait {
    /// Longest wait; `0s` = answer 429 at once.
    pub max: Time,
    /// Requests parked at once.
    pub queue: u32,
}

impl Default for Wait {
    fn default() -> Self {
        Self { max: Time::seconds(0), queue: 1000 }
    }
}

/// Deadlines towards the provider.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For connecting, TLS included.
    pub connect: Time,
    /// From the request's end to the answer's head.
    pub first_byte: Time,
    /// How long a stream is held back for its first event, so that another key can still be tried.
    pub hold: Time,
    /// Between two pieces of an answer.
    pub idle: Time,
    /// For a whole attempt.
    pub total: Time,
    /// Silence after which a stream's client is sent a comment; `0s` = never.
    pub keepalive_comment: Time,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Time::seconds(5),
            first_byte: Time::seconds(60),
            hold: Time::seconds(15),
            idle: Time::seconds(120),
            total: Time::seconds(1800),
            keepalive_comment: Time::seconds(0),
        }
    }
}

/// Models by name.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Models {
    /// Models refused (globs).
    pub deny: Vec<String>,
    /// Names clients may use, and what they stand for.
    pub alias: Named<String>,
    /// The model probes use.
    pub test: Option<String>,
    /// The name of the key that lists models.
    pub list_key: Option<String>,
}

/// Detail of the metrics.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PoolMetrics {
    /// One series per key; `auto` = up to 1,000 keys.
    pub per_key: PerKey,
}

/// One series per key.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it; docs would turn into noise in the schema")]
pub enum PerKey {
    #[default]
    Auto,
    On,
    Off,
}

/// Verdict rules of one's own.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Whether these rules act (`enforce`) or what they would have done is only counted (`shadow`).
    pub mode: RulesMode,
    /// Rules tried before the pack's (docs/verdicts.md).
    pub list: Vec<RuleText>,
}

/// Whether a pool's own rules act.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it; docs would turn into noise in the schema")]
pub enum RulesMode {
    #[default]
    Enforce,
    Shadow,
}

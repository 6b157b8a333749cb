//! `clients:`, `notify:` and `otlp:`.

use std::num::NonZeroU64;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Secret;
use super::value::Headers;

/// Who may use the keys.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Clients {
    /// Whoever reaches the port uses the keys, without a token.
    pub anonymous: bool,
    /// Allow `anonymous` on an address other than loopback.
    pub insecure: bool,
    /// The clients' tokens. Without any, and without `anonymous`, the first run makes one.
    pub tokens: Vec<Token>,
}

/// One client's token and what it may do.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Shown in logs and metrics; unique.
    pub name: String,
    /// The token itself.
    pub token: Secret,
    /// Pools it may use; `[]` = all.
    #[serde(default)]
    pub pools: Vec<String>,
    /// Models it may use (globs); `[]` = all.
    #[serde(default)]
    pub models: Vec<String>,
    /// Requests within any minute.
    pub rpm: Option<NonZeroU64>,
    /// Tokens (of text, asked and answered) within any minute.
    pub tpm: Option<NonZeroU64>,
    /// Requests per day (UTC).
    pub rpd: Option<NonZeroU64>,
    /// Requests at once.
    pub concurrency: Option<NonZeroU64>,
    /// Day (`2027-01-01`, UTC) or moment (`2027-01-01T12:00:00+08:00`) from which it is refused.
    pub expires: Option<String>,
    /// How much it may spend: an amount a month, or `{amount: 5, per: day}`. Needs `prices` of the pools it may use.
    pub budget: Option<Budget>,
    /// Tell this client in `keyweir-key` which key served it.
    #[serde(default)]
    pub reveal_key: bool,
}

/// How much a client may spend.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Budget {
    /// So much a month.
    Amount(f64),
    /// So much in each period.
    Full(BudgetText),
}

/// How much a client may spend in a period.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetText {
    /// In the currency of `prices`.
    pub amount: f64,
    /// Days and months of the calendar, in UTC.
    #[serde(default)]
    pub per: Period,
}

/// A part of the calendar, in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it; docs would turn into noise in the schema")]
pub enum Period {
    Day,
    #[default]
    Month,
}

/// One receiver of notifications.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// Which service.
    #[serde(rename = "type")]
    pub kind: NotifyKind,
    /// Its address, which usually holds a secret.
    pub url: Secret,
    /// Which events; `[]` = all.
    #[serde(default)]
    pub events: Vec<String>,
}

/// Services that take notifications.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it; docs would turn into noise in the schema")]
pub enum NotifyKind {
    Webhook,
    Slack,
    Feishu,
    DingTalk,
    WeCom,
    Telegram,
}

/// Export by OpenTelemetry.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// The collector's address.
    pub endpoint: String,
    /// Headers sent to it.
    #[serde(default)]
    pub headers: Headers,
}

//! What keyweir knows of each provider before the first request: where it lives, how it wants its key, what its errors
//! mean.
//!
//! A pack is data, one YAML file per provider, embedded and parsed once; docs/verdicts.md describes the format. Sources
//! are each provider's API reference and what its users report; the base URLs are what OpenAI-compatible clients are
//! told to use.

use std::sync::{Arc, OnceLock};

use http::{HeaderName, HeaderValue};
use jiff::tz::TimeZone;
use once_cell::sync::Lazy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::reset::LimitHeaders;
use super::rule::RuleText;
use crate::config::raw::Named;
use crate::config::yaml;

/// A pack as it is written.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackText {
    /// Base URLs; the first is used where the pool names no target. None = the pool must name one.
    #[serde(default)]
    pub base_urls: Vec<String>,
    /// Where the key goes.
    #[serde(default)]
    pub auth: AuthText,
    /// Where it goes below base URLs that don't end in `/openai`, for providers that have an interface of their own
    /// beside that of OpenAI.
    #[serde(default)]
    pub native_auth: Option<AuthText>,
    /// Headers every request to this provider carries.
    #[serde(default)]
    pub headers: Named<String>,
    /// IANA zone of the clock by which quotas begin anew.
    #[serde(default = "utc")]
    pub reset_zone: String,
    /// The headers that tell of limits. Default: those of the generic pack.
    #[serde(default)]
    pub limit_headers: Vec<LimitHeaders>,
    /// How to find out whether a key works without spending anything.
    #[serde(default)]
    pub probe: Option<Probe>,
    /// How to ask for a key's balance.
    #[serde(default)]
    pub balance: Option<Balance>,
    /// Rules tried before every provider's own; only in the generic pack.
    #[serde(default)]
    pub guards: Vec<RuleText>,
    /// What the provider's errors mean; the first rule that matches decides. The generic pack's follow.
    pub rules: Vec<RuleText>,
}

fn utc() -> String {
    "UTC".into()
}

/// The header a key travels in.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthText {
    /// Its name.
    pub header: String,
    /// What stands before the key, its blank included.
    pub prefix: String,
}

impl Default for AuthText {
    fn default() -> Self {
        Self { header: "authorization".into(), prefix: "Bearer ".into() }
    }
}

/// A request that shows whether a key works.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// `GET` unless it has a body, then `POST`.
    #[serde(default)]
    pub body: Option<String>,
    /// A path below the base URL, or a URL of its own.
    pub url: String,
    /// Statuses that show a dead key; a 400 and 403 are read by the rules first.
    pub dead: Vec<u16>,
}

/// A request for a key's balance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Balance {
    /// A path below the base URL, or a URL of its own.
    pub url: String,
    /// Where in the answer it stands (JSON pointer, RFC 6901).
    pub amount: String,
    /// What it is counted in, or where that stands (a JSON pointer).
    pub unit: String,
}

/// One provider's pack.
#[derive(Debug)]
pub struct Pack {
    /// What `provider:` names.
    pub name: &'static str,
    /// Base URL used where the pool names no target; `None` = the pool must name one.
    pub base_url: Option<String>,
    /// All of them.
    pub base_urls: Vec<String>,
    /// Where the key goes.
    pub auth: Auth,
    /// Where it goes below base URLs that don't end in `/openai`, if elsewhere.
    pub native_auth: Option<Auth>,
    /// Headers every request to this provider carries.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The clock by which quotas begin anew.
    pub zone: TimeZone,
    /// How to find out whether a key works.
    pub probe: Option<Probe>,
    /// How to ask for a key's balance.
    pub balance: Option<Balance>,
    pub(super) guards: Vec<RuleText>,
    pub(super) rules: Vec<RuleText>,
    limit_headers: Vec<LimitHeaders>,
    /// Its rules alone, compiled when first needed.
    pub(super) engine: OnceLock<Arc<Engine>>,
}

/// The header a key travels in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    header: HeaderName,
    prefix: String,
}

impl Auth {
    /// The header's name.
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// The header's text for one key.
    pub fn value(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

/// Why an embedded pack can't be used. A test parses them all, so no released binary sees one.
#[derive(Debug, thiserror::Error)]
enum PackError {
    #[error("{0}")]
    Shape(String),
    #[error("not a header: {0}")]
    Header(String),
    #[error("no such time zone: {0}")]
    Zone(String),
}

impl Pack {
    fn parse(name: &'static str, text: &str) -> Result<Self, PackError> {
        let text: PackText = yaml::parse(text).map_err(PackError::Shape)?;
        let header = |name: &str| HeaderName::try_from(name).map_err(|_| PackError::Header(name.into()));
        let auth = |text: AuthText| Ok(Auth { header: header(&text.header)?, prefix: text.prefix });
        let mut headers = Vec::new();
        for (name, value) in &text.headers.0 {
            headers.push((header(name)?, HeaderValue::try_from(value).map_err(|_| PackError::Header(name.clone()))?));
        }
        Ok(Self {
            name,
            base_url: text.base_urls.first().cloned(),
            base_urls: text.base_urls,
            auth: auth(text.auth)?,
            native_auth: text.native_auth.map(auth).transpose()?,
            headers,
            zone: TimeZone::get(&text.reset_zone).map_err(|_| PackError::Zone(text.reset_zone))?,
            probe: text.probe,
            balance: text.balance,
            guards: text.guards,
            rules: text.rules,
            limit_headers: text.limit_headers,
            engine: OnceLock::new(),
        })
    }

    /// Where the key goes below a base URL with this path.
    pub fn auth_below(&self, path: &str) -> &Auth {
        self.native_auth.as_ref().filter(|_| !path.trim_end_matches('/').ends_with("/openai")).unwrap_or(&self.auth)
    }

    pub(super) fn is_generic(&self) -> bool {
        self.name == GENERIC
    }

    pub(super) fn limit_headers(&self) -> &[LimitHeaders] {
        if self.limit_headers.is_empty() { &generic().limit_headers } else { &self.limit_headers }
    }
}

const GENERIC: &str = "generic";

macro_rules! packs {
    ($($name:literal),+) => { &[$(($name, include_str!(concat!("packs/", $name, ".yaml")))),+] };
}

/// `generic`, the plain OpenAI-compatible one, comes first.
const SOURCES: &[(&str, &str)] = packs![
    "generic",
    "vllm",
    "azure",
    "anthropic",
    "openai",
    "gemini",
    "siliconflow",
    "modelscope",
    "deepseek",
    "moonshot",
    "zhipu",
    "dashscope",
    "volcengine",
    "groq",
    "together",
    "fireworks",
    "mistral",
    "openrouter",
    "xai",
    "cerebras",
    "huggingface",
    "nvidia"
];

/// All packs.
#[expect(clippy::panic, reason = "the packs are part of the program, and a test parses each")]
pub static PACKS: Lazy<Vec<Pack>> = Lazy::new(|| {
    let parse = |(name, text): &(&'static str, &str)| {
        Pack::parse(name, text).unwrap_or_else(|error| panic!("pack {name}: {error}"))
    };
    SOURCES.iter().map(parse).collect()
});

/// The pack of that name.
pub fn find(name: &str) -> Option<&'static Pack> {
    PACKS.iter().find(|pack| pack.name == name)
}

/// The pack of providers nobody knows.
#[expect(clippy::expect_used, reason = "it is the first of the embedded packs")]
pub fn generic() -> &'static Pack {
    PACKS.first().expect("the generic pack")
}

/// The JSON Schema of a pack, which is also that of `pools.*.rules.list`.
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(PackText);
    schema.insert("title".into(), "A provider's pack".into());
    schema.to_value()
}

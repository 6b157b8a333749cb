//! `keys_file:` and the keys file itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::Headers;
use super::{Named, Secret};

/// `keys_file:`
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Files {
    /// One file.
    One(String),
    /// Several.
    Many(Vec<File>),
}

impl Default for Files {
    fn default() -> Self {
        Self::One("keys.yaml".into())
    }
}

/// One keys file.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where, relative to the configuration file.
    pub path: String,
    /// The pool its keys belong to, for files that name none. Default: the default pool.
    pub pool: Option<String>,
    /// How it is written; `auto` looks at the content.
    #[serde(default)]
    pub format: FileFormat,
}

/// How keys are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileFormat {
    /// Found by content.
    #[default]
    Auto,
    /// Pools and their keys, as in `keys.yaml`; or a list of keys.
    Yaml,
    /// One key per line, or separated by commas, semicolons or spaces.
    Text,
    /// A list of keys, or of objects with `key`, `name`, ….
    Json,
    /// A table with a `key` column.
    Csv,
    /// `.env` files: `SILICONFLOW_API_KEY_1=…`, `API_KEYS=[…]`, `PROVIDERS_CONFIG=[…]`.
    Env,
    /// The `config.toml` of ModelScope Balancer.
    ModelscopeBalancer,
    /// The `config.json` of modelscope-balance.
    ModelscopeBalance,
}

/// `keys.yaml`: pools by name, each with its keys.
pub type KeysFile = Named<Vec<Entry>>;

/// One key, short or long.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Entry {
    /// The key alone.
    Short(ShortKey),
    /// With what is known of it.
    Long(Box<Key>),
}

/// A key's text.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ShortKey(pub String);

impl std::fmt::Debug for ShortKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(super::value::REDACTED)
    }
}

impl Serialize for ShortKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(super::value::REDACTED)
    }
}

/// One key with what is known of it.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The key.
    pub key: Secret,
    /// Unique in the pool; shown in logs, metrics and console. Default: a fingerprint.
    pub name: Option<String>,
    /// Keys of one account share its quota: a limit on one is a limit on all.
    pub account: Option<String>,
    /// Share of requests.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub weight: u32,
    /// Lower is tried first, e.g. free keys before paid ones.
    #[serde(default)]
    pub priority: u32,
    /// What the provider grants this key.
    #[serde(default)]
    pub limits: Limits,
    /// Models it may be used for (globs); `[]` = all.
    #[serde(default)]
    pub models: Vec<String>,
    /// A proxy of its own, e.g. `http://10.0.0.2:3128`.
    pub egress: Option<Secret>,
    /// Headers added upstream for this key.
    #[serde(default)]
    pub headers: Headers,
    /// Switched off, whatever the console says.
    #[serde(default)]
    pub disabled: bool,
}

fn one() -> u32 {
    1
}

/// What the provider grants a key: it is not asked for more. Keys of one account use it up together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "KeyLimits")]
pub struct Limits {
    /// Requests within any minute.
    #[schemars(range(min = 1))]
    pub rpm: Option<u64>,
    /// Requests per day of the provider's clock.
    #[schemars(range(min = 1))]
    pub rpd: Option<u64>,
    /// Tokens of text within any minute.
    #[schemars(range(min = 1))]
    pub tpm: Option<u64>,
    /// Tokens of text per day of the provider's clock.
    #[schemars(range(min = 1))]
    pub tpd: Option<u64>,
    /// Requests at once.
    #[schemars(range(min = 1))]
    pub concurrency: Option<u32>,
}

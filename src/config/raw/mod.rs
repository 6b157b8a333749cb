//! `keyweir.yaml` and `keys.yaml` as they are written.
//!
//! These structs are the one place where a field's name, type, default and meaning are said: serde fills them, the JSON
//! Schema, the reference in `docs/` and the checks of `shape` are derived from them. Whether the values make sense
//! together is judged in `validate`.

pub mod clients;
pub mod keys;
pub mod pool;
pub mod server;
pub mod upkeep;
pub mod value;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::units::{Size, Time};
pub use value::{Named, OneOrMany, Secret};

/// Everything keyweir is told by file. Every section may be left out.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Listeners, threads, limits, shutdown.
    pub server: server::Server,
    /// The application log and the access log.
    pub log: server::Log,
    /// Where states, statistics and requests are kept.
    pub store: server::Store,
    /// Several nodes, one view of the keys.
    pub shared_state: Option<server::SharedState>,
    /// The keys file, relative to this file; or a list of files.
    pub keys_file: keys::Files,
    /// The pool that serves unprefixed paths such as `/v1/…`. Default: the only pool.
    pub default_pool: Option<String>,
    /// Who may use the keys.
    pub clients: clients::Clients,
    /// Where to send word of what happens.
    pub notify: Vec<clients::Notify>,
    /// Export of metrics and traces by OpenTelemetry.
    pub otlp: Option<clients::Otlp>,
    /// The pools by name (`[a-z0-9][a-z0-9-]*`). May be empty.
    pub pools: Named<pool::Pool>,
}

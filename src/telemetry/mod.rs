//! What the program tells its operators: metrics, the access log, the application log, readiness.
//!
//! This room knows numbers and words, not where they come from: the pools hand over plain [`snapshot`]s, the proxy
//! fills in an [`access_log::Entry`] and touches handles it resolved beforehand. Nothing here may hold up a request:
//! whatever cannot be written in time is dropped and counted in `keyweir_log_dropped_total`.

pub mod access_log;
pub mod events;
mod line;
pub mod logger;
pub mod metrics;
pub mod readiness;
pub mod recent;
pub mod redact;
mod refusals;
mod sink;
pub mod snapshot;

pub use access_log::{AccessLog, Entry};
pub use metrics::{ModelId, Outcome, PoolMetrics, Totals};
pub use readiness::{Phase, Readiness};
pub use recent::Recent;
pub use refusals::{AdminAuthFailure, AuthFailure, client_refused, operator_refused};
pub use snapshot::{
    AttemptResult, BalanceSnapshot, EgressSnapshot, Holding, KeyChance, KeyCounts, KeySnapshot, Keys, PoolSnapshot,
    Snapshots, State, TargetSnapshot, TokenSnapshot, TokenSnapshots, json_amount,
};

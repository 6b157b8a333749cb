//! The admin and metrics listeners: axum routers, each served by a Pingora service of its own.
//!
//! Nothing here sees a key. Everything shown comes from [`crate::telemetry::snapshot`]s, everything done goes through
//! the functions in [`AdminState`], so this room knows neither pools nor the proxy.

mod api;
mod explain;
mod guard;
mod health;
pub mod legacy;
mod metrics;
mod problem;
mod router;
mod service;
mod verdict;

pub use metrics::metrics_router;
pub use router::{AdminState, Explain, Reload, Verdicts, router};
pub use service::{AdminApp, Peer, ServiceError, service, tls_settings};

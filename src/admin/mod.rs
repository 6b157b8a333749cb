//! The admin and metrics listeners: axum routers, each served by a Pingora service of its own.
//!
//! Nothing here sees a key. Everything shown comes from [`crate::telemetry::snapshot`]s, everything done goes through
//! the functions in [`AdminState`], so this room knows neither pools nor the proxy.

mod api;
mod egress;
mod explain;
mod guard;
mod health;
mod keys;
pub mod legacy;
mod metrics;
mod problem;
pub mod reload;
mod router;
mod service;
mod tokens;
mod verdict;

pub use metrics::metrics_router;
pub use router::{Access, AdminState, Explain, router};
pub use service::{AdminApp, Peer, service};

//! The admin and metrics listeners: axum routers, each served by a Pingora service of its own.
//!
//! Nothing here sees a key. Everything shown comes from [`crate::telemetry::snapshot`]s, everything done goes through
//! the functions in [`AdminState`], so this room knows neither pools nor the proxy.

mod api;
mod egress;
mod explain;
mod guard;
mod health;
mod identity;
mod keys;
pub mod legacy;
mod metrics;
mod origin;
mod problem;
pub mod reload;
mod router;
mod routes;
mod service;
mod session;
mod tokens;
mod verdict;

pub use identity::{Identity, User};
pub use metrics::metrics_router;
pub use router::{Access, AdminState, Explain, router, routes};
pub use routes::{Need, Route};
pub use service::{AdminApp, Peer, service};
pub use session::Sessions;

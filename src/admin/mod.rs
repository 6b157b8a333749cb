//! The admin and metrics listeners: axum routers, each served by a Pingora service of its own.
//!
//! Everything shown comes from [`crate::telemetry::snapshot`]s and the [`Manager`](crate::manage::Manager), through which
//! everything is done. Secrets come in and never leave, but by the export.

mod about;
mod answer;
mod api;
mod audit;
mod beside;
mod bulk;
mod console;
mod egress;
mod events;
mod explain;
mod export;
mod extract;
mod failures;
mod guard;
mod health;
mod identity;
mod import;
mod intake;
mod key_tests;
mod keys;
pub mod legacy;
mod log_level;
mod logs;
mod metrics;
mod moment;
mod new_keys;
mod openapi;
mod origin;
mod pools;
mod portions;
mod problem;
pub mod reload;
mod router;
mod routes;
mod schedule;
mod service;
mod session;
mod settings;
mod stats;
mod status;
mod throttle;
mod tokens;
mod verdict;

pub use identity::{Identity, User};
pub use metrics::metrics_router;
pub use openapi::openapi;
pub use router::{Access, AdminState, Explain, router, routes};
pub use routes::{Need, Route};
pub use service::{AdminApp, Peer, service};
pub use session::Sessions;
pub use status::status_pages;
pub use throttle::Throttle;

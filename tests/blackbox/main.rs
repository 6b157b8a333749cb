//! keyweir as its users see it: the real binary on free ports, in front of the mock provider or a scripted one.
//!
//! One module per promise. A test waits for what it expects with a deadline that only a hang reaches, and never asserts
//! how long something took. All of it is one test binary, because each would link the whole server again.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failing assertion is what a test is for, in its helpers too"
)]

mod harness;

mod attribution;
mod auth_forms;
mod balance;
mod bodies;
mod clients;
mod connections;
mod control;
mod disconnects;
mod dns;
mod egress;
mod exhaustion;
mod explain;
mod failover;
mod hardening;
mod hygiene;
mod imports;
mod keepalive;
mod kills;
mod live_settings;
mod load;
mod logs;
mod manage;
mod models;
mod observability;
mod oddities;
mod older_endpoints;
mod operations;
mod operators;
mod outages;
mod packs;
mod probes;
mod protocols;
mod quotas;
mod redaction;
mod reload;
mod replay;
mod request_log;
mod resources;
mod routing;
mod scopes;
mod statistics;
mod streams;
mod strictness;
mod targets;
mod timeouts;
mod tls;
mod verdicts;
mod versions;
mod watching;

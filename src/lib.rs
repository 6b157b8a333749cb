//! keyweir: a Pingora edge proxy that gives every LLM request a healthy API key from a pool.
//!
//! The rooms:

pub mod admin;
pub mod background;
pub mod cli;
pub mod clients;
pub mod config;
pub mod health;
pub mod keypool;
pub mod manage;
pub mod mock;
pub mod pool;
pub mod proxy;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod upstream;
pub mod verdict;

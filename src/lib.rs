//! keyweir: a Pingora edge proxy that gives every LLM request a healthy API key from a pool.
//!
//! The rooms, top to bottom; nothing imports anything above itself:

pub mod proxy;
pub mod upstream;
pub mod keypool;
pub mod pool;
pub mod verdict;
pub mod telemetry;
pub mod mock;
pub mod config;

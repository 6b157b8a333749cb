//! keyweir: a Pingora edge proxy that gives every LLM request a healthy API key from a pool.
//!
//! The rooms, top to bottom; nothing imports anything above itself:

pub mod cli;
pub mod config;
pub mod mock;
pub mod verdict;

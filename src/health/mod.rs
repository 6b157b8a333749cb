//! Checks of what lies between keyweir and the providers, on schedule and on demand.

mod egress;

pub use egress::{Checker, Finding, Schedule, TestError};

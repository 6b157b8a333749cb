//! Checks of what lies between keyweir and the providers, on schedule and on demand.

mod egress;
mod targets;

pub use egress::{Checker, Finding, Schedule, TestError};
pub use targets::TargetChecks;

/// An error in a few words.
fn said(error: &pingora::Error) -> String {
    match &error.context {
        Some(context) => context.as_str().to_owned(),
        None => error.etype().as_str().to_owned(),
    }
}

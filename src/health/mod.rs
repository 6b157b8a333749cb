//! Checks of keys, and of what lies between keyweir and the providers, on schedule and on demand.

mod ask;
mod balance;
mod egress;
mod probe;
mod prober;
mod probes;
mod reactivation;
mod targets;

pub use ask::{Question, ask};
pub use balance::{BalanceChecks, Balances};
pub use egress::{Checker, Finding, Schedule, TestError};
pub use probe::{Examined, NoWay, Outcome, Way};
pub use prober::{Asked, Effect, Prober, Tested};
pub use probes::Probes;
pub use targets::TargetChecks;

/// An error in a few words.
fn said(error: &pingora::Error) -> String {
    match &error.context {
        Some(context) => context.as_str().to_owned(),
        None => error.etype().as_str().to_owned(),
    }
}

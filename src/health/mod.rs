//! Checks of keys, and of what lies between keyweir and the providers, on schedule and on demand.

use std::time::Duration;

use pingora::server::ShutdownWatch;

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

/// Looks for what is due, again and again until the server ends.
async fn every(tick: Duration, mut shutdown: ShutdownWatch, mut start_due: impl FnMut()) {
    loop {
        start_due();
        tokio::select! {
            _ = shutdown.changed() => return,
            () = tokio::time::sleep(tick) => {}
        }
    }
}

/// An error in a few words.
fn said(error: &pingora::Error) -> String {
    match &error.context {
        Some(context) => context.as_str().to_owned(),
        None => error.etype().as_str().to_owned(),
    }
}

//! Who is to blame for a failed attempt, as the pool and the retries see it.
//!
//! A verdict says what an answer means; here it becomes what is done. Invariant: a 5xx is nobody's fault before other
//! keys' answers were seen, and what the client itself chose never costs a key anything.

use std::time::Duration;

use super::engine::Verdict;
use super::rule::{Action, Retry, Scope as RuleScope};
use crate::pool::{Mark, Reason, Scope};
use crate::telemetry::AttemptResult;

/// What an attempt's end means for keys and retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blame {
    /// Whose fault it is.
    pub fault: Fault,
    /// Another attempt may be answered better.
    pub retry: bool,
    /// As it is counted.
    pub result: AttemptResult,
}

/// What a pool adds to a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Habits {
    /// From 0 to 1: spreads the return of keys whose quota begins anew for all at once.
    pub jitter: f64,
    /// The operator chose how long a limit is rested out whose end nobody stated.
    pub has_own_cooldown: bool,
}

/// Whose fault an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nobody's: it is a success.
    None,
    /// The client's own: no key is touched and none is tried again.
    Client,
    /// What was asked for is not there; another target may have it.
    Absent,
    /// Certainly the key's, or of what it belongs to. Asking another key is fast and unbilled.
    Key(Scope, Mark),
    /// The key's, unless another key is refused the same.
    Refused(Scope, Mark),
    /// Unknown: the provider's, the request's or the key's.
    Unknown,
    /// The provider's, or that of the way there. Never the key's.
    Target,
    /// Certainly the proxy's that the attempt left by.
    Egress,
}

impl Fault {
    /// What another key answers won't change what is known of this one.
    pub fn is_certain(self) -> bool {
        matches!(self, Self::Key(..) | Self::Egress)
    }
}

impl Blame {
    /// An answer that is what was asked for.
    pub fn success() -> Self {
        Self { fault: Fault::None, retry: false, result: AttemptResult::Ok }
    }

    /// An attempt that brought no answer, or one that broke off.
    pub fn of_failure(result: AttemptResult) -> Self {
        let fault = if result == AttemptResult::Unreachable { Fault::Target } else { Fault::Unknown };
        Self { fault, retry: true, result }
    }

    /// An attempt that did not get past its proxy.
    pub fn of_egress(result: AttemptResult) -> Self {
        Self { fault: Fault::Egress, retry: true, result }
    }

    /// What a verdict on an answer of that status (`None`: an error inside a 200) comes to.
    pub fn of_verdict(verdict: &Verdict, status: Option<u16>, habits: Habits) -> Self {
        let retry = verdict.retry != Retry::None;
        let Some(mark) = mark(verdict, habits) else {
            let result = by_status(status);
            return Self { fault: kept(verdict, status), retry, result };
        };
        let scope = match (verdict.key, scope(verdict)) {
            (_, RuleScope::Target) => return Self { fault: elsewhere(status), retry, result: by_status(status) },
            (_, RuleScope::Egress) => Scope::Egress,
            (Action::CooldownModel, RuleScope::Account) => Scope::AccountModel,
            (_, RuleScope::Account) if verdict.key == Action::Cooldown => Scope::Account,
            (Action::CooldownModel, _) | (_, RuleScope::Model) => Scope::Model,
            _ => Scope::Key,
        };
        let fault = if verdict.is_certain { Fault::Key(scope, mark) } else { Fault::Refused(scope, mark) };
        let result = match verdict.reason {
            Reason::RateLimited => AttemptResult::RateLimited,
            Reason::Unauthorized => AttemptResult::Unauthorized,
            _ if status == Some(429) => AttemptResult::RateLimited,
            _ => AttemptResult::Forbidden,
        };
        Self { fault, retry, result }
    }
}

/// Keys of one account share its limits; a rule that knows better says so.
fn scope(verdict: &Verdict) -> RuleScope {
    let is_of_account = matches!(verdict.reason, Reason::RateLimited | Reason::Exhausted);
    if is_of_account && !verdict.is_scope_stated { RuleScope::Account } else { verdict.scope }
}

fn mark(verdict: &Verdict, habits: Habits) -> Option<Mark> {
    let reason = verdict.reason;
    match (verdict.key, verdict.until) {
        (Action::Disable, _) => Some(Mark::Disable(reason)),
        (Action::Keep, _) | (_, None) => None,
        (_, Some(rest)) => Some(match rest.doubles_to {
            Some(_) if habits.has_own_cooldown && is_limit(reason) => Mark::Cool { reason, stated: None },
            Some(most) => Mark::Escalate { reason, first: rest.time, most, disable_on: verdict.disable_on },
            None => {
                let spread = Duration::try_from_secs_f64(rest.spread.as_secs_f64() * habits.jitter.clamp(0.0, 1.0));
                Mark::Cool { reason, stated: Some(rest.time + spread.unwrap_or_default()) }
            }
        }),
    }
}

/// Not what an empty account or a missing right is: those don't pass by waiting a minute.
fn is_limit(reason: Reason) -> bool {
    matches!(reason, Reason::RateLimited | Reason::Unauthorized)
}

/// Whose fault it is when nothing becomes of the key.
fn kept(verdict: &Verdict, status: Option<u16>) -> Fault {
    match (verdict.retry, status) {
        (Retry::None, _) => Fault::Client,
        // Whether a 5xx is the key's own is found out by comparison.
        (_, None | Some(408 | 500..)) => Fault::Unknown,
        _ => elsewhere(status),
    }
}

fn elsewhere(status: Option<u16>) -> Fault {
    match status {
        Some(400 | 404 | 405 | 410) => Fault::Absent,
        _ => Fault::Target,
    }
}

fn by_status(status: Option<u16>) -> AttemptResult {
    match status {
        Some(401) => AttemptResult::Unauthorized,
        Some(403) => AttemptResult::Forbidden,
        Some(408 | 504 | 524) => AttemptResult::Timeout,
        Some(400..500) => AttemptResult::ClientError,
        _ => AttemptResult::ServerError,
    }
}

//! A pool as its operators see it: plain data, taken when somebody asks.
//!
//! Metrics, the admin API and the older balancers' endpoints all read these and nothing else, so the pool's own types
//! stay free to change. No field carries a character of a key; a key is known by its name.

use std::iter::Sum;
use std::ops::Add;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::clients::Spent;
use crate::config::{ClientLimits, KeyId};
use crate::pool::LimitUse;

/// Takes a snapshot of every pool, in the order of the configuration.
pub type Snapshots = Arc<dyn Fn() -> Vec<PoolSnapshot> + Send + Sync>;

/// The keys of a pool, in the order of the keys file. With very many of them copies of all would be most of what the
/// process needs, so each is copied when it is looked at.
pub trait Keys: Send + Sync {
    /// Looks at each.
    fn visit(&self, look: &mut dyn FnMut(KeySnapshot));

    /// How many are in each state.
    fn counts(&self) -> KeyCounts;
}

/// One pool.
pub struct PoolSnapshot {
    /// The pool's name.
    pub pool: String,
    /// Whether metrics name single keys.
    pub per_key: bool,
    /// Whether this pool owns unprefixed paths.
    pub is_default: bool,
    /// Its keys.
    pub keys: Arc<dyn Keys>,
    /// How often keys entered a state since the start: state, reason, times.
    pub transitions: Vec<(State, &'static str, u64)>,
    /// The proxies its keys leave by.
    pub egress: Vec<EgressSnapshot>,
    /// Its base URLs.
    pub targets: Vec<TargetSnapshot>,
}

/// One key.
#[derive(Debug, Clone)]
pub struct KeySnapshot {
    /// What it is known by, also after a rename.
    pub id: KeyId,
    /// Unique in the pool.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// Why it is not ready.
    pub reason: Option<&'static str>,
    /// Until it is ready again; `None` where time alone does not bring it back.
    pub back_in: Option<Duration>,
    /// Requests it was used for.
    pub requests: u64,
    /// When it was used last.
    pub last_used: Option<SystemTime>,
    /// Finished attempts by [`AttemptResult::index`].
    pub attempts: [u64; AttemptResult::COUNT],
    /// Attempts under way.
    pub in_flight: u32,
    /// When a key that a rule disabled is asked again.
    pub recheck_at: Option<SystemTime>,
    /// Its limits, and what is used of them.
    pub limits: Vec<LimitUse>,
    /// What it has left; `None` = never asked, or its provider does not tell.
    pub balance: Option<BalanceSnapshot>,
}

/// What a key has left, as its provider told.
#[derive(Debug, Clone)]
pub struct BalanceSnapshot {
    /// By unit; none where the key has no limit, or nothing was told so far.
    pub amounts: Arc<[Holding]>,
    /// When that was told.
    pub told: Option<SystemTime>,
    /// Why it was not told when it was asked for last; `None` = it was.
    pub error: Option<&'static str>,
}

/// So much of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// A short word.
    pub unit: Arc<str>,
    /// How much.
    pub amount: Decimal,
}

/// An amount as a JSON number: the digits that the provider told.
pub fn json_amount(amount: Decimal) -> Value {
    match i64::try_from(amount) {
        Ok(whole) if amount.is_integer() => whole.into(),
        _ => nearest(amount).into(),
    }
}

/// The number nearest to an amount. By way of its text, for a division would add noise.
pub fn nearest(amount: Decimal) -> f64 {
    amount.to_string().parse().unwrap_or_default()
}

/// One proxy of a pool, without its user and password.
#[derive(Debug, Clone)]
pub struct EgressSnapshot {
    /// Unique in the pool.
    pub name: Arc<str>,
    /// In use.
    pub is_up: bool,
    /// Keys that leave by it in good times.
    pub keys: usize,
    /// Failures since the last success.
    pub failures: u32,
    /// What the last of them was.
    pub error: Option<String>,
    /// When it was checked last.
    pub checked: Option<SystemTime>,
    /// How long that check took; `None` = it failed.
    pub took: Option<Duration>,
}

/// One base URL of a pool.
#[derive(Debug, Clone)]
pub struct TargetSnapshot {
    /// Unique in the pool.
    pub name: Arc<str>,
    /// It passes its checks, and most requests are answered.
    pub is_up: bool,
    /// Why the last check failed, if it did.
    pub error: Option<String>,
    /// When it was checked last.
    pub checked: Option<SystemTime>,
}

/// Takes a snapshot of every client token, in the order of the configuration.
pub type TokenSnapshots = Arc<dyn Fn() -> Vec<TokenSnapshot> + Send + Sync>;

/// One client token: what it may do and what was done with it, without the token itself.
#[derive(Debug, Clone)]
pub struct TokenSnapshot {
    /// Unique.
    pub name: String,
    /// Its holder is told which key served.
    pub reveal_key: bool,
    /// Names of the pools it may use; none = all.
    pub pools: Vec<String>,
    /// Globs of the models it may use; none = all.
    pub models: Vec<String>,
    /// How much it may use.
    pub limits: ClientLimits,
    /// From when on it is refused.
    pub expires: Option<SystemTime>,
    /// That is now.
    pub is_expired: bool,
    /// Requests under way.
    pub in_flight: u64,
    /// Requests let in that reached a provider.
    pub requests: u64,
    /// Requests refused by its limits.
    pub refused: u64,
    /// Tokens of text asked, as providers told.
    pub tokens_in: u64,
    /// Tokens of text answered, as providers told.
    pub tokens_out: u64,
    /// Money, this day and month.
    pub spent: Spent,
    /// When a request was let in last.
    pub last_used: Option<SystemTime>,
}

/// Why a key would or would not be handed out for a request now.
#[derive(Debug, Clone)]
pub struct KeyChance {
    /// Unique in the pool.
    pub name: String,
    /// What it is doing, as this request would see it.
    pub state: State,
    /// The first thing that blocks it: `operator`, `key`, `account`, `egress` or `model`.
    pub blocked_by: Option<&'static str>,
    /// Why that blocks it.
    pub reason: Option<&'static str>,
    /// Until nothing blocks it any more; `None` where time alone does not bring it back.
    pub ready_in: Option<Duration>,
    /// For so long others are asked first, because nothing is left of a limit.
    pub deferred: Duration,
    /// When it is probed, unless it serves requests until then; `None` = not at all.
    pub next_probe: Option<SystemTime>,
}

/// What a key is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "KeyState")]
pub enum State {
    /// Can be picked.
    Ready,
    /// Resting until a time.
    Cooling,
    /// Out of use until somebody or a probe says otherwise.
    Disabled,
}

impl State {
    /// Every state.
    pub const ALL: [State; 3] = [State::Ready, State::Cooling, State::Disabled];

    /// The word used in labels and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ready => "ready",
            State::Cooling => "cooling",
            State::Disabled => "disabled",
        }
    }
}

/// How many keys are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeyCounts {
    /// They can be picked.
    pub ready: usize,
    /// They rest until a time.
    pub cooling: usize,
    /// They are out of use until somebody or a probe says otherwise.
    pub disabled: usize,
}

impl KeyCounts {
    /// Counts a key that is in this state.
    pub fn count(&mut self, state: State) {
        match state {
            State::Ready => self.ready += 1,
            State::Cooling => self.cooling += 1,
            State::Disabled => self.disabled += 1,
        }
    }

    /// How many are in this state.
    pub fn of(&self, state: State) -> usize {
        match state {
            State::Ready => self.ready,
            State::Cooling => self.cooling,
            State::Disabled => self.disabled,
        }
    }

    /// How many there are.
    pub fn total(&self) -> usize {
        self.ready + self.cooling + self.disabled
    }
}

impl Add for KeyCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            ready: self.ready + other.ready,
            cooling: self.cooling + other.cooling,
            disabled: self.disabled + other.disabled,
        }
    }
}

impl Sum for KeyCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}

impl FromIterator<State> for KeyCounts {
    fn from_iter<I: IntoIterator<Item = State>>(states: I) -> Self {
        let mut counts = Self::default();
        states.into_iter().for_each(|state| counts.count(state));
        counts
    }
}

/// How one attempt on one key ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptResult {
    /// The provider served it.
    Ok,
    /// The key or its account is at a limit.
    RateLimited,
    /// The provider does not know the key.
    Unauthorized,
    /// The key may not do this.
    Forbidden,
    /// The request itself was refused.
    ClientError,
    /// The provider failed.
    ServerError,
    /// Nothing came in time.
    Timeout,
    /// No connection.
    Unreachable,
    /// The answer stopped in the middle.
    Broken,
    /// The client left first.
    Cancelled,
}

impl AttemptResult {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Every result, in the order of [`AttemptResult::index`].
    pub const ALL: [AttemptResult; 10] = [
        AttemptResult::Ok,
        AttemptResult::RateLimited,
        AttemptResult::Unauthorized,
        AttemptResult::Forbidden,
        AttemptResult::ClientError,
        AttemptResult::ServerError,
        AttemptResult::Timeout,
        AttemptResult::Unreachable,
        AttemptResult::Broken,
        AttemptResult::Cancelled,
    ];

    /// Its place in arrays of counts.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The word used in labels and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            AttemptResult::Ok => "ok",
            AttemptResult::RateLimited => "rate_limited",
            AttemptResult::Unauthorized => "unauthorized",
            AttemptResult::Forbidden => "forbidden",
            AttemptResult::ClientError => "client_error",
            AttemptResult::ServerError => "server_error",
            AttemptResult::Timeout => "timeout",
            AttemptResult::Unreachable => "unreachable",
            AttemptResult::Broken => "broken",
            AttemptResult::Cancelled => "cancelled",
        }
    }
}

#[cfg(test)]
impl Keys for Vec<KeySnapshot> {
    fn visit(&self, look: &mut dyn FnMut(KeySnapshot)) {
        self.iter().cloned().for_each(look);
    }

    fn counts(&self) -> KeyCounts {
        self.iter().map(|key| key.state).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_without_noise() {
        let shown = |text: &str| json_amount(text.parse().unwrap()).to_string();
        assert_eq!(["110", "0.1", "49.58894", "-0.3", "0"].map(shown), ["110", "0.1", "49.58894", "-0.3", "0"]);
        let sum: Decimal = ["0.1", "0.2"].map(|text| text.parse::<Decimal>().unwrap()).into_iter().sum();
        assert_eq!(json_amount(sum).to_string(), "0.3");
        assert_eq!(shown("123456.123456789"), "123456.123456789");
    }

    #[test]
    fn every_result_sits_at_its_own_index() {
        for (index, result) in AttemptResult::ALL.into_iter().enumerate() {
            assert_eq!(result.index(), index, "{}", result.as_str());
        }
    }
}

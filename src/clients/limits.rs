//! A client's limits: all windows are asked and charged as one.
//!
//! One short lock per limited token makes the answer exact and leaves a refused request no trace in any window; tokens
//! without limits never take it. What was let in is an [`Admitted`]: however the request ends, its place among the
//! requests at once is free again, and where no provider was asked everything is given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::Client;
use super::spending::{Spending, Spent, end};
use crate::config::ClientLimits;
use crate::config::prices::{Money, Period, Price};
use crate::pool::{Day, Millis, Minute};

/// How soon to look again for a free place: nobody knows when a request ends.
const PLACE_WAIT: Duration = Duration::from_secs(1);
/// One request may reserve so much of a minute's tokens (a share, 1/n). A picture is long as text but costs few tokens;
/// a larger share would let one block the others for nothing.
const RESERVED_SHARE: u64 = 4;

/// One of a client's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Requests at once.
    Concurrency,
    /// Requests a minute.
    Rpm,
    /// Requests a day.
    Rpd,
    /// Tokens a minute.
    Tpm,
    /// Money.
    Budget,
}

/// A limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The one that takes longest.
    pub limit: Limit,
    /// Until there is room.
    pub wait: Duration,
}

/// Tokens of text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// What was asked.
    pub prompt: u64,
    /// What was answered.
    pub completion: u64,
}

/// What is counted of a token, for as long as the process lives.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) usage: Usage,
    windows: Mutex<Windows>,
}

#[derive(Debug, Default)]
struct Windows {
    requests: Minute,
    tokens: Minute,
    day: Day,
    spending: Spending,
}

impl Account {
    /// At least so much was spent before.
    pub(super) fn has_spent(&self, before: Spent, wall: SystemTime) {
        self.windows.lock().spending.at_least(before, unix(wall));
    }

    /// It spent something, now or in a time that is over.
    pub(super) fn spends(&self) -> bool {
        self.windows.lock().spending.is_used()
    }

    pub(super) fn spent(&self, wall: SystemTime) -> Spent {
        self.windows.lock().spending.spent(unix(wall))
    }
}

fn unix(wall: SystemTime) -> u64 {
    wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Plain counts.
#[derive(Debug, Default)]
pub(super) struct Usage {
    in_flight: AtomicU64,
    requests: AtomicU64,
    refused: AtomicU64,
    prompt: AtomicU64,
    completion: AtomicU64,
    last_used: AtomicU64,
}

impl Usage {
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    pub(super) fn tokens(&self) -> Used {
        Used { prompt: self.prompt.load(Relaxed), completion: self.completion.load(Relaxed) }
    }

    pub(super) fn last_used(&self) -> Option<Millis> {
        Some(self.last_used.load(Relaxed)).filter(|at| *at > 0).map(Millis)
    }
}

/// A request that was let in.
pub struct Admitted {
    account: Arc<Account>,
    limits: ClientLimits,
    charge: Charge,
    /// Tokens that it was expected to ask.
    expected: u64,
    is_asked: bool,
}

/// What a request was charged, and where.
#[derive(Debug, Clone, Copy, Default)]
struct Charge {
    day: u64,
    request_at: Millis,
    tokens: u64,
    tokens_at: Millis,
}

impl Client {
    /// Lets a request in that is expected to use so many tokens. `wall` is only asked where the calendar counts.
    ///
    /// # Errors
    /// If a limit is reached; nothing was charged then.
    pub fn admit(&self, tokens: u64, now: Millis, wall: impl FnOnce() -> SystemTime) -> Result<Admitted, Refusal> {
        let (limits, usage) = (self.token.limits, &self.account.usage);
        let charge = self.charge(tokens, now, wall)?;
        usage.requests.fetch_add(1, Relaxed);
        usage.last_used.store(now.0, Relaxed);
        Ok(Admitted { account: self.account.clone(), limits, charge, expected: tokens, is_asked: false })
    }

    /// Counts a request that a limit kept out.
    pub fn count_refusal(&self) {
        self.account.usage.refused.fetch_add(1, Relaxed);
    }

    fn charge(&self, tokens: u64, now: Millis, wall: impl FnOnce() -> SystemTime) -> Result<Charge, Refusal> {
        let ClientLimits { rpm, tpm, rpd, concurrency, budget } = self.token.limits;
        let in_flight = &self.account.usage.in_flight;
        if self.token.limits == ClientLimits::default() {
            in_flight.fetch_add(1, Relaxed);
            return Ok(Charge::default());
        }
        let tokens = tpm.map_or(0, |limit| tokens.clamp(1, (limit / RESERVED_SHARE).max(1)));
        let windows = &mut *self.account.windows.lock();
        let is_full = concurrency.is_some_and(|limit| in_flight.load(Relaxed) >= limit);
        let unix = if rpd.is_some() || budget.is_some() { unix(wall()) } else { 0 };
        windows.day.turn(unix, |unix| end(Period::Day, unix));
        let waits = [
            (Limit::Concurrency, if is_full { PLACE_WAIT } else { Duration::ZERO }),
            (Limit::Rpm, rpm.map_or(Duration::ZERO, |limit| windows.requests.wait(1, limit, now))),
            (Limit::Tpm, tpm.map_or(Duration::ZERO, |limit| windows.tokens.wait(tokens, limit, now))),
            (Limit::Rpd, rpd.map_or(Duration::ZERO, |limit| windows.day.wait(1, limit, unix))),
            (Limit::Budget, budget.map_or(Duration::ZERO, |budget| windows.spending.wait(budget, unix))),
        ];
        if let Some((limit, wait)) = waits.into_iter().max_by_key(|(_, wait)| *wait).filter(|(_, wait)| !wait.is_zero())
        {
            return Err(Refusal { limit, wait });
        }
        in_flight.fetch_add(1, Relaxed);
        Ok(Charge {
            day: if rpd.is_some() { windows.day.add(1) } else { 0 },
            request_at: if rpm.is_some() { windows.requests.add(1, now) } else { now },
            tokens,
            tokens_at: windows.tokens.add(tokens, now),
        })
    }
}

impl Admitted {
    /// Tokens count against a limit, so an answer that does not tell them is worth an estimate.
    pub fn counts_tokens(&self) -> bool {
        self.limits.tpm.is_some() || self.limits.budget.is_some()
    }

    /// A provider is asked now: the request counts, however it ends.
    pub fn asked(&mut self) {
        self.is_asked = true;
    }

    /// Ends the request with what it used: as the provider told, else `estimated` tokens of an answer it told nothing
    /// about, beside those expected. Gives what it cost.
    pub fn settle(
        self,
        told: Option<Used>,
        estimated: u64,
        price: Option<Price>,
        clock: impl FnOnce() -> (Millis, SystemTime),
    ) -> Money {
        let (account, charge) = (&self.account, self.charge);
        if let Some(used) = told {
            account.usage.prompt.fetch_add(used.prompt, Relaxed);
            account.usage.completion.fetch_add(used.completion, Relaxed);
        }
        if !self.is_asked {
            return Money::default();
        }
        let cost = price.map_or(Money::default(), |price| {
            let used = told.unwrap_or(Used { prompt: self.expected, completion: estimated });
            price.cost(used.prompt, used.completion)
        });
        if cost == Money::default() && self.limits.tpm.is_none() {
            return cost;
        }
        let (now, wall) = clock();
        let windows = &mut *account.windows.lock();
        windows.spending.add(cost, unix(wall));
        if self.limits.tpm.is_some() {
            let both = |used: Used| used.prompt.saturating_add(used.completion);
            let used = told.map_or(charge.tokens.saturating_add(estimated), both);
            windows.tokens.take_back(charge.tokens.saturating_sub(used), charge.tokens_at);
            windows.tokens.add(used.saturating_sub(charge.tokens), now);
        }
        cost
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let Charge { day, request_at, tokens, tokens_at } = self.charge;
        self.account.usage.in_flight.fetch_sub(1, Relaxed);
        if self.is_asked {
            return;
        }
        self.account.usage.requests.fetch_sub(1, Relaxed);
        let ClientLimits { rpm, tpm, rpd, .. } = self.limits;
        if (rpm, tpm, rpd) == (None, None, None) {
            return;
        }
        let windows = &mut *self.account.windows.lock();
        if rpm.is_some() {
            windows.requests.take_back(1, request_at);
        }
        if rpd.is_some() {
            windows.day.take_back(1, day);
        }
        windows.tokens.take_back(tokens, tokens_at);
    }
}

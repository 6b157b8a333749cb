//! What one request knows of itself, from its head to its log line.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use once_cell::sync::Lazy;

use super::admit::{BodyBudget, Slot};
use super::answer::{Answer, Provider};
use super::edge::{Edge, EdgePool};
use super::model::Asked;
use super::records::Tried;
use super::resource::Notes;
use super::route::Route;
use super::usage::Answered;
use crate::clients::{Admitted, Client, Used};
use crate::config::RequestLog;
use crate::config::prices::Money;
use crate::keypool::{self, Egress};
use crate::pool::{Demand, Key, Lease, Millis};
use crate::telemetry::metrics::InFlight;
use crate::telemetry::{AttemptResult, Outcome};
use crate::upstream::{Attempt, Payload, Target};
use crate::verdict::Blame;

/// One request.
pub struct Context {
    pub(super) started: Instant,
    /// Given by the client or made; `None` until the head was looked at.
    pub(super) request_id: Option<Arc<str>>,
    pub(super) client_ip: Option<IpAddr>,
    /// The configuration this request lives under, also if a reload comes in between.
    pub(super) edge: Option<Arc<Edge>>,
    pub(super) client: Option<Arc<Client>>,
    pub(super) route: Option<Route>,
    /// The models it names.
    pub(super) asked: Asked,
    pub(super) body: Body,
    pub(super) bound: Bound,
    pub(super) guards: Guards,
    pub(super) attempts: Attempts,
    pub(super) answer: Option<Answer>,
    pub(super) provider: Option<Provider>,
    pub(super) outcome: Option<Outcome>,
    pub(super) times: Times,
    pub(super) bytes_out: u64,
    pub(super) answered: Answered,
    /// What the client was charged.
    pub(super) cost: Money,
    /// Notes the things that the answer tells of.
    pub(super) notes: Option<Box<Notes>>,
}

/// Bytes of a request that are about one token, for a first guess.
const BYTES_PER_TOKEN: u64 = 4;

/// The request's body.
#[derive(Default)]
pub(super) enum Body {
    /// None, or not read yet.
    #[default]
    Empty,
    /// Whole in memory: every attempt sends the same.
    Buffered(Payload),
    /// Too large to keep: Pingora streams it once. What was read before that was known goes first.
    Streamed { read_ahead: Bytes, passed: u64 },
    /// A WebSocket: bytes both ways.
    Tunnel,
}

/// Whatever must be given back when the request ends, however it ends.
#[derive(Default)]
pub(super) struct Guards {
    pub(super) slot: Option<Slot>,
    pub(super) budget: Option<BodyBudget>,
    pub(super) in_flight: Option<InFlight>,
    /// The client's own limits.
    pub(super) admitted: Option<Admitted>,
}

/// What a request must be served by, if not by any key of the pool.
#[derive(Default)]
pub(super) struct Bound {
    /// The key's place in the pool.
    pub(super) key: Option<u32>,
    pub(super) target: Option<Arc<Target>>,
    /// It names something that this key made.
    pub(super) is_by_resource: bool,
}

/// What was tried so far.
#[derive(Default)]
pub(super) struct Attempts {
    /// The key in use.
    pub(super) lease: Option<Lease>,
    /// The key of the next attempt, reserved before the last one is given up.
    pub(super) next: Option<Lease>,
    pub(super) target: Option<Arc<Target>>,
    /// Targets that failed this request, and those among them that don't know what is asked for.
    pub(super) avoided: Vec<Arc<Target>>,
    pub(super) lacking: Vec<Arc<Target>>,
    /// The proxy that the attempt leaves by.
    pub(super) egress: Option<Arc<Egress>>,
    pub(super) current: Option<Arc<Attempt>>,
    /// Keys of the attempts before the one under way.
    pub(super) tried: Vec<u32>,
    /// Attempts made.
    pub(super) count: u32,
    /// Those whose failure was not certainly a key's fault.
    pub(super) uncertain: u32,
    pub(super) timeouts: u32,
    /// The pooled connection was stale: the same key is sent again on a fresh one.
    pub(super) stale: bool,
    /// Keys whose failures may not be their own (see `judge`).
    pub(super) suspects: Vec<Suspect>,
    /// The answer's head was passed on; nothing is retried any more.
    pub(super) committed: bool,
    /// The result of the attempt under way was counted.
    pub(super) is_counted: bool,
    /// The status passed on.
    pub(super) status: u16,
    /// What the attempt under way was answered, if it was judged.
    pub(super) heard: Heard,
    /// The attempts that failed, where the request may be logged with them.
    pub(super) failed: Vec<Tried>,
}

/// A judged answer.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) status: Option<u16>,
    pub(super) rule: Option<Arc<str>>,
}

/// A key that failed for an uncertain cause, and is not yet blamed for it.
pub(super) struct Suspect {
    pub(super) index: u32,
    /// Where it failed.
    pub(super) target: Arc<Target>,
    /// When its attempt began.
    pub(super) since: Millis,
    pub(super) blame: Blame,
}

/// Moments, for metrics and the access log.
#[derive(Default)]
pub(super) struct Times {
    /// Spent reading the client's body.
    pub(super) reading: Duration,
    /// When the key of the coming attempt was picked.
    pub(super) picked: Option<Instant>,
    /// When the attempt under way was sent.
    pub(super) sent: Option<Instant>,
    /// Spent on the provider.
    pub(super) upstream: Duration,
    /// When the answer began.
    pub(super) first_byte: Option<Instant>,
}

impl Context {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            request_id: None,
            client_ip: None,
            edge: None,
            client: None,
            route: None,
            asked: Asked::default(),
            body: Body::default(),
            bound: Bound::default(),
            guards: Guards::default(),
            attempts: Attempts::default(),
            answer: None,
            provider: None,
            outcome: None,
            times: Times::default(),
            bytes_out: 0,
            answered: Answered::default(),
            cost: Money::default(),
            notes: None,
        }
    }

    /// The pool the request was routed to.
    pub(super) fn pool(&self) -> Option<&EdgePool> {
        self.edge.as_ref()?.pools.get(self.route.as_ref()?.pool)
    }

    /// The provider's model that the request is for; empty if it names none.
    pub(super) fn model(&self) -> &str {
        let name = self.asked.name().unwrap_or_default();
        self.pool().map_or(name, |pool| pool.entry.config.models.resolve(name))
    }

    /// The key in use.
    pub(super) fn key(&self) -> Option<&Key> {
        self.pool()?.entry.pool.key(self.attempts.lease.as_ref()?.index())
    }

    /// The request's id, made now if it has none.
    pub(super) fn request_id(&mut self) -> Arc<str> {
        self.request_id.get_or_insert_with(new_request_id).clone()
    }

    /// Replayable: its body is in memory, or it has none.
    pub(super) fn is_replayable(&self) -> bool {
        matches!(self.body, Body::Empty | Body::Buffered(_))
    }

    /// Counts the result of the attempt under way, once.
    pub(super) fn count_result(&mut self, result: AttemptResult) {
        if std::mem::replace(&mut self.attempts.is_counted, true) {
            return;
        }
        if let Some(lease) = &self.attempts.lease {
            lease.state().count(result.index());
        }
        let is_logged = self.edge.as_ref().is_some_and(|edge| edge.request_log != RequestLog::Off);
        if result != AttemptResult::Ok && is_logged {
            let tried = self.tried(result);
            self.attempts.failed.extend(tried);
        }
    }

    /// The attempt under way, that ends so.
    pub(super) fn tried(&mut self, result: AttemptResult) -> Option<Tried> {
        let Heard { status, rule } = std::mem::take(&mut self.attempts.heard);
        Some(Tried {
            key: self.key()?.name.clone(),
            target: self.attempts.target.as_ref()?.authority.clone(),
            result,
            status,
            rule,
            took: self.times.sent.map(|sent| sent.elapsed()).unwrap_or_default(),
        })
    }

    /// Tokens of text that the request is expected to use, by its length.
    pub(super) fn expected_tokens(&self) -> u64 {
        match &self.body {
            Body::Buffered(body) => body.len() as u64 / BYTES_PER_TOKEN,
            Body::Empty | Body::Streamed { .. } | Body::Tunnel => 0,
        }
    }

    /// What is asked of a key.
    pub(super) fn demand(&self) -> Demand<'_> {
        Demand { model: self.model(), tokens: self.expected_tokens() }
    }

    /// What the provider told of tokens, where it served the request.
    pub(super) fn used(&self) -> Option<Used> {
        if (200..300).contains(&self.attempts.status) { self.answered.used() } else { None }
    }

    /// Ends the request as far as the limits of the client and of the key go: before the last byte leaves, for after it the
    /// client may send its next request.
    pub(super) fn settle(&mut self) {
        let is_refused = self.answer.is_some() || self.attempts.status >= 300;
        let used = if is_refused { Some(Used::default()) } else { self.used() };
        let estimate = self.answered.estimate();
        let expected = self.expected_tokens();
        if let Some(lease) = self.attempts.lease.as_mut().filter(|lease| lease.counts_tokens()) {
            let told = used.map(|used| used.prompt.saturating_add(used.completion));
            lease.settle(told.unwrap_or(expected.saturating_add(estimate)), keypool::now());
        }
        let Some(admitted) = self.guards.admitted.take() else { return };
        let price = self.pool().and_then(|pool| pool.entry.config.prices.of(self.model()));
        let clock = || (keypool::now(), SystemTime::now());
        self.cost = admitted.settle(used, estimate, price, clock);
    }

    /// Ends the time of the attempt under way.
    pub(super) fn stop_clock(&mut self, now: Instant) {
        if let Some(sent) = self.times.sent.take() {
            self.times.upstream += now - sent;
        }
    }
}

/// An id for a request that came without one: unique in and across processes, 32 hexadecimal digits.
pub(super) fn new_request_id() -> Arc<str> {
    static SEED: Lazy<[u64; 2]> = Lazy::new(|| {
        let mut bytes = [0_u8; 16];
        // Without randomness ids are only unique in this process, which is no reason to fail.
        let _unseeded = getrandom::fill(&mut bytes);
        let value = u128::from_ne_bytes(bytes);
        [(value >> 64) as u64, value as u64]
    });
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut text = [0_u8; 32];
    let value = (u128::from(SEED[0]) << 64) | u128::from(SEED[1] ^ count);
    for (i, digit) in text.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(value >> (124 - 4 * i)) as usize & 15];
    }
    std::str::from_utf8(&text).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_differ() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| new_request_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 32));
    }
}

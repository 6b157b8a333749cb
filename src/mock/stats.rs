//! What reached the mock: counters, each key's history, and the last requests in full.
//!
//! A request is counted before its answer starts, so whoever has an answer finds it counted. Requests to `/mock/…`
//! are never counted. The history also decides for the keys that have a memory (`sk-flaky-N`, `sk-rpm-N`).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use ring::digest::Digest;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::behaviour::Behaviour;
use super::http::Head;

/// The window of `sk-rpm-N`.
const WINDOW: Duration = Duration::from_secs(60);

/// All counters of one mock.
#[derive(Debug, Default)]
pub(super) struct Stats {
    ledger: Mutex<Ledger>,
    /// Connections accepted, those that only asked for statistics included.
    connections: AtomicU64,
    /// Survives a reset, so that no two connections share a number.
    last_connection: AtomicU64,
    connections_open: AtomicU64,
    /// Connections that carried at least one counted request.
    pub(super) connections_used: AtomicU64,
    streams_open: AtomicU64,
    streams_finished: AtomicU64,
    /// Ended by the client.
    streams_cancelled: AtomicU64,
    /// Broken off by the mock itself.
    streams_cut: AtomicU64,
    /// Clients that left before a delayed answer.
    pub(super) waits_cancelled: AtomicU64,
    pub(super) body_bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Ledger {
    requests: u64,
    classes: BTreeMap<&'static str, u64>,
    keys: HashMap<String, KeyHistory>,
    last: VecDeque<Record>,
}

#[derive(Debug, Default)]
struct KeyHistory {
    requests: u64,
    /// `None`: no status line was sent.
    last_status: Option<u16>,
    /// When the requests of the last minute were let through (`sk-rpm-N`).
    window: VecDeque<Instant>,
}

/// A counted request's place in the order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// Among all, from 1.
    pub(super) number: u64,
    /// How many of the same key came before.
    pub(super) earlier: u64,
}

/// One request as it arrived.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) connection: u64,
    /// The head's bytes.
    pub(super) head: Bytes,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) key: Option<String>,
    pub(super) body_bytes: usize,
    pub(super) body_sha256: Digest,
    pub(super) status: Option<u16>,
}

impl Stats {
    /// Counts a connection and gives it a number.
    pub(super) fn connected(&self) -> u64 {
        self.connections.fetch_add(1, Relaxed);
        self.connections_open.fetch_add(1, Relaxed);
        self.last_connection.fetch_add(1, Relaxed) + 1
    }

    pub(super) fn disconnected(&self) {
        self.connections_open.fetch_sub(1, Relaxed);
    }

    /// Counts a request.
    pub(super) fn arrived(&self, behaviour: Behaviour, key: Option<&str>, body_bytes: usize) -> Arrival {
        self.body_bytes.fetch_add(body_bytes as u64, Relaxed);
        let mut ledger = self.ledger.lock();
        ledger.requests += 1;
        let number = ledger.requests;
        *ledger.classes.entry(behaviour.class()).or_default() += 1;
        let history = ledger.history(key.unwrap_or_default());
        history.requests += 1;
        Arrival { number, earlier: history.requests - 1 }
    }

    /// Lets a request of an `sk-rpm-N` key through, or says how long the key has to wait.
    pub(super) fn admit(&self, key: &str, limit: usize, now: Instant) -> Result<(), Duration> {
        let mut ledger = self.ledger.lock();
        let window = &mut ledger.history(key).window;
        while window.front().is_some_and(|&first| now.duration_since(first) >= WINDOW) {
            window.pop_front();
        }
        match window.front() {
            Some(&first) if window.len() >= limit => Err(WINDOW - now.duration_since(first)),
            None if limit == 0 => Err(WINDOW),
            _ => {
                window.push_back(now);
                Ok(())
            }
        }
    }

    /// Notes what a request is answered with, and the request itself if `keep` are to be remembered.
    pub(super) fn answering(&self, key: Option<&str>, status: Option<u16>, record: Option<Record>, keep: usize) {
        let mut ledger = self.ledger.lock();
        ledger.history(key.unwrap_or_default()).last_status = status;
        if let Some(record) = record {
            ledger.last.push_back(record);
        }
        while ledger.last.len() > keep {
            ledger.last.pop_front();
        }
    }

    /// Forgets everything but what is open now.
    pub(super) fn reset(&self) {
        *self.ledger.lock() = Ledger::default();
        self.connections.store(self.connections_open.load(Relaxed), Relaxed);
        for counter in [
            &self.connections_used,
            &self.streams_finished,
            &self.streams_cancelled,
            &self.streams_cut,
            &self.waits_cancelled,
            &self.body_bytes,
        ] {
            counter.store(0, Relaxed);
        }
    }

    /// The body of `GET /mock/stats`.
    pub(super) fn to_json(&self) -> Value {
        let ledger = self.ledger.lock();
        let keys: serde_json::Map<String, Value> =
            ledger.keys.iter().map(|(key, history)| (key.clone(), history.to_json())).collect();
        json!({
            "requests": ledger.requests,
            "connections": self.connections.load(Relaxed),
            "connections_open": self.connections_open.load(Relaxed),
            "connections_used": self.connections_used.load(Relaxed),
            "streams_open": self.streams_open.load(Relaxed),
            "streams_finished": self.streams_finished.load(Relaxed),
            "streams_cancelled": self.streams_cancelled.load(Relaxed),
            "streams_cut": self.streams_cut.load(Relaxed),
            "waits_cancelled": self.waits_cancelled.load(Relaxed),
            "body_bytes": self.body_bytes.load(Relaxed),
            "classes": ledger.classes,
            "keys": keys,
            "last": ledger.last.iter().map(Record::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Ledger {
    fn history(&mut self, key: &str) -> &mut KeyHistory {
        self.keys.entry(key.to_owned()).or_default()
    }
}

impl KeyHistory {
    fn to_json(&self) -> Value {
        json!({"requests": self.requests, "last_status": self.last_status})
    }
}

impl Record {
    fn to_json(&self) -> Value {
        json!({
            "connection": self.connection,
            "method": self.method,
            "path": self.target,
            "key": self.key,
            "headers": Head::headers(&self.head),
            "body_bytes": self.body_bytes,
            "body_sha256": hex(self.body_sha256.as_ref()),
            "status": self.status,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A stream being sent. Dropped without a word it counts as cancelled, for then its client left.
#[derive(Debug)]
pub(super) struct OpenStream<'a>(&'a Stats, Option<&'a AtomicU64>);

impl<'a> OpenStream<'a> {
    pub(super) fn new(stats: &'a Stats) -> OpenStream<'a> {
        stats.streams_open.fetch_add(1, Relaxed);
        OpenStream(stats, None)
    }

    pub(super) fn finished(mut self) {
        self.1 = Some(&self.0.streams_finished);
    }

    pub(super) fn cut(mut self) {
        self.1 = Some(&self.0.streams_cut);
    }
}

impl Drop for OpenStream<'_> {
    fn drop(&mut self) {
        self.0.streams_open.fetch_sub(1, Relaxed);
        self.1.unwrap_or(&self.0.streams_cancelled).fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides_and_tells_the_true_wait() {
        let stats = Stats::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(stats.admit("sk-rpm-2-a", 2, at(0)), Ok(()));
        assert_eq!(stats.admit("sk-rpm-2-a", 2, at(10)), Ok(()));
        assert_eq!(stats.admit("sk-rpm-2-a", 2, at(20)), Err(Duration::from_secs(40)));
        assert_eq!(stats.admit("sk-rpm-2-b", 2, at(20)), Ok(()), "another key has a window of its own");
        assert_eq!(
            stats.admit("sk-rpm-2-a", 2, at(60)),
            Ok(()),
            "the first one left the window, refusals never entered"
        );
        assert_eq!(stats.admit("sk-rpm-2-a", 2, at(61)), Err(Duration::from_secs(9)));
    }

    #[test]
    fn a_limit_of_nothing_admits_nothing() {
        assert_eq!(Stats::default().admit("sk-rpm-0-a", 0, Instant::now()), Err(WINDOW));
    }
}

//! The mock's own endpoints: `GET /mock/stats` and the `POST`s that change how it behaves for everyone.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::Shared;
use super::answers::{Answer, bad_request, unknown_path};

/// Where these endpoints live; no provider path begins so.
pub(super) const PREFIX: &str = "/mock/";

/// What the `POST`s change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// Content events of a stream.
    pub(super) events: u64,
    /// Time between them.
    pub(super) interval: Duration,
    /// How many requests are remembered in full.
    pub(super) record: usize,
    outage: Option<Outage>,
}

#[derive(Debug, Clone, Copy)]
struct Outage {
    until: Instant,
    status: u16,
}

/// What an outage does to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The connection is closed without an answer.
    Closed,
    /// Every request gets this status.
    Status(u16),
}

impl Default for Settings {
    fn default() -> Self {
        Settings { events: 20, interval: Duration::from_millis(20), record: 256, outage: None }
    }
}

impl Settings {
    /// The outage that is on at `now`.
    pub(super) fn outage(&self, now: Instant) -> Option<Refusal> {
        let outage = self.outage.filter(|outage| now < outage.until)?;
        Some(if outage.status == 0 { Refusal::Closed } else { Refusal::Status(outage.status) })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutageBody {
    seconds: f64,
    status: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamBody {
    events: Option<u64>,
    interval_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordBody {
    requests: usize,
}

/// Answers a request to `/mock/…`.
pub(super) fn answer(shared: &Shared, method: &str, path: &str, body: &[u8]) -> Answer {
    let done = match (method, path) {
        ("GET", "/mock/stats") => return Answer::json(200, shared.stats.to_json().to_string()),
        ("POST", "/mock/reset") => {
            *shared.settings.lock() = Settings::default();
            shared.stats.reset();
            shared.balances.reset();
            Ok(())
        }
        ("POST", "/mock/outage") => begin_outage(shared, body),
        ("POST", "/mock/sse") => shape_streams(shared, body),
        ("POST", "/mock/balance") => parse(body).map(|said| shared.balances.say(said)),
        ("POST", "/mock/record") => parse(body).map(|RecordBody { requests }| shared.settings.lock().record = requests),
        _ => return unknown_path(method, path),
    };
    match done {
        Ok(()) => Answer::json(200, json!({"ok": true}).to_string()),
        Err(message) => bad_request(&message),
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("the body does not fit: {error}"))
}

fn begin_outage(shared: &Shared, body: &[u8]) -> Result<(), String> {
    let OutageBody { seconds, status } = parse(body)?;
    if status != 0 && !(400..=599).contains(&status) {
        return Err("status must be 400 to 599, or 0 to close connections without an answer".to_owned());
    }
    let length = Duration::try_from_secs_f64(seconds).map_err(|error| format!("seconds: {error}"))?;
    let until = Instant::now().checked_add(length).ok_or("seconds: too many")?;
    shared.settings.lock().outage = Some(Outage { until, status });
    Ok(())
}

fn shape_streams(shared: &Shared, body: &[u8]) -> Result<(), String> {
    let StreamBody { events, interval_ms } = parse(body)?;
    let mut settings = shared.settings.lock();
    settings.events = events.unwrap_or(settings.events);
    settings.interval = interval_ms.map_or(settings.interval, Duration::from_millis);
    Ok(())
}

//! Event streams: how long each event was on its way.
//!
//! The mock provider writes the send time into each event (`T` and 20 digits of `CLOCK_MONOTONIC` nanoseconds); both
//! run on one machine, so the difference to now is the transit.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use memchr::memmem;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::client::Connection;
use crate::{Target, quantile};

const STAMP: &[u8] = b"\"content\":\"T";
const DIGITS: usize = 20;

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// Streams at a time.
    #[arg(long, default_value_t = 50)]
    streams: u32,
    /// Content events of each.
    #[arg(long, default_value_t = 100)]
    events: usize,
    /// Milliseconds between a stream's events.
    #[arg(long, default_value_t = 20)]
    interval: u32,
}

/// Runs all streams to their end; an incomplete one is an error.
pub async fn run(options: Options) -> anyhow::Result<Value> {
    let Options { target, streams, events, interval } = options;
    let script = format!(r#","stream":true,"mock":{{"events":{events},"interval_ms":{interval}}}"#);
    let request = Rc::new(target.request(512, &script));
    // Evenly over one interval, as unrelated streams would be.
    let step = Duration::from_millis(interval.into()) / streams.max(1);
    let readers: Vec<_> = (0..streams)
        .map(|at| {
            let request = Rc::clone(&request);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(step * at).await;
                let transits = read(Connection::open(target.to).await?, &request).await?;
                ensure!(transits.len() == events, "{} events instead of {events}", transits.len());
                Ok(transits)
            })
        })
        .collect();
    let mut transits = Vec::with_capacity(events * readers.len());
    for reader in readers {
        transits.extend(reader.await?.context("streaming")?);
    }
    transits.sort_unstable();
    Ok(json!({
        "events": transits.len(),
        "p50": quantile(&transits, 0.5),
        "p99": quantile(&transits, 0.99),
    }))
}

/// One stream's transits, in nanoseconds.
async fn read(mut connection: Connection, request: &[u8]) -> anyhow::Result<Vec<u64>> {
    let mut answer = connection.ask(request).await?;
    ensure!(answer.status == 200, "answered {}", answer.status);
    let mut transits = Vec::new();
    // A proxy may cut pieces anywhere: keep what may be the beginning of a stamp.
    let mut pending = Vec::new();
    while let Some(length) = connection.piece(&mut answer).await? {
        let now = monotonic_nanos();
        pending.extend_from_slice(connection.peek(length));
        connection.skip(length, &answer);
        let used = stamps(&pending, |sent| transits.push(now.saturating_sub(sent)));
        let keep = pending.len().saturating_sub(STAMP.len() + DIGITS).max(used);
        pending.drain(..keep);
    }
    Ok(transits)
}

/// Reports every whole stamp; returns where the last one ended.
fn stamps(text: &[u8], mut found: impl FnMut(u64)) -> usize {
    let mut used = 0;
    for at in memmem::find_iter(text, STAMP) {
        let digits = at + STAMP.len();
        let stamp = text.get(digits..digits + DIGITS).and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(sent) = stamp.and_then(|digits| digits.parse().ok()) {
            found(sent);
            used = digits + DIGITS;
        }
    }
    used
}

fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec * 1_000_000_000 + now.tv_nsec).unsigned_abs()
}

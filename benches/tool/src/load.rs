//! Many connections: in a closed loop for throughput and a known number of requests to divide CPU time by, or at a fixed
//! rate for latency.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::client::Connection;
use crate::{Target, quantile};

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests over all connections.
    #[arg(long)]
    requests: usize,
    /// Bytes of each request's body.
    #[arg(long, default_value_t = 512)]
    body: usize,
    /// Requests per second over all connections; without it each connection sends as soon as it has its answer.
    #[arg(long)]
    rate: Option<u32>,
}

/// When a request is due; one that waits for a connection is late, and its latency counts from here.
fn due(start: Instant, number: usize, rate: Option<u32>) -> Option<Instant> {
    Some(start + Duration::from_secs_f64(number as f64 / f64::from(rate?)))
}

/// Sends all requests. Any answer but 200 is an error: a benchmark of failures would look splendid.
pub async fn run(options: Options) -> anyhow::Result<Value> {
    let request = Rc::new(options.target.request(options.body, ""));
    let left = Rc::new(Cell::new(options.requests));
    let latencies = Rc::new(RefCell::new(Vec::with_capacity(options.requests)));
    let start = Instant::now();
    let workers: Vec<_> = (0..options.connections)
        .map(|_| {
            let (request, left, latencies) = (Rc::clone(&request), Rc::clone(&left), Rc::clone(&latencies));
            tokio::task::spawn_local(async move {
                let mut connection = Connection::open(options.target.to).await?;
                while let Some(next) = left.get().checked_sub(1) {
                    left.set(next);
                    let mut sent = Instant::now();
                    if let Some(due) = due(start, options.requests - next, options.rate) {
                        if due > sent {
                            tokio::time::sleep_until(due.into()).await;
                            // The timer's own lateness is not the server's.
                            sent = Instant::now();
                        } else {
                            sent = due;
                        }
                    }
                    let status = connection.exchange(&request).await?;
                    ensure!(status == 200, "answered {status}");
                    latencies.borrow_mut().push(sent.elapsed().as_nanos() as u64);
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for worker in workers {
        worker.await?.context("under load")?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut latencies = latencies.borrow_mut();
    latencies.sort_unstable();
    Ok(json!({
        "requests": latencies.len(),
        "seconds": seconds,
        "per_second": latencies.len() as f64 / seconds,
        "p50": quantile(&latencies, 0.5),
        "p99": quantile(&latencies, 0.99),
    }))
}

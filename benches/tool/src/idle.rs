//! Idle clients: connections that had one answer and keep their place.

use std::io::Write;

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::Target;
use crate::client::Connection;

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// Connections.
    #[arg(long, default_value_t = 1000)]
    connections: usize,
}

/// Prints `ready` when all are open and idle, and closes them when stdin ends.
pub async fn run(options: Options) -> anyhow::Result<Value> {
    let request = options.target.request(512, "");
    let mut connections = Vec::with_capacity(options.connections);
    for _ in 0..options.connections {
        let mut connection = Connection::open(options.target.to).await?;
        let status = connection.exchange(&request).await?;
        ensure!(status == 200, "answered {status}");
        connections.push(connection);
    }
    let mut stdout = std::io::stdout();
    writeln!(stdout, "ready")?;
    stdout.flush()?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(json!({"connections": connections.len()}))
}

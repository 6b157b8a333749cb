//! What `benches/compare.py` measures with: a baseline proxy and the clients that load it.
//!
//! Every client runs on one thread and prints one JSON object; times are in microseconds.

use std::io::Write;
use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};

mod bare;
mod client;
mod idle;
mod load;
mod stream;

#[derive(Parser)]
#[command(about)]
enum Command {
    /// Bare Pingora: one upstream, one key, nothing else.
    Bare(bare::Options),
    #[command(flatten)]
    Client(Client),
}

#[derive(Subcommand)]
enum Client {
    /// Closed loop: each connection sends its next request when it has the answer.
    Load(load::Options),
    /// Event streams of the mock provider; measures each event's transit.
    Stream(stream::Options),
    /// Opens connections, sends one request on each, holds them until stdin ends.
    Idle(idle::Options),
}

/// Where to send what.
#[derive(Args)]
struct Target {
    /// Address of the proxy or provider.
    #[arg(long)]
    to: SocketAddr,
    /// Bearer token.
    #[arg(long)]
    token: String,
    /// Path of every request.
    #[arg(long, default_value = "/v1/chat/completions")]
    path: String,
}

impl Target {
    /// A chat request with a JSON body of `size` bytes (more if `members` need them).
    fn request(&self, size: usize, members: &str) -> Vec<u8> {
        let before = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":""#;
        let after = format!(r#""}}]{members}}}"#);
        let text = "lorem ipsum dolor sit amet consetetur ";
        let fill = size.saturating_sub(before.len() + after.len());
        let content: String = text.chars().cycle().take(fill).collect();
        let body = [before, &content, &after].concat();
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nAccept: */*\r\nUser-Agent: keyweir-bench\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.path,
            self.to,
            self.token,
            body.len()
        );
        [head, body].concat().into_bytes()
    }
}

fn main() -> anyhow::Result<()> {
    let client = match Command::parse() {
        Command::Bare(options) => return bare::run(options),
        Command::Client(client) => client,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let result = local.block_on(&runtime, async {
        match client {
            Client::Load(options) => load::run(options).await,
            Client::Stream(options) => stream::run(options).await,
            Client::Idle(options) => idle::run(options).await,
        }
    })?;
    writeln!(std::io::stdout(), "{result}")?;
    Ok(())
}

/// The `share` quantile of sorted nanoseconds, in microseconds.
fn quantile(sorted: &[u64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).map_or(0.0, |&nanos| nanos as f64 / 1000.0)
}

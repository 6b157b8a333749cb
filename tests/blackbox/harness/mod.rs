//! What every promise needs: a running keyweir, a provider behind it, a client in front of it.

mod client;
mod http2;
mod provider;
mod proxies;
mod server;
mod tls;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

pub(crate) use client::{Connection, Response, chat, dial, post, request};
pub(crate) use http2::{Exchange, Http2};
pub(crate) use provider::{Deaf, MockProvider, Peer, Scripted, chunk, event};
pub(crate) use proxies::Program;
pub(crate) use server::{
    ADMIN_TOKEN, Config, Keyweir, PATIENCE, PROGRESS, TOKEN, free_address, keys_yaml, new_directory, spawn, try_admin,
};
pub(crate) use tls::{Authority, Dates, TlsProvider};

/// Runs what is asynchronous: the mock, HTTP/2 and TLS.
static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
});

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "waited in vain for: {what}");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "between two looks at a condition, on a thread of its own")]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

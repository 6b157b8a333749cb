//! `keyweir mock`: the mock provider alone.

use std::future::Future;
use std::io::{Write, stderr};
use std::net::SocketAddr;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::mock::Mock;

/// Serves the mock provider on `listen` until SIGINT or SIGTERM. The address really bound goes to stderr.
///
/// # Errors
/// The address cannot be bound, or the operating system refuses what every process needs.
pub(crate) fn execute(listen: SocketAddr) -> anyhow::Result<()> {
    // One thread: it is benchmarked against pinned to one core, and answers in microseconds.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = asked_to_stop()?;
        let mock = Mock::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
        writeln!(stderr(), "mock provider on http://{}/v1", mock.local_addr())?;
        mock.serve(stop).await;
        Ok(())
    })
}

fn asked_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

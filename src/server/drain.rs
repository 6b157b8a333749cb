//! The end: SIGTERM and SIGINT stop the listeners, running requests finish, then the process exits.
//!
//! Pingora waits out its whole grace period whatever happens, so the drain ends the process itself as soon as nothing is
//! under way. A second signal ends it at once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::proxy::admit::Admission;
use crate::telemetry::{AccessLog, Readiness, logger};

const POLL: Duration = Duration::from_millis(10);
/// Last bytes and HTTP/2's GOAWAY get this long to leave.
const LINGER: Duration = Duration::from_millis(100);

/// Waits for the signal that ends the server.
pub(super) struct Signals {
    pub(super) readiness: Arc<Readiness>,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => {
                either(terminate, interrupt).await;
                log::info!("Shutting down: no new connections, running requests finish.");
            }
            _ => log::error!("Signals can't be watched; shutting down."),
        }
        self.readiness.set_draining();
        ShutdownSignal::GracefulTerminate
    }
}

async fn either(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Ends the process once the shutdown has begun and nothing is under way.
pub(super) struct Drain {
    pub(super) admission: Arc<Admission>,
    pub(super) access_log: Arc<AccessLog>,
    pub(super) grace: Duration,
}

#[async_trait]
impl BackgroundService for Drain {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        if shutdown.changed().await.is_err() {
            return;
        }
        // Without systemd there is nobody to tell.
        let _untold = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let again = async {
            match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
                (Ok(terminate), Ok(interrupt)) => either(terminate, interrupt).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.until_idle() => {}
            () = again => log::warn!("Second signal: running requests are cut off."),
        }
        self.access_log.flush();
        log::info!("Stopped.");
        logger::flush();
        exit();
    }
}

impl Drain {
    async fn until_idle(&self) {
        let until = Instant::now() + self.grace;
        while self.admission.in_flight() > 0 && Instant::now() < until {
            sleep(POLL).await;
        }
        match self.admission.in_flight() {
            0 => sleep(LINGER).await,
            left => log::warn!(left; "The grace period is over: running requests are cut off."),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "Pingora's main thread sleeps out the grace period; everything is flushed"
)]
fn exit() {
    std::process::exit(0);
}

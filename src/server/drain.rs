//! The end: SIGTERM and SIGINT stop the listeners, running requests finish, then the process exits.
//!
//! First `/readyz` turns 503 and clients are told to leave, for as long as load balancers need to look elsewhere; then
//! the listeners close, and a moment later new requests are refused. Whatever was sent before that is answered. Pingora waits out its whole grace period whatever happens, so the drain ends the process itself as soon as
//! nothing is under way. A second signal ends it at once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::manage::Manager;
use crate::proxy::admit::Admission;
use crate::telemetry::{Phase, Readiness, logger};

const POLL: Duration = Duration::from_millis(10);
/// What was sent before the listeners closed is read within this time.
const SETTLE: Duration = Duration::from_millis(200);
/// Last bytes and HTTP/2's GOAWAY get this long to leave.
const LINGER: Duration = Duration::from_millis(100);

/// SIGTERM and SIGINT.
struct Stops {
    terminate: Signal,
    interrupt: Signal,
}

impl Stops {
    fn watch() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits for the signal that ends the server, and for the delay after it.
pub(super) struct Signals {
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) readiness: Arc<Readiness>,
    /// Tells the drain of a second signal.
    pub(super) hurry: Arc<Notify>,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        match Stops::watch() {
            Ok(mut stops) => {
                stops.next().await;
                self.begin(stops).await;
            }
            Err(error) => log::error!("Signals can't be watched; shutting down: {error}"),
        }
        ShutdownSignal::GracefulTerminate
    }
}

impl Signals {
    async fn begin(&self, mut stops: Stops) {
        // Without systemd there is nobody to tell.
        let _untold = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let delay = self.config.load().server.shutdown.delay;
        self.readiness.enter(Phase::Leaving);
        if delay.is_zero() {
            log::info!("Shutting down: no new connections, running requests finish.");
        } else {
            log::info!("Shutting down: not ready any more, and no new connections in {delay:?}.");
        }
        let hurry = self.hurry.clone();
        tokio::select! {
            () = sleep(delay) => {}
            () = stops.next() => return hurry.notify_one(),
        }
        tokio::spawn(async move {
            stops.next().await;
            hurry.notify_one();
        });
    }
}

/// Ends the process once the listeners are closed and nothing is under way.
pub(super) struct Drain {
    pub(super) manager: Arc<Manager>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) admission: Arc<Admission>,
    pub(super) hurry: Arc<Notify>,
}

#[async_trait]
impl BackgroundService for Drain {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        if shutdown.changed().await.is_err() {
            return;
        }
        tokio::select! {
            () = self.until_idle() => {}
            () = self.hurry.notified() => log::warn!("Second signal: running requests are cut off."),
        }
        self.manager.live().access_log.flush();
        self.manager.finish().await;
        log::info!("Stopped.");
        logger::flush();
        exit();
    }
}

impl Drain {
    async fn until_idle(&self) {
        let grace = self.manager.live().config.load().server.shutdown.grace;
        let until = Instant::now() + grace;
        sleep(SETTLE.min(grace)).await;
        self.readiness.enter(Phase::Refusing);
        match self.admission.in_flight() {
            0 => {}
            in_flight => log::info!(in_flight; "New requests are refused; those under way have {grace:?}."),
        }
        while Instant::now() < until {
            if self.admission.in_flight() == 0 {
                sleep(LINGER).await;
                if self.admission.in_flight() == 0 {
                    return;
                }
            }
            sleep(POLL).await;
        }
        match self.admission.in_flight() {
            0 => {}
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

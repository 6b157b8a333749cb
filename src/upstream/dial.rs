//! Dialling a host by name, directly or through a proxy.
//!
//! Pingora resolves no names (and panics where it is given one it can't resolve), so each target dials through these
//! hooks. The whole is bounded by the peer's total connection timeout.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::prelude::*;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::dns::{DNS, Host};
use super::egress::{self, Blocked};
use super::race;
use crate::keypool::{self, Certainty, Egress};

/// The proxy failed.
const EGRESS_FAILED: ErrorType = ErrorType::Custom("EgressFailed");
/// The proxy did not answer in time.
pub(super) const EGRESS_SILENT: ErrorType = ErrorType::Custom("EgressSilent");

/// The proxy is to blame for certain, whatever its target does.
pub fn is_egress_fault(error: &Error) -> bool {
    [EGRESS_FAILED, EGRESS_SILENT].contains(error.etype())
}

/// Connects to one host and port.
#[derive(Debug, Clone)]
pub(super) struct HostDialer {
    pub(super) host: Arc<Host>,
    pub(super) port: u16,
}

impl HostDialer {
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self { host: DNS.host(host), port }
    }

    /// Host and port as they are written.
    pub(super) fn authority(&self) -> String {
        let (host, port) = (self.host.name(), self.port);
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// # Errors
    /// If the host does not resolve, or none of its addresses answers.
    pub(super) async fn dial(&self) -> Result<TcpStream> {
        let addresses = DNS.addresses(&self.host).await.or_err(ConnectNoRoute, "looking a host up")?;
        race::connect(&addresses, self.port).await.map_err(|error| {
            let refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
            let kind = if refused { ConnectRefused } else { ConnectError };
            Error::because(kind, format!("connecting to {}", self.authority()), error)
        })
    }
}

#[async_trait]
impl L4Connect for HostDialer {
    async fn connect(&self, _: &SocketAddr) -> Result<Stream> {
        Ok(self.dial().await?.into())
    }
}

/// Connects to one host and port through a proxy, and notes how the proxy did.
pub(super) struct EgressDialer {
    egress: Arc<Egress>,
    proxy: HostDialer,
    target: HostDialer,
    /// For reaching the proxy and getting through. Shorter than the peer's own, so that it is known who was silent.
    limit: Duration,
}

impl std::fmt::Debug for EgressDialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} through {}", self.target.authority(), self.egress.name())
    }
}

impl EgressDialer {
    pub(super) fn new(egress: &Arc<Egress>, target: &HostDialer, connect: Duration) -> Self {
        let proxy = HostDialer::new(&egress.config.host, egress.config.port);
        Self { egress: egress.clone(), proxy, target: target.clone(), limit: connect / 10 * 9 }
    }

    fn fail(&self, certainty: Certainty, kind: ErrorType, reason: &str) -> Box<Error> {
        self.egress.failed(certainty, reason, keypool::now());
        Error::explain(kind, format!("{}: {reason}", self.egress.name()))
    }
}

#[async_trait]
impl L4Connect for EgressDialer {
    async fn connect(&self, _: &SocketAddr) -> Result<Stream> {
        let connecting = egress::connect(&self.egress.config, &self.proxy, &self.target);
        // Boxed: with TLS in TLS this is large.
        match timeout(self.limit, Box::pin(connecting)).await {
            Ok(Ok(stream)) => {
                self.egress.succeeded();
                Ok(stream)
            }
            Ok(Err(Blocked::Target(error))) => Error::e_because(ConnectNoRoute, "looking a host up", error),
            Ok(Err(blocked)) => {
                let certainty = blocked.certainty().unwrap_or(Certainty::Doubtful);
                let kind = if certainty == Certainty::Certain { EGRESS_FAILED } else { ConnectError };
                Err(self.fail(certainty, kind, &blocked.to_string()))
            }
            Err(_) => Err(self.fail(Certainty::Certain, EGRESS_SILENT, "the proxy does not answer in time")),
        }
    }
}

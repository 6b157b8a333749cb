//! The connector Pingora asks for upstream connections.
//!
//! It uses the transport directly, without Pingora's protocol routing and pool, and hands out `UpstreamSession`s.
//! Connections are pooled by host, not by address: every target has a `group_key` of its own (see `target`).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::http::custom;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::prelude::*;
use pingora::protocols::ALPN;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use pingora::upstreams::peer::Peer;

use super::idle::IdlePool;
use super::session::UpstreamSession;

const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Idle connections are closed after so many sweeps: a minute.
const SWEEPS_KEPT: usize = 12;

/// Dials, reuses and keeps upstream connections. Cheap to clone: clones share the connections.
#[derive(Clone)]
pub struct Connector {
    pub(super) transport: Arc<TransportConnector>,
    pub(super) idle: Arc<IdlePool>,
}

impl Connector {
    /// A connector that verifies TLS against the system's root certificates.
    pub fn new() -> Self {
        // Pingora's own pool stays unused, hence its smallest size.
        let transport = TransportConnector::new(Some(ConnectorOptions::new(1)));
        Self { transport: Arc::new(transport), idle: Arc::new(IdlePool::new()) }
    }

    /// Another with connections of its own. A connection wakes the thread it was opened on, whoever uses it: those that
    /// requests left must not serve ten thousand tests of keys.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { transport: self.transport.clone(), idle: Arc::new(IdlePool::new()) }
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl custom::Connector for Connector {
    type Session = UpstreamSession;

    /// Asked first: answering here spares Pingora's look into a pool of its own, and the large future of a dial.
    async fn reused_http_session<P: Peer + Send + Sync + 'static>(&self, peer: &P) -> Option<UpstreamSession> {
        // `idle_timeout` zero asks for a fresh connection: the one before turned out stale.
        if peer.idle_timeout() == Some(Duration::ZERO) {
            return None;
        }
        self.idle.take(peer.reuse_hash()).map(UpstreamSession::new)
    }

    async fn get_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        peer: &P,
    ) -> Result<(custom::Connection<UpstreamSession>, bool)> {
        let mut peer = peer.clone();
        if let Some(options) = peer.get_mut_peer_options() {
            options.alpn = ALPN::H1;
        }
        let stream = self.transport.new_stream(&peer).await?;
        Ok((custom::Connection::Session(UpstreamSession::new(stream)), false))
    }

    async fn release_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        session: UpstreamSession,
        peer: &P,
        _: Option<Duration>,
    ) {
        let group = peer.reuse_hash();
        if session.is_reusable() {
            if let Some(stream) = session.into_stream() {
                self.idle.put(group, stream);
            }
        } else if session.is_drainable() {
            // Beside the request: the retry must not wait for the rest of a refused answer.
            let idle = self.idle.clone();
            tokio::spawn(async move {
                if let Some(stream) = session.drain().await {
                    idle.put(group, stream);
                }
            });
        }
    }
}

/// Closes idle connections in time, as a Pingora background service.
pub struct Sweeper(Vec<Arc<IdlePool>>);

impl Sweeper {
    /// Of the connections of all these.
    pub fn new<'a>(connectors: impl IntoIterator<Item = &'a Connector>) -> Self {
        Self(connectors.into_iter().map(|connector| connector.idle.clone()).collect())
    }
}

#[async_trait]
impl BackgroundService for Sweeper {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            tokio::select! {
                _ = shutdown.changed() => return,
                () = tokio::time::sleep(SWEEP_EVERY) => self.0.iter().for_each(|idle| idle.sweep(SWEEPS_KEPT)),
            }
        }
    }
}

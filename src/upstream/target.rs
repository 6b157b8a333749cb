//! A base URL, ready for use.
//!
//! Everything that does not change between two requests is computed here once: the peer, the `Host`, the path.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use pingora::prelude::*;
use pingora::protocols::ALPN;
use pingora::protocols::tls::CustomALPN;
use thiserror::Error;

use super::dial::{EgressDialer, HostDialer};
use super::targets::Health;
use crate::config;
use crate::keypool::Egress;

/// Why a target can't be used.
#[derive(Debug, Error)]
pub enum TargetError {
    /// The host is no valid header text.
    #[error("target host {0:?} is not a valid host name")]
    Host(String),
    /// There is none.
    #[error("the pool has no target")]
    None,
    /// The load balancer refused the target.
    #[error("too many targets")]
    TooMany,
}

/// One base URL.
#[derive(Debug)]
pub struct Target {
    /// Value of the `Host` header.
    pub host: HeaderValue,
    /// Shown in logs.
    pub authority: Arc<str>,
    /// Unique in the pool: the authority, or the whole URL.
    pub name: Arc<str>,
    /// Takes the place of the client's `/v1`.
    pub path: String,
    peer: HttpPeer,
    dialer: HostDialer,
    pub(super) health: Arc<Health>,
}

impl Target {
    /// Prepares a base URL; `connect` bounds connecting to it.
    ///
    /// # Errors
    /// If its host can't be written in a header.
    pub fn new(config: &config::Target, connect: Duration) -> Result<Self, TargetError> {
        let authority = config.authority();
        let host = HeaderValue::from_str(&authority).map_err(|_| TargetError::Host(config.host.clone()))?;
        // The zero address only says "not compared at reuse"; the dialler below resolves the name itself.
        let mut peer = HttpPeer::new((Ipv4Addr::UNSPECIFIED, config.port), config.tls, config.host.clone());
        let mut hasher = DefaultHasher::new();
        (config.tls, &config.host, config.port).hash(&mut hasher);
        peer.group_key = hasher.finish();
        peer.options.alpn = ALPN::Custom(CustomALPN::new(b"keyweir".to_vec()));
        peer.options.total_connection_timeout = Some(connect);
        peer.options.connection_timeout = Some(connect);
        let dialer = HostDialer::new(&config.host, config.port);
        peer.options.custom_l4 = Some(Arc::new(dialer.clone()));
        let authority: Arc<str> = authority.into();
        let (name, path) = (authority.clone(), config.path.clone());
        Ok(Self { host, authority, name, path, peer, dialer, health: Arc::default() })
    }

    pub(super) fn known_as(self, name: &str, health: Arc<Health>) -> Self {
        Self { name: name.into(), health, ..self }
    }

    /// The peer of a replayable request: served by keyweir's own connector, through `egress` if there is one.
    /// `fresh` asks for a new connection, after a pooled one turned out stale.
    pub fn peer(&self, egress: Option<&Arc<Egress>>, fresh: bool) -> Box<HttpPeer> {
        let mut peer = self.peer_by(egress);
        if fresh {
            peer.options.idle_timeout = Some(Duration::ZERO);
        }
        peer
    }

    /// The peer of a WebSocket or an unbuffered body: Pingora's native HTTP/1.1 path. Its connections are a group of
    /// their own, else an idle one would capture the next replayable request, whose body that path never sends.
    pub fn native_peer(&self, egress: Option<&Arc<Egress>>, timeouts: &config::Timeouts) -> Box<HttpPeer> {
        let mut peer = self.peer_by(egress);
        peer.group_key ^= NATIVE;
        peer.options.alpn = ALPN::H1;
        peer.options.read_timeout = Some(timeouts.idle.max(timeouts.first_byte));
        peer.options.write_timeout = Some(timeouts.idle);
        // Not pooled at all: what this path sends can't be sent again if a pooled connection proves stale.
        peer.options.idle_timeout = Some(Duration::ZERO);
        peer
    }

    /// Connections are kept apart by how they leave, too.
    fn peer_by(&self, egress: Option<&Arc<Egress>>) -> Box<HttpPeer> {
        let mut peer = Box::new(self.peer.clone());
        if let Some(egress) = egress {
            peer.group_key = peer.group_key.rotate_left(1) ^ egress.group;
            let connect = peer.options.total_connection_timeout.unwrap_or_default();
            peer.options.custom_l4 = Some(Arc::new(EgressDialer::new(egress, &self.dialer, connect)));
        }
        peer
    }
}

const NATIVE: u64 = 0x6e61_7469_7665;

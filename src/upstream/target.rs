//! The base URLs of a pool, ready for use.
//!
//! Everything that does not change between two requests is computed here once: the peer, the `Host`, the path.
//! With several targets `pingora-load-balancing` shares the requests out by weight.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use pingora::prelude::*;
use pingora::protocols::ALPN;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::tls::CustomALPN;
use pingora_load_balancing::Backend;
use pingora_load_balancing::selection::{BackendIter, BackendSelection, RoundRobin};
use thiserror::Error;

use super::dial::{EgressDialer, HostDialer};
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
    /// Takes the place of the client's `/v1`.
    pub path: String,
    peer: HttpPeer,
    dialer: HostDialer,
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
        Ok(Self { host, authority: authority.into(), path: config.path.clone(), peer, dialer })
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
}

impl Target {
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

/// All targets of a pool.
pub struct Targets {
    list: Vec<Arc<Target>>,
    balancer: Option<Arc<RoundRobin>>,
}

impl Targets {
    /// Prepares the targets of a pool.
    pub fn new(pool: &config::Pool) -> Result<Self, TargetError> {
        let list: Vec<_> = pool
            .targets
            .iter()
            .map(|t| Target::new(t, pool.timeouts.connect).map(Arc::new))
            .collect::<Result<_, _>>()?;
        let balancer = if list.len() > 1 {
            let backends = pool.targets.iter().enumerate().map(|(index, target)| backend(index, target.weight));
            Some(Arc::new(RoundRobin::build(&backends.collect::<Result<BTreeSet<_>, _>>()?)))
        } else {
            None
        };
        Ok(Self { list, balancer })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// A pool always has one; this says whether that is so.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.list.iter()
    }

    /// The one with this authority.
    pub fn named(&self, authority: &str) -> Option<&Arc<Target>> {
        self.list.iter().find(|target| &*target.authority == authority)
    }

    /// The next target in turn.
    pub fn next(&self) -> Option<&Arc<Target>> {
        let Some(balancer) = &self.balancer else { return self.list.first() };
        let mut turn = balancer.iter(b"");
        let SocketAddr::Inet(address) = turn.next()?.addr else { return self.list.first() };
        self.list.get(usize::from(address.port()))
    }
}

/// The balancer knows a target by its index, written as a port: addresses are resolved when dialling.
fn backend(index: usize, weight: usize) -> Result<Backend, TargetError> {
    let port = u16::try_from(index).map_err(|_| TargetError::TooMany)?;
    let address = std::net::SocketAddr::from(([0, 0, 0, 0], port));
    Backend::new_with_weight(&address.to_string(), weight).map_err(|_| TargetError::TooMany)
}

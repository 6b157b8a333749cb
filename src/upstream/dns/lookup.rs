//! One lookup: `/etc/hosts` and name servers, asked by hickory.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use futures::future::{Either, select};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::read_system_conf;
use parking_lot::Mutex;

/// Once one family's addresses are there, the other's are waited for so long (RFC 8305 §3).
const OTHER_FAMILY: Duration = Duration::from_millis(50);
/// Longest wait for one name server, and how often all are asked.
const TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// What the system's answers depend on.
const SYSTEM: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Addresses, and how long they may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ttl: Duration,
}

/// Finds the addresses of a host.
#[async_trait]
pub(super) trait Lookup: Send + Sync {
    /// # Errors
    /// Why there are none, for people.
    async fn lookup(&self, host: &str) -> Result<Found, String>;
}

/// Asks the configured name servers, or the system's.
pub(super) struct Resolver {
    servers: Vec<SocketAddr>,
    built: Mutex<Option<Built>>,
}

/// Made of the system's files as they were at a time.
#[derive(Clone)]
struct Built {
    of: [Option<SystemTime>; SYSTEM.len()],
    v4: TokioResolver,
    v6: TokioResolver,
}

impl Resolver {
    pub(super) fn new(servers: &[SocketAddr]) -> Self {
        Self { servers: servers.to_vec(), built: Mutex::new(None) }
    }

    /// The resolver for the system as it is now: a laptop changes its name servers, a container gains hosts.
    fn current(&self) -> Result<Built, NetError> {
        let of = SYSTEM.map(|path| Path::new(path).metadata().and_then(|file| file.modified()).ok());
        let mut built = self.built.lock();
        match &*built {
            Some(known) if known.of == of => Ok(known.clone()),
            _ => {
                let made = self.build(of)?;
                *built = Some(made.clone());
                Ok(made)
            }
        }
    }

    fn build(&self, of: [Option<SystemTime>; SYSTEM.len()]) -> Result<Built, NetError> {
        let (config, mut options) = if self.servers.is_empty() {
            // Without name servers the one on this machine is meant (resolv.conf(5)).
            read_system_conf().unwrap_or_else(|_| (asking(&[([127, 0, 0, 1], 53).into()]), ResolverOpts::default()))
        } else {
            (asking(&self.servers), ResolverOpts::default())
        };
        options.timeout = options.timeout.min(TIMEOUT);
        options.attempts = options.attempts.min(ATTEMPTS);
        // Answers are kept in one place only, and failures not as long as a zone wishes.
        options.cache_size = 0;
        let family = |strategy| {
            let provider = TokioRuntimeProvider::default();
            let mut builder = TokioResolver::builder_with_config(config.clone(), provider);
            *builder.options_mut() = options.clone();
            builder.options_mut().ip_strategy = strategy;
            builder.build()
        };
        Ok(Built { of, v4: family(LookupIpStrategy::Ipv4Only)?, v6: family(LookupIpStrategy::Ipv6Only)? })
    }
}

fn asking(servers: &[SocketAddr]) -> ResolverConfig {
    let server = |address: &SocketAddr| {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        server.connections.iter_mut().for_each(|connection| connection.port = address.port());
        server
    };
    ResolverConfig::from_name_servers(servers.iter().map(server).collect())
}

#[async_trait]
impl Lookup for Resolver {
    async fn lookup(&self, host: &str) -> Result<Found, String> {
        let resolvers = self.current().map_err(|error| error.to_string())?;
        let (v4, v6) = (Box::pin(ask(&resolvers.v4, host)), Box::pin(ask(&resolvers.v6, host)));
        let both = match select(v4, v6).await {
            Either::Left((v4, v6)) => (v4, v6),
            Either::Right((v6, v4)) => (v6, v4),
        };
        let (first, other) = both;
        let second = match &first {
            Ok(_) => tokio::time::timeout(OTHER_FAMILY, other).await.ok(),
            Err(_) => Some(other.await),
        };
        join(first, second)
    }
}

/// One family's addresses.
async fn ask(resolver: &TokioResolver, host: &str) -> Result<Found, NetError> {
    let found = resolver.lookup_ip(host).await?;
    let ttl = found.valid_until().saturating_duration_since(Instant::now());
    Ok(Found { addresses: found.iter().collect(), ttl })
}

/// What both families' answers come to: the families take turns, IPv6 first (RFC 8305 §4).
fn join(first: Result<Found, NetError>, second: Option<Result<Found, NetError>>) -> Result<Found, String> {
    let (mut found, mut failure) = (Vec::new(), None);
    for answer in [Some(first), second].into_iter().flatten() {
        match answer {
            Ok(answer) => found.push(answer),
            // That a name has no records of one family tells less than any other failure.
            Err(error) if error.is_nx_domain() || failure.is_none() => failure = Some(error),
            Err(_) => {}
        }
    }
    let ttl = found.iter().map(|found| found.ttl).min();
    let (v6, v4): (Vec<_>, Vec<_>) = found.into_iter().flat_map(|found| found.addresses).partition(IpAddr::is_ipv6);
    match (ttl, failure) {
        (Some(ttl), _) => Ok(Found { addresses: take_turns(&v6, &v4), ttl }),
        (None, Some(error)) if error.is_nx_domain() => Err("there is no such name".to_owned()),
        (None, Some(error)) if error.is_no_records_found() => Err("it has no address".to_owned()),
        (None, error) => Err(error.map_or_else(String::new, |error| error.to_string())),
    }
}

fn take_turns(first: &[IpAddr], second: &[IpAddr]) -> Vec<IpAddr> {
    let longest = first.len().max(second.len());
    (0..longest).flat_map(|index| [first.get(index), second.get(index)]).flatten().copied().collect()
}

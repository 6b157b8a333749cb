//! Listening addresses: free or not, with or without TLS, and when they answer.

use std::fs::Permissions;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::listeners::ListenerConfig;
use pingora::listeners::tls::TlsSettings;
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora::services::background::BackgroundService;
use tokio::sync::watch;

use super::ServerError;
use super::accept::Socket;
use crate::config::{Address, Config, Listen};
use crate::manage::Certificates;
use crate::telemetry::Readiness;

/// Read buffers of a client connection. On plain ones every reader brings a larger buffer of its own, so that one here
/// would only cost memory; a TLS record is up to 16 KiB.
const PLAIN_BUFFER: usize = 0;
const TLS_BUFFER: usize = 16 * 1024;
/// Small writes are gathered up to one Ethernet packet.
const WRITE_BUFFER: usize = 1460;
/// Who may connect to the operators' unix sockets: owner and group.
const OPERATORS_SOCKET: u32 = 0o660;

/// Makes sure that every address can be listened on. Pingora would retry for half a minute and then go on without it.
/// What is bound for that is dropped again, but for the proxy's sockets.
pub(super) fn bind(config: &Config) -> Result<Vec<Socket>, ServerError> {
    let mut sockets = Vec::new();
    for (setting, listen) in config.listeners() {
        let fail = |source| ServerError::Listen { setting, address: describe(&listen.address), source };
        match &listen.address {
            Address::Tcp(address) => {
                let socket = Socket::bind(*address).map_err(fail)?;
                if setting == "server.proxy.listen" {
                    sockets.push(socket);
                }
            }
            // A socket file that answers belongs to a running process; one that does not is left over.
            Address::Unix(path) if UnixStream::connect(path).is_ok() => {
                return Err(fail(std::io::ErrorKind::AddrInUse.into()));
            }
            Address::Unix(_) => {}
        }
    }
    Ok(sockets)
}

fn describe(address: &Address) -> String {
    match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// A listener of the proxy: HTTP/1 and, told by ALPN or preface, HTTP/2.
pub(super) fn for_clients(listen: &Listen, certificates: &Certificates) -> Result<ListenerConfig, ServerError> {
    Ok(buffered(endpoint(&listen.address), tls_for_clients(&listen.address, certificates)?))
}

fn buffered(endpoint: ListenerConfig, tls: Option<TlsSettings>) -> ListenerConfig {
    match tls {
        Some(settings) => endpoint.tls(settings).l4_buffer(L4BufferSettings::new(TLS_BUFFER, WRITE_BUFFER)),
        None => endpoint.l4_buffer(L4BufferSettings::new(PLAIN_BUFFER, WRITE_BUFFER)),
    }
}

/// TLS of a listener of the proxy; `None` = it has none.
pub(super) fn tls_for_clients(
    address: &Address,
    certificates: &Certificates,
) -> Result<Option<TlsSettings>, ServerError> {
    let mut settings = certificates.settings(address).map_err(ServerError::Tls)?;
    settings.iter_mut().for_each(TlsSettings::enable_h2);
    Ok(settings)
}

/// A listener of the operators: HTTP/1, its unix socket closed to strangers.
pub(super) fn for_operators(listen: &Listen, certificates: &Certificates) -> Result<ListenerConfig, ServerError> {
    let mut endpoint = endpoint(&listen.address);
    if let Address::Unix(_) = listen.address {
        endpoint = endpoint.permissions(Permissions::from_mode(OPERATORS_SOCKET));
    }
    Ok(buffered(endpoint, certificates.settings(&listen.address).map_err(ServerError::Tls)?))
}

fn endpoint(address: &Address) -> ListenerConfig {
    match address {
        Address::Tcp(address) => ListenerConfig::tcp(address.to_string()),
        Address::Unix(path) => ListenerConfig::uds(path.display().to_string()),
    }
}

/// A listener that goes on until the process ends, so that a drain can be watched: `/readyz` must be able to say 503.
pub(super) struct ToTheEnd<S>(pub(super) S);

#[async_trait]
impl<S: Service> Service for ToTheEnd<S> {
    async fn start_service(&mut self, fds: Option<ListenFds>, _: ShutdownWatch, listeners_per_fd: usize) {
        let (_never, shutdown) = watch::channel(false);
        self.0.start_service(fds, shutdown, listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn threads(&self) -> Option<usize> {
        self.0.threads()
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        self.0.listen_addresses()
    }
}

/// Announces readiness once every address accepts connections: to `/readyz`, the log and systemd.
pub(super) struct Announce {
    addresses: Vec<Address>,
    readiness: Arc<Readiness>,
}

impl Announce {
    pub(super) fn new(config: &Config, readiness: Arc<Readiness>) -> Self {
        Self { addresses: config.listeners().map(|(_, listen)| listen.address.clone()).collect(), readiness }
    }
}

#[async_trait]
impl BackgroundService for Announce {
    async fn start(&self, _: ShutdownWatch) {
        for address in &self.addresses {
            while !accepts(address).await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        self.readiness.set_listeners_bound();
        let listening = self.addresses.iter().map(describe).collect::<Vec<_>>().join(" ");
        log::info!(listening; "keyweir is ready.");
        // Without systemd there is nobody to tell.
        let _untold = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    }
}

async fn accepts(address: &Address) -> bool {
    match address {
        Address::Tcp(address) => tokio::net::TcpStream::connect(reachable(*address)).await.is_ok(),
        Address::Unix(path) => tokio::net::UnixStream::connect(path).await.is_ok(),
    }
}

/// The address this machine reaches a listener by.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

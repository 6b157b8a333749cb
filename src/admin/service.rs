//! An axum router behind a Pingora listener.
//!
//! The router runs in hyper on Pingora's own connection, not in a server of axum's: so TLS, unix sockets, shutdown and
//! the hand-over of listening sockets to a new process work as they do for the proxy, and there is one set of runtimes.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pingora::apps::ServerApp;
use pingora::listeners::ListenerConfig;
use pingora::listeners::tls::TlsSettings;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use pingora::services::listening::Service;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::model::{Address, Listen, Tls};

/// Time for a request's head; an idle connection ends after it too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest request head, in bytes.
const HEAD_MAX: usize = 64 * 1024;
/// Who may connect to a unix socket: its owner and group.
const SOCKET_MODE: u32 = 0o660;

/// Why a listener cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A PEM file of `tls:` is missing or holds something else.
    #[error("{service}: cannot read the TLS file {path}: {error}")]
    TlsFile {
        /// The service's name.
        service: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        error: pem::Error,
    },
    /// The PEM files do not go together.
    #[error("{service}: TLS cannot be set up with {cert} and {key}: {error}")]
    Tls {
        /// The service's name.
        service: String,
        /// The certificate chain.
        cert: PathBuf,
        /// The private key.
        key: PathBuf,
        /// Why not.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Pingora takes paths as text.
    #[error("{service}: the path {path} is not UTF-8: rename it")]
    Path {
        /// The service's name.
        service: String,
        /// The path.
        path: PathBuf,
    },
}

/// The address a request came from, as an axum extension; `None` on unix sockets.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub Option<SocketAddr>);

/// Serves a router on Pingora's connections.
pub struct AdminApp {
    router: Router,
}

/// A Pingora service called `name` that serves `router` at `listen`, on one thread of its own.
///
/// # Errors
///
/// See [`ServiceError`]; whether the address can be bound shows when the server starts.
pub fn service(name: &str, listen: &Listen, router: Router) -> Result<Service<AdminApp>, ServiceError> {
    let mut endpoint = match &listen.address {
        Address::Tcp(address) => ListenerConfig::tcp(address.to_string()),
        Address::Unix(path) => {
            ListenerConfig::uds(utf8(name, path)?).permissions(std::fs::Permissions::from_mode(SOCKET_MODE))
        }
    };
    if let Some(tls) = &listen.tls {
        endpoint = endpoint.tls(tls_settings(name, tls)?);
    }
    let mut service = Service::new(name.to_owned(), AdminApp { router });
    service.add_listener(endpoint);
    service.threads = Some(1);
    Ok(service)
}

/// Pingora's settings for a TLS listener of the service called `name`.
///
/// Pingora reads the files only when the server starts, and panics over what it cannot use; so they are tried here.
///
/// # Errors
///
/// See [`ServiceError`].
pub fn tls_settings(name: &str, tls: &Tls) -> Result<TlsSettings, ServiceError> {
    let unreadable = |path: &Path, error| ServiceError::TlsFile { service: name.to_owned(), path: path.into(), error };
    let certs: Vec<_> = CertificateDer::pem_file_iter(&tls.cert)
        .and_then(Iterator::collect)
        .and_then(|certs: Vec<_>| if certs.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(certs) })
        .map_err(|error| unreadable(&tls.cert, error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| unreadable(&tls.key, error))?;
    let unusable = |error: Box<dyn std::error::Error + Send + Sync>| {
        let (service, cert, key) = (name.to_owned(), tls.cert.clone(), tls.key.clone());
        ServiceError::Tls { service, cert, key, error }
    };
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certs, key))
        .map_err(|error| unusable(error.into()))?;
    TlsSettings::intermediate(utf8(name, &tls.cert)?, utf8(name, &tls.key)?).map_err(|error| unusable(error))
}

fn utf8<'a>(service: &str, path: &'a Path) -> Result<&'a str, ServiceError> {
    path.to_str().ok_or_else(|| ServiceError::Path { service: service.to_owned(), path: path.to_owned() })
}

#[async_trait]
impl ServerApp for AdminApp {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let peer = stream.get_socket_digest().and_then(|digest| digest.peer_addr()?.as_inet().copied());
        let router = self.router.clone().layer(Extension(Peer(peer)));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEAD_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        let mut connection = std::pin::pin!(connection);
        let mut shutdown = shutdown.clone();
        // A server that is gone without a signal stops us just as well.
        let stopped = async { drop(shutdown.wait_for(|stop| *stop).await) };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            log::debug!("admin connection ended: {error}");
        }
        None
    }
}

#[cfg(test)]
mod tests;

//! An axum router behind a Pingora listener.
//!
//! The router runs in hyper on Pingora's own connection, not in a server of axum's: so TLS, unix sockets, shutdown and
//! the hand-over of listening sockets to a new process work as they do for the proxy, and there is one set of runtimes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pingora::apps::ServerApp;
use pingora::listeners::ListenerConfig;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use pingora::services::listening::Service;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::portions::Portions;
use crate::background::{self, Rank};

/// Time for a request's head; an idle connection ends after it too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest request head, in bytes.
const HEAD_MAX: usize = 64 * 1024;

/// Where a request came from, as an axum extension.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The other end of the connection; `None` on unix sockets.
    pub address: Option<SocketAddr>,
    /// Whether the connection is encrypted.
    pub is_tls: bool,
}

/// Connections at once: what strangers open here must not use up the process' file descriptors.
const CONNECTIONS_MAX: usize = 4096;
/// What one more is told.
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Time to hear that.
const FAREWELL: Duration = Duration::from_millis(250);

/// Serves a router on Pingora's connections.
pub struct AdminApp {
    router: Router,
    connections: Semaphore,
}

/// A Pingora service called `name` that serves `router` at `endpoint`, on one thread of its own.
pub fn service(name: &str, endpoint: ListenerConfig, router: Router) -> Service<AdminApp> {
    let mut service = Service::new(name.to_owned(), AdminApp { router, connections: Semaphore::new(CONNECTIONS_MAX) });
    service.add_listener(endpoint);
    service.threads = Some(1);
    service
}

/// Says that there is no room. What was sent must be read, or the kernel takes the answer back by a reset.
async fn refuse(stream: &mut Stream) -> io::Result<()> {
    stream.write_all(BUSY).await?;
    stream.shutdown().await?;
    tokio::io::copy(stream, &mut tokio::io::sink()).await.map(drop)
}

#[async_trait]
impl ServerApp for AdminApp {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let Ok(_connection) = self.connections.try_acquire() else {
            // Whoever does not read it in time has lost nothing.
            let _unread = timeout(FAREWELL, refuse(&mut stream)).await;
            return None;
        };
        background::give_way(Rank::Work);
        let address = stream.get_socket_digest().and_then(|digest| digest.peer_addr()?.as_inet().copied());
        let peer = Peer { address, is_tls: stream.get_ssl_digest().is_some() };
        let router = TowerToHyperService::new(self.router.clone());
        // Not a layer: that would build every route anew for each connection.
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            router.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEAD_MAX)
            .serve_connection(TokioIo::new(Portions(stream)), service);
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

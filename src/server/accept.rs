//! The proxy's TCP sockets: nobody who got through to one is turned away when it closes.
//!
//! Pingora stops accepting wherever it stands in the queue, and closing a socket resets what still waits there or shakes
//! hands. So the sockets are bound here, and a second handle to each keeps it open until nobody new gets in and its
//! queue has been served.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use pingora::listeners::PreTlsProcess;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::{GetSocketDigest, SocketDigest, Stream};
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora::services::listening;
use socket2::{SockFilter, SockRef};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::config::Address;
use crate::proxy::front::Proxy;
use crate::proxy::tls_door::TlsDoor;

/// As long as Pingora waits for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(60);
/// A client that the kernel has answered gets through within this time (a round trip), and not after it.
const LAST_CALL: Duration = Duration::from_millis(100);
/// Drops a client's first packet (SYN without ACK, byte 13 of TCP's header) and nothing else, in classic BPF: load the
/// flags, keep those two, compare.
const NO_NEW_CLIENTS: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),
    SockFilter::new(0x54, 0, 0, 0x12),
    SockFilter::new(0x15, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

/// A TCP address of the proxy, bound and not yet listening.
pub(super) struct Socket {
    address: SocketAddr,
    for_pingora: OwnedFd,
    kept: TcpListener,
}

impl Socket {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let for_pingora = socket.as_fd().try_clone_to_owned()?;
        // It listens once Pingora says so: the handles share one socket.
        let kept = TcpListener::from(socket.as_fd().try_clone_to_owned()?);
        Ok(Self { address, for_pingora, kept })
    }

    pub(super) fn address(&self) -> Address {
        Address::Tcp(self.address)
    }
}

/// Pingora's service, and after it whoever was left in the queues.
pub(super) struct Listeners {
    pub(super) inner: listening::Service<Proxy>,
    /// Each with what shakes hands, where it has TLS.
    pub(super) sockets: Vec<(Socket, Option<Acceptor>)>,
    /// What those pass first.
    pub(super) door: Arc<TlsDoor>,
    /// Pingora keeps the proxy to itself, but shows it to each connection that is not HTTP/2 over TLS.
    pub(super) proxy: Arc<OnceLock<Arc<Proxy>>>,
}

#[async_trait]
impl Service for Listeners {
    async fn start_service(&mut self, fds: Option<ListenFds>, shutdown: ShutdownWatch, listeners_per_fd: usize) {
        let mut kept = Vec::new();
        for (socket, acceptor) in self.sockets.drain(..) {
            let address = socket.address.to_string();
            match &fds {
                Some(fds) if fds.lock().get(&address).is_none() => {
                    fds.lock().add(address, socket.for_pingora.into_raw_fd());
                    kept.push((socket.kept, acceptor.map(|acceptor| (Arc::new(acceptor), self.door.clone()))));
                }
                // Handed over by another process: it is not ours to keep open.
                _ => {}
            }
        }
        self.inner.start_service(fds, shutdown.clone(), listeners_per_fd).await;
        let Some(proxy) = self.proxy.get() else { return };
        for (listener, _) in &kept {
            if let Err(error) = SockRef::from(listener).attach_filter(&NO_NEW_CLIENTS) {
                log::debug!("who connects in this moment may be reset: {error}");
            }
        }
        sleep(LAST_CALL).await;
        for (listener, tls) in kept {
            while let Ok((stream, _)) = listener.accept() {
                tokio::spawn(serve(stream, tls.clone(), proxy.clone(), shutdown.clone()));
            }
        }
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn threads(&self) -> Option<usize> {
        self.inner.threads
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        self.inner.listen_addresses()
    }
}

type Tls = Option<(Arc<Acceptor>, Arc<TlsDoor>)>;

async fn serve(stream: std::net::TcpStream, tls: Tls, proxy: Arc<Proxy>, shutdown: ShutdownWatch) {
    match prepare(stream, tls).await {
        Ok(stream) => listening::Service::handle_event(stream, proxy, shutdown).await,
        Err(error) => log::debug!("a connection that was accepted last failed: {error}"),
    }
}

async fn prepare(stream: std::net::TcpStream, tls: Tls) -> pingora::Result<Stream> {
    let broken = |error| pingora::Error::because(pingora::ErrorType::AcceptError, "a connection from the queue", error);
    stream.set_nonblocking(true).map_err(broken)?;
    let mut stream = L4Stream::from(TcpStream::from_std(stream).map_err(broken)?);
    stream.set_nodelay()?;
    stream.set_socket_digest(SocketDigest::from_raw_fd(stream.as_raw_fd()));
    let Some((acceptor, door)) = tls else { return Ok(Box::new(stream)) };
    door.process(&mut stream).await?;
    match timeout(HANDSHAKE, acceptor.tls_handshake(stream)).await {
        Ok(shaken) => Ok(Box::new(shaken?)),
        Err(_) => pingora::Error::e_explain(pingora::ErrorType::TLSHandshakeTimedout, "in the queue"),
    }
}

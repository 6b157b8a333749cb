//! Through a proxy: HTTP `CONNECT` and SOCKS 5.
//!
//! Whatever a proxy answers is bounded, in bytes here and in time by who calls. Invariant: no error holds user or
//! password, nor what the proxy said, which may repeat them.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use once_cell::sync::Lazy;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::prelude::HttpPeer;
use pingora::protocols::Stream as AnyStream;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_socks::TargetAddr;
use tokio_socks::tcp::Socks5Stream;

use super::dial::HostDialer;
use super::dns::{DNS, Unresolved};
use crate::config::Egress;
use crate::config::egress::Protocol;
use crate::keypool::Certainty;

/// Longest answer to a `CONNECT` (bytes), and most headers in it.
const ANSWER_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// Why there is no way through a proxy.
#[derive(Debug, Error)]
pub(super) enum Blocked {
    /// It is the proxy's fault.
    #[error("{0}")]
    Proxy(String),
    /// The proxy works as far as one can see, but does not get through.
    #[error("{0}")]
    Beyond(String),
    /// The target's name has to be resolved here and can't be.
    #[error(transparent)]
    Target(#[from] Unresolved),
}

impl Blocked {
    /// How sure it is that the proxy is to blame; `None` = it is not.
    pub(super) fn certainty(&self) -> Option<Certainty> {
        match self {
            Self::Proxy(_) => Some(Certainty::Certain),
            Self::Beyond(_) => Some(Certainty::Doubtful),
            Self::Target(_) => None,
        }
    }
}

/// Connects to `target` through `egress`, which is reached by `proxy`.
pub(super) async fn connect(egress: &Egress, proxy: &HostDialer, target: &HostDialer) -> Result<Stream, Blocked> {
    match egress.protocol {
        Protocol::Http => {
            let mut stream = reach(proxy).await?;
            ask(&mut stream, egress, target).await?;
            Ok(stream.into())
        }
        Protocol::Https => {
            let mut stream = reach_by_tls(egress, proxy).await?;
            ask(&mut stream, egress, target).await?;
            Ok(VirtualSocketStream::new(Box::new(Tunnel(stream))).into())
        }
        Protocol::Socks5 | Protocol::Socks5h => {
            let address = address(egress.protocol, target).await?;
            let stream = reach(proxy).await?;
            Ok(ask_socks(stream, egress, address).await?.into())
        }
    }
}

async fn reach(proxy: &HostDialer) -> Result<TcpStream, Blocked> {
    proxy.dial().await.map_err(|error| Blocked::Proxy(format!("the proxy can't be reached: {error}")))
}

/// Made when the first proxy with TLS is used: it reads the system's root certificates.
static TLS: Lazy<TransportConnector> = Lazy::new(|| TransportConnector::new(Some(ConnectorOptions::new(1))));

async fn reach_by_tls(egress: &Egress, proxy: &HostDialer) -> Result<AnyStream, Blocked> {
    let mut peer = HttpPeer::new((std::net::Ipv4Addr::UNSPECIFIED, egress.port), true, egress.host.clone());
    peer.options.custom_l4 = Some(Arc::new(proxy.clone()));
    let reached = TLS.new_stream(&peer).await;
    reached.map_err(|error| Blocked::Proxy(format!("the proxy can't be reached by TLS: {}", error.etype().as_str())))
}

/// Asks an HTTP proxy for a tunnel.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    egress: &Egress,
    target: &HostDialer,
) -> Result<(), Blocked> {
    let place = target.authority();
    let mut request = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n");
    if let Some((user, password)) = &egress.login {
        let login = STANDARD.encode(format!("{}:{}", user.expose(), password.expose()));
        request += &format!("Proxy-Authorization: Basic {login}\r\n");
    }
    request += "\r\n";
    let broken = |error: io::Error| Blocked::Proxy(format!("the proxy broke off: {}", error.kind()));
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    match read_status(stream).await? {
        200..300 => Ok(()),
        407 => Err(Blocked::Proxy("the proxy wants another user or password (407)".to_owned())),
        status @ 500..600 => Err(Blocked::Beyond(format!("the proxy does not get through ({status})"))),
        status => Err(Blocked::Proxy(format!("the proxy refuses to connect ({status})"))),
    }
}

/// The status of a proxy's answer, read to the end of its head and not a byte further.
async fn read_status<S: AsyncRead + Unpin>(stream: &mut S) -> Result<u16, Blocked> {
    let proxy = |what: &str| Blocked::Proxy(format!("the proxy's answer {what}"));
    let mut answer = Vec::with_capacity(1024);
    loop {
        match stream.read_buf(&mut answer).await {
            Ok(0) => return Err(proxy("is cut off")),
            Ok(_) => {}
            Err(error) => return Err(proxy(&format!("can't be read: {}", error.kind()))),
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let end = match response.parse(&answer) {
            Ok(httparse::Status::Complete(end)) => end,
            Ok(httparse::Status::Partial) if answer.len() < ANSWER_MAX => continue,
            Ok(httparse::Status::Partial) => return Err(proxy("is too long")),
            Err(_) => return Err(proxy("is no HTTP")),
        };
        let status = response.code.unwrap_or_default();
        // Whoever is behind the tunnel waits for us to speak first.
        return match status {
            200..300 if end < answer.len() => Err(proxy("goes on behind its end")),
            _ => Ok(status),
        };
    }
}

/// What a SOCKS proxy is asked to connect to.
async fn address(protocol: Protocol, target: &HostDialer) -> Result<TargetAddr<'static>, Blocked> {
    let name = target.host.name();
    if protocol == Protocol::Socks5h && name.parse::<IpAddr>().is_err() {
        return Ok(TargetAddr::Domain(name.to_owned().into(), target.port));
    }
    let addresses = DNS.addresses(&target.host).await?;
    // Many proxies have no IPv6, and none tells in advance.
    let chosen = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    let chosen = chosen.copied().unwrap_or(IpAddr::from([0, 0, 0, 0]));
    Ok(TargetAddr::Ip((chosen, target.port).into()))
}

async fn ask_socks(stream: TcpStream, egress: &Egress, target: TargetAddr<'static>) -> Result<TcpStream, Blocked> {
    use tokio_socks::Error;
    let asked = match &egress.login {
        Some((user, password)) => {
            Socks5Stream::connect_with_password_and_socket(stream, target, user.expose(), password.expose()).await
        }
        None => Socks5Stream::connect_with_socket(stream, target).await,
    };
    asked.map(Socks5Stream::into_inner).map_err(|error| match error {
        Error::GeneralSocksServerFailure
        | Error::NetworkUnreachable
        | Error::HostUnreachable
        | Error::ConnectionRefused
        | Error::TtlExpired => Blocked::Beyond(format!("the proxy does not get through: {error}")),
        Error::Io(error) => Blocked::Proxy(format!("the proxy broke off: {}", error.kind())),
        error => Blocked::Proxy(format!("the proxy refuses: {error}")),
    })
}

/// A tunnel inside a TLS connection, as the socket that Pingora expects.
#[derive(Debug)]
struct Tunnel(AnyStream);

impl VirtualSocket for Tunnel {
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;

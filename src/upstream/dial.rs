//! Dialling a host by name.
//!
//! Pingora resolves no names (and panics where it is given one it can't resolve), so each target dials through this
//! hook: the name is resolved off the runtime's threads and the addresses are tried in the resolver's order. The whole
//! is bounded by the peer's total connection timeout.

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::prelude::*;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use tokio::net::{TcpStream, lookup_host};

/// Connects to one host and port.
#[derive(Debug)]
pub(super) struct HostDialer {
    pub(super) host: String,
    pub(super) port: u16,
}

#[async_trait]
impl L4Connect for HostDialer {
    async fn connect(&self, _: &SocketAddr) -> Result<Stream> {
        let addresses = lookup_host((self.host.as_str(), self.port))
            .await
            .or_err_with(ConnectNoRoute, || format!("{} does not resolve", self.host))?;
        let mut last = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true).or_err(SocketError, "nodelay")?;
                    return Ok(stream.into());
                }
                Err(error) => last = Some(error),
            }
        }
        let refused = last.as_ref().is_some_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused);
        let kind = if refused { ConnectRefused } else { ConnectError };
        match last {
            Some(error) => Error::e_because(kind, format!("connecting to {}", self.host), error),
            None => Error::e_explain(ConnectNoRoute, format!("{} has no address", self.host)),
        }
    }
}

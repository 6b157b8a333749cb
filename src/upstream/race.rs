//! Connecting to one of several addresses: happy eyeballs (RFC 8305 §5).

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An address that has not answered by then gets a rival.
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses tried at most.
const MOST: usize = 8;

/// Connects to the first address that answers; an earlier one has a head start. How long it may take is the caller's.
///
/// # Errors
/// The last one's, if none answers.
pub(super) async fn connect(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter().take(MOST);
    let mut racing = FuturesUnordered::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let is_joined = waiting.next().map(|address| racing.push(TcpStream::connect((*address, port)))).is_some();
        let ended = match waiting.len() {
            0 => racing.next().await,
            _ => timeout(HEAD_START, racing.next()).await.unwrap_or_default(),
        };
        match ended {
            Some(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Some(Err(error)) => last = error,
            None if racing.is_empty() && !is_joined => return Err(last),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_dead_address_costs_only_its_head_start() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // Nothing answers at 192.0.2.1 (TEST-NET-1), nobody listens on that port of 127.0.0.2.
        for dead in ["192.0.2.1", "127.0.0.2"] {
            let stream = connect(&addresses(&[dead, "127.0.0.1"]), port).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap().ip().to_string(), "127.0.0.1", "{dead}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_told() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let error = connect(&addresses(&["127.0.0.1", "127.0.0.2"]), port).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(connect(&[], port).await.is_err());
    }
}

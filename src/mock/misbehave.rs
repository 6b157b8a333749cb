//! Answers that no HTTP server should give.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use tokio::time::Instant;

use super::answers::{write_chunk, write_head};
use super::http::Connection;
use super::request::Frame;

/// Size of an endless body's pieces.
const PIECE: usize = 8 << 10; // bytes

/// The ways to break the protocol. After each the connection is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misbehaviour {
    /// Bytes that are not HTTP.
    Garbage,
    /// Half a head.
    HalfHead,
    /// A 500 whose body never ends.
    Endless,
    /// A 101 to a request that asked for no upgrade.
    UnaskedUpgrade,
    /// Nothing at all.
    Close,
}

impl Misbehaviour {
    /// The status line it sends, if any.
    pub(super) fn status(self) -> Option<u16> {
        match self {
            Misbehaviour::Endless => Some(500),
            Misbehaviour::UnaskedUpgrade => Some(101),
            _ => None,
        }
    }

    /// Acts it out; returning means the connection is to be closed.
    pub(super) async fn act(self, connection: &mut Connection) -> io::Result<()> {
        match self {
            Misbehaviour::Garbage => connection.send(b"\x16\x03\x01\x00\xffthis is not HTTP\r\n\r\n\x00\xfe").await,
            Misbehaviour::HalfHead => connection.send(b"HTTP/1.1 200 OK\r\ncontent-type: appli").await,
            Misbehaviour::Endless => endless(connection).await,
            Misbehaviour::UnaskedUpgrade => {
                connection
                    .send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
                    .await?;
                Err(connection.gone().await)
            }
            Misbehaviour::Close => Ok(()),
        }
    }
}

async fn endless(connection: &mut Connection) -> io::Result<()> {
    let mut out = Vec::new();
    write_head(&mut out, 500, "application/json", 0, Frame::Chunked, 0, &[]);
    write_chunk(&mut out, br#"{"error":{"message":""#);
    connection.send(&out).await?;
    out.clear();
    write_chunk(&mut out, &[b'x'; PIECE]);
    loop {
        connection.send(&out).await?;
        connection.pause_until(Instant::now() + Duration::from_millis(1)).await?;
    }
}

/// A regular WebSocket handshake (RFC 6455, section 4.2.2), then every byte back as it came.
pub(super) async fn echo_websocket(connection: &mut Connection, key: &str) -> io::Result<()> {
    let accepted = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accepted = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, accepted.as_bytes());
    let accepted = STANDARD.encode(accepted);
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {accepted}\r\n\r\n"
    );
    connection.send(head.as_bytes()).await?;
    connection.echo().await
}

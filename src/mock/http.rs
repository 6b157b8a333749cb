//! One HTTP/1.1 connection on a raw socket: requests in, bytes out.
//!
//! Only the reading side knows HTTP; what goes out is whatever the caller wrote, right or wrong. While an answer is
//! delayed or streamed the socket is still read, so that a client that leaves is noticed at once; what it sends
//! meanwhile waits in the buffer.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep, sleep_until};

/// The longest head taken.
const MAX_HEAD: usize = 64 << 10; // bytes
/// The longest body taken.
const MAX_BODY: u64 = 256 << 20; // bytes
const MAX_HEADERS: usize = 128;

/// Why no request could be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The client left or the socket failed.
    #[error("connection lost: {0}")]
    Io(#[from] io::Error),
    /// What it sent is not HTTP/1.1.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
}

/// A request's head, with what the mock looks at taken out of it.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// The bytes as received, blank line included.
    pub(super) raw: Bytes,
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    /// From `Authorization: Bearer`, `x-api-key`, `api-key` or `x-goog-api-key`.
    pub(super) key: Option<String>,
    pub(super) framing: Framing,
    pub(super) json: bool,
    pub(super) expects_continue: bool,
    /// `Sec-WebSocket-Key` of a WebSocket handshake.
    pub(super) websocket_key: Option<String>,
}

/// How a request's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With the empty chunk.
    Chunked,
}

impl Default for Framing {
    fn default() -> Self {
        Framing::Length(0)
    }
}

/// The socket and what was read from it beyond the current request.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Connection {
        Connection { stream, buffer: BytesMut::with_capacity(4 << 10) }
    }

    /// The next request's head.
    pub(super) async fn head(&mut self) -> Result<Head, Error> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                let raw = Bytes::copy_from_slice(&self.buffer[..end + 4]);
                self.buffer.advance(end + 4);
                return parse_head(raw);
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(Error::Malformed("the head exceeds 64 KiB"));
            }
            self.fill().await?;
        }
    }

    /// The body that belongs to the head just read.
    pub(super) async fn body(&mut self, framing: Framing) -> Result<Bytes, Error> {
        match framing {
            Framing::Length(length) => self.take(length).await,
            Framing::Chunked => self.chunked().await,
        }
    }

    async fn take(&mut self, length: u64) -> Result<Bytes, Error> {
        if length > MAX_BODY {
            return Err(Error::Malformed("the body exceeds 256 MiB"));
        }
        let length = usize::try_from(length).map_err(|_| Error::Malformed("content-length"))?;
        self.buffer.reserve(length.saturating_sub(self.buffer.len()));
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn chunked(&mut self) -> Result<Bytes, Error> {
        let mut body = BytesMut::new();
        loop {
            let size = self.chunk_size().await?;
            if size == 0 {
                self.trailers().await?;
                return Ok(body.freeze());
            }
            if body.len() as u64 + size > MAX_BODY {
                return Err(Error::Malformed("the body exceeds 256 MiB"));
            }
            body.extend_from_slice(&self.take(size).await?);
            if *self.take(2).await? != *b"\r\n" {
                return Err(Error::Malformed("a chunk does not end where its size says"));
            }
        }
    }

    async fn chunk_size(&mut self) -> Result<u64, Error> {
        loop {
            match httparse::parse_chunk_size(&self.buffer) {
                Ok(httparse::Status::Complete((used, size))) => {
                    self.buffer.advance(used);
                    return Ok(size);
                }
                Ok(httparse::Status::Partial) if self.buffer.len() < MAX_HEAD => self.fill().await?,
                _ => return Err(Error::Malformed("chunk size")),
            }
        }
    }

    /// Trailer lines up to the blank one.
    async fn trailers(&mut self) -> Result<(), Error> {
        loop {
            match memchr::memmem::find(&self.buffer, b"\r\n") {
                Some(0) => {
                    self.buffer.advance(2);
                    return Ok(());
                }
                Some(end) => self.buffer.advance(end + 2),
                None if self.buffer.len() < MAX_HEAD => self.fill().await?,
                None => return Err(Error::Malformed("trailers")),
            }
        }
    }

    /// Reads at least one more byte.
    pub(super) async fn fill(&mut self) -> io::Result<()> {
        self.buffer.reserve(4 << 10);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Waits until `deadline`; an error = the client left meanwhile.
    pub(super) async fn pause_until(&mut self, deadline: Instant) -> io::Result<()> {
        tokio::select! {
            biased;
            () = sleep_until(deadline) => Ok(()),
            gone = self.gone() => Err(gone),
        }
    }

    /// Waits for the client to leave; returns how it did.
    pub(super) async fn gone(&mut self) -> io::Error {
        loop {
            if let Err(error) = self.fill().await {
                return error;
            }
        }
    }

    /// Waits for the client to leave without reading what it sends, or for `limit`.
    pub(super) async fn gone_unread(&mut self, limit: Duration) -> io::Result<()> {
        let deadline = Instant::now() + limit;
        // Unread bytes hide the end of the stream from `read`; the kernel reports it beside them, but not as a wake-up
        // of its own once the socket is readable, hence the polling.
        while Instant::now() < deadline && !self.stream.ready(Interest::READABLE).await?.is_read_closed() {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Sends back all that comes until the client leaves.
    pub(super) async fn echo(&mut self) -> io::Result<()> {
        loop {
            if self.buffer.is_empty() {
                self.fill().await?;
            }
            self.stream.write_all_buf(&mut self.buffer).await?;
        }
    }

    /// Closes with a reset instead of a regular end.
    pub(super) fn reset(&self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }
}

fn parse_head(raw: Bytes) -> Result<Head, Error> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(&raw) {
        Ok(httparse::Status::Complete(_)) => {}
        _ => return Err(Error::Malformed("request line or headers")),
    }
    let mut head = Head {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        ..Head::default()
    };
    for header in request.headers.iter() {
        let value = String::from_utf8_lossy(header.value);
        head.note(header.name, value.trim())?;
    }
    Ok(Head { raw, ..head })
}

impl Head {
    fn note(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("authorization") {
            if let Some((scheme, key)) = value.split_once(' ')
                && scheme.eq_ignore_ascii_case("bearer")
            {
                self.key = Some(key.trim().to_owned());
            }
        } else if is("x-api-key") || is("api-key") || is("x-goog-api-key") {
            self.key.get_or_insert_with(|| value.to_owned());
        } else if is("content-length") {
            self.framing = Framing::Length(value.parse().map_err(|_| Error::Malformed("content-length"))?);
        } else if is("transfer-encoding") {
            self.framing = Framing::Chunked;
        } else if is("content-type") {
            self.json = value.starts_with("application/json");
        } else if is("expect") {
            self.expects_continue = value.eq_ignore_ascii_case("100-continue");
        } else if is("sec-websocket-key") {
            self.websocket_key = Some(value.to_owned());
        }
        Ok(())
    }

    /// The path without query.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or(&self.target)
    }

    /// All headers in order, as received.
    pub(super) fn headers(raw: &[u8]) -> Vec<(String, String)> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(raw) {
            Ok(_) => request
                .headers
                .iter()
                .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
                .collect(),
            Err(_) => Vec::new(),
        }
    }
}

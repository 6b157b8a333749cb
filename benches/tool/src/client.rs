//! One keep-alive HTTP/1.1 connection that spends as little as possible on being a client.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An open connection and what was read ahead on it.
pub struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

/// How much of an answer's body is still to come.
enum Rest {
    Bytes(usize),
    Chunks,
}

/// An answer whose body is being read.
pub struct Answer {
    pub status: u16,
    rest: Rest,
}

impl Connection {
    pub async fn open(to: SocketAddr) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(to).await.context("connect")?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: BytesMut::with_capacity(16 << 10) })
    }

    /// Sends a request and reads the whole answer; returns its status.
    pub async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        let mut answer = self.ask(request).await?;
        while let Some(length) = self.piece(&mut answer).await? {
            self.skip(length, &answer);
        }
        Ok(answer.status)
    }

    /// Sends a request and reads the answer's head.
    pub async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.stream.write_all(request).await.context("send")?;
        loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                let answer = parse(&self.buffer[..end + 4])?;
                self.buffer.advance(end + 4);
                return Ok(answer);
            }
            self.fill().await?;
        }
    }

    /// Length of the body's next piece, which then begins the buffer; `None` at the body's end.
    pub async fn piece(&mut self, answer: &mut Answer) -> anyhow::Result<Option<usize>> {
        match &mut answer.rest {
            Rest::Bytes(0) => Ok(None),
            Rest::Bytes(rest) => {
                if self.buffer.is_empty() {
                    self.fill().await?;
                }
                let length = self.buffer.len().min(*rest);
                *rest -= length;
                Ok(Some(length))
            }
            Rest::Chunks => self.chunk().await,
        }
    }

    async fn chunk(&mut self) -> anyhow::Result<Option<usize>> {
        loop {
            match httparse::parse_chunk_size(&self.buffer) {
                Ok(httparse::Status::Complete((used, size))) => {
                    let size = usize::try_from(size)?;
                    while self.buffer.len() < used + size + 2 {
                        self.fill().await?;
                    }
                    self.buffer.advance(if size == 0 { used + 2 } else { used });
                    return Ok((size > 0).then_some(size));
                }
                Ok(httparse::Status::Partial) => self.fill().await?,
                Err(_) => bail!("broken chunk"),
            }
        }
    }

    /// The piece just announced.
    pub fn peek(&self, length: usize) -> &[u8] {
        &self.buffer[..length]
    }

    /// Drops the piece just announced.
    pub fn skip(&mut self, length: usize, answer: &Answer) {
        let end = if matches!(answer.rest, Rest::Chunks) { 2 } else { 0 };
        self.buffer.advance(length + end);
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        self.buffer.reserve(4 << 10);
        if self.stream.read_buf(&mut self.buffer).await.context("receive")? == 0 {
            bail!("closed by the other side");
        }
        Ok(())
    }
}

fn parse(head: &[u8]) -> anyhow::Result<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(head)?;
    let status = response.code.context("no status")?;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = std::str::from_utf8(header.value)?.parse()?;
            return Ok(Answer { status, rest: Rest::Bytes(length) });
        }
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Ok(Answer { status, rest: Rest::Chunks });
        }
    }
    bail!("an answer of unknown length")
}

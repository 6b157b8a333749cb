//! One HTTP/1.1 exchange on one connection: the request leaves while the answer is read.
//!
//! Pingora's own client session can only write first and read later, and prepares much that is never asked for here:
//! how names were spelled, digests, upgrades, buffers for the largest body.
//!
//! Invariants:
//! * A connection is given back only if the request left completely, the answer came completely by its own framing and
//!   HTTP lets the connection serve again. After an early 429 a half-sent body would lie in front of the next request.
//! * Every wait can be given up and taken up again: what was read is kept.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderValue, Method, Response, StatusCode, Version};
use httparse::Status::{Complete, Partial};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;
use pingora::protocols::http::v1::client::http_req_header_to_wire;
use pingora::protocols::{Stream, UniqueIDType};
use tokio::io::{AsyncRead, ReadBuf};

use super::framing::{Framing, Step};
use super::outbox::Outbox;
use super::payload::Payload;

/// Bytes read at once: as many as the stream's own buffer holds, which is stepped over then.
const READ: usize = 64 * 1024;
/// Largest head of an answer (bytes), and most headers in it.
const HEAD_MAX: usize = 256 * 1024;
const HEADERS_MAX: usize = 256;

/// A connection and what is under way on it.
pub(super) struct Exchange {
    stream: Stream,
    outbox: Outbox,
    /// Read and not yet handed out.
    inbox: Bytes,
    answers_head: bool,
    /// Of the answer's body, once its head was read.
    framing: Framing,
    /// HTTP lets the connection serve again.
    is_persistent: bool,
}

impl Exchange {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            outbox: Outbox::default(),
            inbox: Bytes::new(),
            answers_head: false,
            framing: Framing::DONE,
            is_persistent: false,
        }
    }

    /// Queues the request: it leaves with the first read of the answer.
    pub(super) fn queue(&mut self, head: &RequestHeader, body: Payload) -> Result<()> {
        let text = http_req_header_to_wire(head)
            .or_err_with(InvalidHTTPHeader, || "the request line can't be written in HTTP/1.1")?;
        self.outbox = Outbox::new(text, body);
        self.answers_head = head.method == Method::HEAD;
        Ok(())
    }

    /// What is still to be sent.
    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Reads the next head, an interim one or the final one.
    pub(super) async fn read_head(&mut self) -> Result<ResponseHeader> {
        poll_fn(|cx| self.poll_head(cx)).await
    }

    /// Reads the next piece of the body; `None` is its end.
    pub(super) async fn read_piece(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_piece(cx)).await
    }

    /// The whole body was handed out.
    pub(super) fn is_body_done(&self) -> bool {
        self.framing == Framing::DONE
    }

    /// The bare connection, if it may serve again.
    pub(super) fn into_stream(self) -> Option<Stream> {
        let is_clean = self.is_body_done() && self.inbox.is_empty() && self.outbox.is_complete();
        (self.is_persistent && is_clean).then_some(self.stream)
    }

    pub(super) async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }

    pub(super) fn id(&self) -> UniqueIDType {
        self.stream.id()
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHeader>> {
        loop {
            if let Some(head) = self.take_head()? {
                return Poll::Ready(Ok(head));
            }
            if ready!(self.poll_fill(cx))? > 0 {
                continue;
            }
            let mut error = Error::explain(ConnectionClosed, "while the answer's head was read");
            error.retry = RetryType::ReusedOnly;
            return Poll::Ready(Err(error));
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            match self.framing.next(&mut self.inbox).or_err(H1Error, "while the answer's body was read")? {
                Step::Piece(piece) => return Poll::Ready(Ok(Some(piece))),
                Step::Done => return Poll::Ready(Ok(None)),
                Step::More => {}
            }
            if ready!(self.poll_fill(cx))? > 0 {
                continue;
            }
            if self.framing != Framing::Close {
                return Poll::Ready(Error::e_explain(ConnectionClosed, "the answer's body is incomplete"));
            }
            self.framing = Framing::DONE;
        }
    }

    /// Reads on, through the stack: a connection that waits holds no buffer. Zero is the connection's end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        // Pending or not, reading goes on: both wakers are registered then.
        let _pending = self.outbox.poll_send(&mut self.stream, cx);
        let mut space = [const { MaybeUninit::uninit() }; READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        if let Err(error) = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
            // An error of the system on a pooled connection: it had died before. One of TLS tells nothing.
            let retry = if error.raw_os_error().is_some() { RetryType::ReusedOnly } else { false.into() };
            let mut error = Error::because(ReadError, "while the answer was read", error);
            error.retry = retry;
            return Poll::Ready(Err(error));
        }
        let read = buffer.filled();
        self.inbox = match self.inbox.is_empty() {
            true => Bytes::copy_from_slice(read),
            false => [&self.inbox, read].concat().into(),
        };
        Poll::Ready(Ok(read.len()))
    }

    /// Takes a head out of what was read, if it is all there.
    fn take_head(&mut self) -> Result<Option<ResponseHeader>> {
        if self.inbox.is_empty() {
            return Ok(None);
        }
        let Some((parts, end)) = parse(&self.inbox)? else {
            let is_endless = self.inbox.len() > HEAD_MAX;
            return if is_endless {
                Error::e_explain(InvalidHTTPHeader, "the answer's head is too long")
            } else {
                Ok(None)
            };
        };
        let _head = self.inbox.split_to(end);
        if !parts.status.is_informational() {
            let framing = Framing::of(parts.status, &parts.headers, self.answers_head);
            self.framing = framing.or_err(InvalidHTTPHeader, "while the answer's head was read")?;
            self.is_persistent = self.framing != Framing::Close && is_persistent(&parts);
        }
        Ok(Some(parts.into()))
    }
}

/// The head that `read` begins with, and where it ends. Its values are parts of `read`, not copies.
fn parse(read: &Bytes) -> Result<Option<(Parts, usize)>> {
    let malformed = || "the answer's head is malformed";
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let mut config = httparse::ParserConfig::default();
    // RFC 9112 §5.1: a proxy takes it out.
    config.allow_spaces_after_header_name_in_responses(true);
    let parsed = config.parse_response_with_uninit_headers(&mut response, read, &mut headers);
    let end = match parsed.or_err(InvalidHTTPHeader, "while the answer's head was read")? {
        Complete(end) => end,
        Partial => return Ok(None),
    };
    let mut parts = Response::new(()).into_parts().0;
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    parts.status = status.or_err_with(InvalidHTTPHeader, malformed)?;
    parts.version = if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    parts.headers.reserve(response.headers.len() + ADDED);
    for header in response.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).or_err(InvalidHTTPHeader, malformed())?;
        let value = HeaderValue::from_maybe_shared(read.slice_ref(header.value));
        parts.headers.append(name, value.or_err(InvalidHTTPHeader, malformed())?);
    }
    if parts.headers.contains_key(TRANSFER_ENCODING) {
        // RFC 9112 §6.3: it overrides the length, which must not be passed on.
        parts.headers.remove(CONTENT_LENGTH);
    }
    Ok(Some((parts, end)))
}

/// Headers that an answer usually gains on its way to the client.
const ADDED: usize = 4;

/// Whether the answer lets the connection be used again (RFC 9112 §9.3).
fn is_persistent(parts: &Parts) -> bool {
    let says = |word: &[u8]| {
        let values = parts.headers.get_all(CONNECTION).into_iter().map(HeaderValue::as_bytes);
        values.flat_map(|value| value.split(|&b| b == b',')).any(|token| token.trim_ascii().eq_ignore_ascii_case(word))
    };
    match parts.version {
        Version::HTTP_10 => says(b"keep-alive") && !parts.headers.contains_key(TRANSFER_ENCODING),
        _ => !says(b"close"),
    }
}

#[cfg(test)]
mod tests;

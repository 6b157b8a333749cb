//! One exchange with an upstream over HTTP/1.1, as Pingora's custom upstream session.
//!
//! Invariants:
//! * Before the head is handed over, everything the verdict needs was read: a failing answer's first bytes, a stream's
//!   first event, a short JSON body. Until then nothing reached the client and another key can be tried.
//! * A stream that breaks after that never looks finished: the client gets an error event, then an abort.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, Stream as FuturesStream};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;
use pingora::protocols::http::custom::client::Session as CustomSession;
use pingora::protocols::http::custom::{BodyWrite, CustomMessageWrite};
use pingora::protocols::{Digest, Stream, UniqueIDType, l4::socket::SocketAddr};
use pingora::time::{sleep, timeout};

use super::attempt::Attempt;
use super::exchange::Exchange;
use super::interject::{self, COMMENT, Keepalive};
use super::outbox::NoBody;
use super::tail::Tail;

/// A refused answer's rest is read at most so far and so long to save its connection.
const DRAIN_BYTES: usize = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_millis(20);
/// Interim answers accepted before the final one.
const MAX_INTERIM: usize = 16;
/// HTTP/2 discards queued data once a stream fails: the error event gets this long to leave.
const LAST_EVENT_LINGER: Duration = Duration::from_millis(50);

/// Turns that Pingora's loop takes to notice that this protocol has no custom messages. It ends with the answer only
/// after that; an answer given sooner leaves it watching the client for a moment, and the client's next request on that
/// connection would be taken for stray bytes of this one and thrown away.
const QUIET_TURNS: usize = 2;

/// The upstream side of one attempt.
pub struct UpstreamSession {
    /// Boxed, because Pingora moves the session several times per request.
    pub(super) http: Box<Exchange>,
    attempt: Option<Arc<Attempt>>,
    /// The final head.
    pub(super) response: Option<Box<ResponseHeader>>,
    /// Read before the head was handed over, still to be passed on.
    pub(super) held: VecDeque<Bytes>,
    /// The answer came completely.
    pub(super) complete: bool,
    /// What ends the answer instead, once `held` is passed on.
    pub(super) broken: Option<Box<Error>>,
    /// The client was told that its stream broke.
    announced: bool,
    /// Watches a stream that only the connection's end delimits.
    pub(super) tail: Option<Tail>,
    /// Fills the silences of a stream.
    keepalive: Option<Keepalive>,
    is_event_stream: bool,
}

impl UpstreamSession {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            http: Box::new(Exchange::new(stream)),
            attempt: None,
            response: None,
            held: VecDeque::new(),
            complete: false,
            broken: None,
            announced: false,
            tail: None,
            keepalive: None,
            is_event_stream: false,
        }
    }

    pub(super) fn is_reusable(&self) -> bool {
        self.response.is_some() && self.complete && self.http.outbox().is_complete()
    }

    /// A refused answer whose rest may be worth reading: its connection can serve another key.
    pub(super) fn is_drainable(&self) -> bool {
        let refused = self.response.is_some() && self.status() >= 400;
        refused && !self.complete && self.broken.is_none() && self.http.outbox().is_complete()
    }

    /// Reads a refused answer to its end, within bounds, and gives the connection back.
    pub(super) async fn drain(mut self) -> Option<Stream> {
        let rest = async {
            let mut read = 0;
            while read <= DRAIN_BYTES {
                match self.http.read_piece().await {
                    Ok(Some(piece)) => read += piece.len(),
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
            false
        };
        match timeout(DRAIN_TIME, rest).await {
            Ok(true) => self.into_stream(),
            _ => None,
        }
    }

    /// The bare connection, if HTTP says it may serve again.
    pub(super) fn into_stream(self) -> Option<Stream> {
        self.http.into_stream()
    }

    fn status(&self) -> u16 {
        self.response.as_ref().map_or(0, |head| head.status.as_u16())
    }

    fn attempt(&self) -> Result<Arc<Attempt>> {
        self.attempt.clone().or_err_with(InternalError, || "the request head carries no attempt")
    }

    /// Reads the final head and what the verdict needs beyond it.
    async fn read_answer(&mut self) -> Result<()> {
        let attempt = self.attempt()?;
        let mut response = self.read_head(&attempt).await?;
        let status = response.status.as_u16();
        let content_type = response.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        // Of a text that was compressed although that was not asked for nothing can be read.
        let is_text = response.headers.get(CONTENT_ENCODING).is_none_or(|coding| coding == "identity");
        let is_json = is_text && content_type.starts_with(b"application/json");
        self.is_event_stream = is_text && content_type.starts_with(b"text/event-stream");
        if self.is_event_stream {
            self.tail = (!has_framing(&response)).then(Tail::default);
            // Comments and an error event may be added to what the provider counted.
            response.remove_header(&CONTENT_LENGTH);
        }
        self.response = Some(Box::new(response));
        if status >= 400 {
            self.collect_evidence(&attempt).await;
        } else if status == 200 && self.is_event_stream {
            self.keepalive = Keepalive::new(attempt.keepalive_comment);
            self.await_first_event(&attempt).await?;
        } else if status == 200 && is_json {
            self.await_json(&attempt).await?;
        }
        Ok(())
    }

    /// Waits for the final head.
    async fn read_head(&mut self, attempt: &Attempt) -> Result<ResponseHeader> {
        let mut limit = attempt.first_byte.min(attempt.total);
        for _ in 0..MAX_INTERIM {
            let head = loop {
                match timeout(limit, self.http.read_head()).await {
                    Ok(read) => break read?,
                    Err(_) => limit = self.patience_left(attempt)?,
                }
            };
            match head.status.as_u16() {
                101 => return Error::e_explain(InvalidHTTPHeader, "101 unasked"),
                100..200 => limit = self.patience_left(attempt)?,
                _ => return Ok(head),
            }
        }
        Error::e_explain(InvalidHTTPHeader, "too many interim answers")
    }

    /// How much longer to wait for the head: the clock starts when the upstream took the last byte it took.
    fn patience_left(&self, attempt: &Attempt) -> Result<Duration> {
        let since = self.http.outbox().last_progress().unwrap_or(attempt.started).max(attempt.started);
        let until = (since + attempt.first_byte).min(attempt.started + attempt.total);
        match until.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Error::e_explain(ReadTimedout, "no answer in time"),
        }
    }

    /// The next piece of the body as it comes from the wire.
    pub(super) async fn read_piece(&mut self, limit: Duration) -> Result<Option<Bytes>> {
        let mut reading = pin!(self.http.read_piece());
        // What has come already needs no timer.
        let read = match reading.as_mut().now_or_never() {
            Some(read) => Ok(read),
            None => timeout(limit, reading).await,
        };
        match read {
            Ok(read) => {
                let piece = read?;
                self.complete |= piece.is_none();
                Ok(piece)
            }
            Err(_) => Error::e_explain(ReadTimedout, "the answer's body stalled"),
        }
    }

    /// The next piece after the head was handed over, or a comment in its place. An end that proves nothing is an error.
    async fn read_on(&mut self, attempt: &Attempt) -> Result<Option<Bytes>> {
        let is_finished = |tail: &Option<Tail>| tail.as_ref().is_none_or(Tail::is_finished);
        if !self.complete {
            let now = Instant::now();
            let silent_since = self.keepalive.as_mut().map_or(now, |keepalive| keepalive.silent_since(now));
            let until = (silent_since + attempt.idle).min(attempt.started + attempt.total);
            let left = until.saturating_duration_since(now);
            let patience = self.keepalive.as_ref().and_then(Keepalive::patience).filter(|patience| *patience < left);
            match self.read_piece(patience.unwrap_or(left)).await {
                Ok(Some(piece)) => {
                    if let Some(tail) = &mut self.tail {
                        tail.push(&piece);
                    }
                    return Ok(Some(self.passed(piece)));
                }
                Ok(None) => {}
                Err(error) if patience.is_some() && error.etype() == &ReadTimedout => return Ok(Some(COMMENT)),
                Err(error) => return Err(error),
            }
        }
        if is_finished(&self.tail) {
            return Ok(None);
        }
        self.complete = false;
        Error::e_explain(ConnectionClosed, "the stream ended without its last event")
    }

    fn passed(&mut self, piece: Bytes) -> Bytes {
        if let Some(keepalive) = &mut self.keepalive {
            keepalive.passed(&piece);
        }
        piece
    }
}

#[async_trait]
impl CustomSession for UpstreamSession {
    /// Only queues the request: it leaves with the first read of the answer.
    async fn write_request_header(&mut self, request: Box<RequestHeader>, _: bool) -> Result<()> {
        self.attempt = Attempt::of(&request);
        let body = self.attempt()?.body.clone();
        self.http.queue(&request, body)
    }

    async fn read_response_header(&mut self) -> Result<()> {
        let mut reading = pin!(self.read_answer());
        let (mut answer, mut turns) = (None, 0);
        poll_fn(|cx| {
            if answer.is_none() {
                match reading.as_mut().poll(cx) {
                    Poll::Ready(read) => answer = Some(read),
                    Poll::Pending => {
                        turns += 1;
                        return Poll::Pending;
                    }
                }
            }
            if turns < QUIET_TURNS {
                // Waking itself takes a turn; yielding to the runtime would take a round through its I/O driver.
                turns += 1;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(answer.take().unwrap_or(Ok(())))
        })
        .await
    }

    async fn read_response_body(&mut self) -> Result<Option<Bytes>> {
        if let Some(piece) = self.held.pop_front() {
            return Ok(Some(self.passed(piece)));
        }
        let attempt = self.attempt()?;
        if self.broken.is_none() {
            match self.read_on(&attempt).await {
                Ok(piece) => return Ok(piece),
                Err(error) => self.broken = Some(error),
            }
        }
        if self.is_event_stream && !self.announced {
            self.announced = true;
            let is_late = self.broken.as_ref().is_some_and(|error| error.etype() == &ReadTimedout);
            return Ok(Some(interject::last_event(&attempt.request_id, is_late)));
        }
        if self.announced {
            sleep(LAST_EVENT_LINGER).await;
        }
        Err(self.broken.take().unwrap_or_else(|| Error::explain(ConnectionClosed, "the answer broke off")))
    }

    async fn check_response_end_or_error(&mut self, _: bool) -> Result<bool> {
        if !self.held.is_empty() || self.broken.is_some() || self.tail.is_some() {
            return Ok(false);
        }
        self.complete |= self.response.is_some() && self.http.is_body_done();
        Ok(self.complete)
    }

    fn response_finished(&self) -> bool {
        self.complete && self.held.is_empty()
    }

    fn response_header(&self) -> Option<&ResponseHeader> {
        self.response.as_deref()
    }

    fn take_request_body_writer(&mut self) -> Option<Box<dyn BodyWrite>> {
        Some(Box::new(NoBody))
    }

    async fn shutdown(&mut self, _: u32, _: &str) {
        self.http.shutdown().await;
    }

    fn fd(&self) -> UniqueIDType {
        self.http.id()
    }

    // What nobody asks for here, or this protocol does not have.

    fn digest(&self) -> Option<&Digest> {
        None
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        None
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        None
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        None
    }

    async fn write_request_body(&mut self, _: Bytes, _: bool) -> Result<()> {
        Ok(())
    }

    async fn finish_request_body(&mut self) -> Result<()> {
        Ok(())
    }

    fn set_read_timeout(&mut self, _: Option<Duration>) {}

    fn set_write_timeout(&mut self, _: Option<Duration>) {}

    fn was_upgraded(&self) -> bool {
        false
    }

    async fn read_trailers(&mut self) -> Result<Option<HeaderMap>> {
        Ok(None)
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn FuturesStream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        Some(Box::new(futures::stream::empty()))
    }

    async fn drain_custom_messages(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        Some(Box::new(()))
    }
}

/// The answer says itself where it ends.
fn has_framing(response: &ResponseHeader) -> bool {
    let headers = &response.headers;
    headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING)
}

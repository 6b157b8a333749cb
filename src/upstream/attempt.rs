//! What one attempt carries into the upstream session, and what the session learns about a failure.
//!
//! Pingora gives the session nothing but the request head, so the attempt travels in that head's extensions.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pingora::http::RequestHeader;

use super::payload::Payload;

/// One try of one request with one key.
#[derive(Debug)]
pub struct Attempt {
    /// The whole body; the same memory for every attempt.
    pub body: Payload,
    /// From the request's last byte to the answer's head.
    pub first_byte: Duration,
    /// How long a stream is held for its first event.
    pub hold: Duration,
    /// Between two pieces of the answer's body.
    pub idle: Duration,
    /// Silence after which the client of a stream is sent a comment; zero = never.
    pub keepalive_comment: Duration,
    /// When the attempt began.
    pub started: Instant,
    /// How long it may take from then on.
    pub total: Duration,
    /// Shown to a client whose stream breaks.
    pub request_id: Arc<str>,
    /// Written by the session, at most once, before the answer's head is handed over.
    pub evidence: OnceLock<Evidence>,
}

/// What an answer that is not a success looked like.
#[derive(Debug)]
pub enum Evidence {
    /// An error status; the first bytes of its body, as far as they came.
    Status(Bytes),
    /// A 200 whose first event, or whose whole body, is an error: its data.
    StreamError(Bytes),
    /// A 200 that ended without a content event, or broke off in a short body.
    EmptyStream,
}

impl Attempt {
    /// Attaches the attempt to the request that goes upstream.
    pub fn attach(self: Arc<Self>, request: &mut RequestHeader) {
        request.extensions_mut().insert(self);
    }

    /// The attempt a request head carries.
    pub(super) fn of(request: &RequestHeader) -> Option<Arc<Self>> {
        request.extensions.get::<Arc<Self>>().cloned()
    }
}

//! The client's body: whole in memory up to `limits.buffer`, so that every attempt can send it again.
//!
//! Larger ones, up to `limits.body`, go through Pingora's native path once and are not retried. Memory is taken from a
//! global budget as the bytes arrive.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use http::Version;
use http::header::{CONTENT_LENGTH, EXPECT};
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::time::timeout;

use super::admit::BodyBudget;
use super::answer::Answer;
use super::context::Body;
use crate::config::Limits;
use crate::upstream::payload::Builder;

/// Why there is no body.
pub(super) enum Failure {
    /// The client is to be told.
    Refuse(Answer),
    /// The client is gone.
    Gone(Box<Error>),
}

impl From<Answer> for Failure {
    fn from(answer: Answer) -> Self {
        Self::Refuse(answer)
    }
}

/// Reads the body, or as much of it as shows that it is too large to keep. `reading` is set to the time
/// spent waiting for all but its first piece, which usually comes with the head.
pub(super) async fn read_body(
    session: &mut ServerSession,
    limits: &Limits,
    budget: &mut BodyBudget,
    reading: &mut Duration,
) -> Result<Body, Failure> {
    let length = declared_length(session);
    if length.is_some_and(|length| length > limits.body) {
        return Err(Answer::RequestTooLarge(limits.body).into());
    }
    if length.is_some_and(|length| length > limits.buffer) {
        answer_expectation(session).await?;
        return Ok(Body::Streamed { read_ahead: Bytes::new(), passed: 0 });
    }
    if session.is_body_done() {
        return Ok(Body::Empty);
    }
    answer_expectation(session).await?;
    let Some(first) = read_piece(session, limits.body_timeout).await? else { return Ok(Body::Empty) };
    budget.grow(first.len())?;
    if session.is_body_done() && first.len() <= limits.buffer {
        return Ok(Body::Buffered(first.into()));
    }
    let started = Instant::now();
    let body = collect(session, first, limits, budget).await;
    *reading = started.elapsed();
    body
}

async fn collect(
    session: &mut ServerSession,
    first: Bytes,
    limits: &Limits,
    budget: &mut BodyBudget,
) -> Result<Body, Failure> {
    let mut body = Builder::default();
    body.push(first);
    while body.len() <= limits.buffer {
        let Some(piece) = read_piece(session, limits.body_timeout).await? else {
            return Ok(Body::Buffered(body.finish()));
        };
        budget.grow(piece.len())?;
        body.push(piece);
    }
    if body.len() > limits.body {
        return Err(Answer::RequestTooLarge(limits.body).into());
    }
    let read = body.finish();
    Ok(if session.is_body_done() {
        Body::Buffered(read)
    } else {
        Body::Streamed { read_ahead: read.joined(), passed: 0 }
    })
}

/// One piece, in time also on HTTP/2, where Pingora has no deadline of its own.
async fn read_piece(session: &mut ServerSession, limit: Duration) -> Result<Option<Bytes>, Failure> {
    let mut reading = pin!(session.read_request_body());
    // What has come already needs no timer.
    let read = match reading.as_mut().now_or_never() {
        Some(read) => Ok(read),
        None => timeout(limit, reading).await,
    };
    match read {
        Err(_) => Err(Answer::RequestTimeout.into()),
        Ok(Ok(piece)) => Ok(piece),
        Ok(Err(error)) => Err(match error.etype() {
            ReadTimedout => Answer::RequestTimeout.into(),
            ReadError | ConnectionClosed | H2Error => Failure::Gone(error),
            _ => Answer::BadRequest("The body's framing is broken.").into(),
        }),
    }
}

/// Tells a client that waits for it to go on. Pingora would close the connection after an answer that precedes the body.
async fn answer_expectation(session: &mut ServerSession) -> Result<(), Failure> {
    let request = session.req_header();
    if request.version != Version::HTTP_11 || !request.headers.contains_key(EXPECT) {
        return Ok(());
    }
    session.set_close_on_response_before_downstream_finish(false);
    let written = session.write_continue_response().await;
    session.set_close_on_response_before_downstream_finish(true);
    written.map_err(Failure::Gone)
}

fn declared_length(session: &ServerSession) -> Option<usize> {
    session.get_header(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

//! Which key and which target: the first choice, and what changes for each further attempt.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use pingora::prelude::*;

use super::answer::Answer;
use super::context::{Body, Context};
use crate::keypool;
use crate::pool::Exhausted;
use crate::upstream::Attempt;

impl From<Exhausted> for Answer {
    fn from(exhausted: Exhausted) -> Self {
        match exhausted {
            Exhausted::Cooling(rest) => Self::AllKeysCooling(rest),
            Exhausted::NoneUsable => Self::NoUsableKey,
        }
    }
}

/// Reserves the first key, here rather than at the first attempt: an answer given now keeps the client's connection.
pub(super) fn first(context: &mut Context) -> Result<(), Answer> {
    let pool = context.pool().ok_or(Answer::Internal)?;
    let lease = pool.entry.pool.checkout(&[], keypool::now())?;
    context.attempts.next = Some(lease);
    Ok(())
}

/// Reserves a key for one more attempt; false if there is none.
pub(super) fn reserve(context: &mut Context) -> bool {
    let Some(pool) = context.pool() else { return false };
    let next = pool.entry.pool.checkout(&context.attempts.tried, keypool::now()).ok();
    context.attempts.next = next;
    context.attempts.next.is_some()
}

/// Begins an attempt with the reserved key and gives its peer.
///
/// # Errors
/// If no key was reserved.
pub(super) fn begin(context: &mut Context) -> Result<Box<HttpPeer>> {
    let now = Instant::now();
    context.stop_clock(now);
    let is_again = std::mem::take(&mut context.attempts.stale);
    if !is_again {
        let lease = context.attempts.next.take().or_err(InternalError, "no key was reserved")?;
        context.attempts.tried.push(lease.index());
        context.attempts.lease = Some(lease);
        context.attempts.count += 1;
    }
    let pool = context.pool().or_err(InternalError, "no pool was chosen")?;
    let timeouts = &pool.entry.config.timeouts;
    let target = match &context.attempts.target {
        Some(target) if is_again => target.clone(),
        _ => pool.targets.next().or_err(InternalError, "the pool has no target")?.clone(),
    };
    let attempt = Attempt {
        body: match &context.body {
            Body::Buffered(body) => body.clone(),
            _ => Bytes::new(),
        },
        first_byte: timeouts.first_byte,
        hold: timeouts.hold,
        idle: timeouts.idle,
        started: now,
        total: timeouts.total,
        request_id: context.request_id.clone(),
        evidence: Default::default(),
    };
    let peer = if context.is_replayable() { target.peer(is_again) } else { target.native_peer(timeouts) };
    context.attempts.target = Some(target);
    context.attempts.current = Some(Arc::new(attempt));
    context.attempts.is_counted = false;
    context.times.sent = Some(now);
    Ok(peer)
}

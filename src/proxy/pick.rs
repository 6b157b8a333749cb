//! Which key and which target: the first choice, and what changes for each further attempt.

use std::sync::Arc;
use std::time::Instant;

use pingora::prelude::*;

use super::answer::Answer;
use super::context::{Body, Context, Heard};
use crate::keypool;
use crate::pool::{Exhausted, Lease, Millis, Pool};
use crate::upstream::{Attempt, Payload};

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
    let now = Instant::now();
    let lease = pool.entry.pool.checkout(context.model(), keypool::at(now))?;
    context.attempts.next = Some(lease);
    context.times.picked = Some(now);
    Ok(())
}

/// Reserves a key for one more attempt; false if there is none.
pub(super) fn reserve(context: &mut Context) -> bool {
    reserve_with(context, Pool::checkout_again)
}

/// Reserves a key that was not tried yet; false if there is none.
pub(super) fn reserve_other(context: &mut Context) -> bool {
    reserve_with(context, Pool::checkout_other)
}

fn reserve_with(context: &mut Context, checkout: fn(&Pool, &str, &[u32], Millis) -> Option<Lease>) -> bool {
    context.attempts.tried.extend(context.attempts.lease.as_ref().map(Lease::index));
    let Some(pool) = context.pool() else { return false };
    let next = checkout(&pool.entry.pool, context.model(), &context.attempts.tried, keypool::now());
    context.attempts.next = next;
    context.attempts.next.is_some()
}

/// Begins an attempt with the reserved key and gives its peer.
///
/// # Errors
/// If no key was reserved.
pub(super) fn begin(context: &mut Context) -> Result<Box<HttpPeer>> {
    let now = context.times.picked.take().unwrap_or_else(Instant::now);
    context.stop_clock(now);
    let is_again = std::mem::take(&mut context.attempts.stale);
    if !is_again {
        let lease = context.attempts.next.take().or_err(InternalError, "no key was reserved")?;
        context.attempts.lease = Some(lease);
        context.attempts.count += 1;
    }
    let request_id = context.request_id();
    let pool = context.pool().or_err(InternalError, "no pool was chosen")?;
    let timeouts = &pool.entry.config.timeouts;
    let target = match &context.attempts.target {
        Some(target) if is_again => target.clone(),
        _ => pool.targets.next().or_err(InternalError, "the pool has no target")?.clone(),
    };
    let attempt = Attempt {
        body: match &context.body {
            Body::Buffered(body) => body.clone(),
            _ => Payload::default(),
        },
        first_byte: timeouts.first_byte,
        hold: timeouts.hold,
        idle: timeouts.idle,
        keepalive_comment: timeouts.keepalive_comment,
        started: now,
        total: timeouts.total,
        request_id,
        evidence: Default::default(),
    };
    let peer = if context.is_replayable() { target.peer(is_again) } else { target.native_peer(timeouts) };
    context.attempts.target = Some(target);
    context.attempts.current = Some(Arc::new(attempt));
    context.attempts.is_counted = false;
    context.attempts.heard = Heard::default();
    context.times.sent = Some(now);
    Ok(peer)
}

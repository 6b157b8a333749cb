//! Which key and which target: the first choice, and what changes for each further attempt.

use std::sync::Arc;
use std::time::Instant;

use pingora::prelude::*;

use super::answer::Answer;
use super::context::{Body, Context, Heard};
use super::model;
use crate::keypool;
use crate::pool::{Demand, Exhausted, Lease, Millis, Pool};
use crate::upstream::{Attempt, Payload, Wanted};

impl From<Exhausted> for Answer {
    fn from(exhausted: Exhausted) -> Self {
        match exhausted {
            Exhausted::Cooling(rest) => Self::AllKeysCooling(rest),
            Exhausted::NoneUsable => Self::NoUsableKey,
        }
    }
}

/// Why there is no key for a request.
pub(super) fn lacking(context: &Context, why: Exhausted) -> Answer {
    match why {
        Exhausted::Cooling(rest) if context.bound.is_by_resource => Answer::MakerResting(rest),
        Exhausted::NoneUsable if context.bound.is_by_resource => Answer::MakerGone,
        why => why.into(),
    }
}

/// Reserves the first key, here rather than at the first attempt: an answer given now keeps the client's connection.
pub(super) fn first(context: &mut Context) -> Result<(), Answer> {
    let pool = context.pool().ok_or(Answer::Internal)?;
    let now = Instant::now();
    let lease = match context.bound.key {
        None => pool.entry.pool.checkout(context.demand(), keypool::at(now))?,
        Some(key) => pool
            .entry
            .pool
            .checkout_key(key, context.demand(), keypool::at(now))
            .map_err(|why| lacking(context, why))?,
    };
    context.attempts.next = Some(lease);
    context.times.picked = Some(now);
    Ok(())
}

/// Reserves a key for one more attempt; false if there is none.
pub(super) fn reserve(context: &mut Context) -> bool {
    let Some(key) = context.bound.key else { return reserve_with(context, Pool::checkout_again) };
    let pool = context.pool();
    let next = pool.and_then(|pool| pool.entry.pool.checkout_key(key, context.demand(), keypool::now()).ok());
    context.attempts.next = next;
    context.attempts.next.is_some()
}

/// Reserves a key that was not tried yet; false if there is none.
pub(super) fn reserve_other(context: &mut Context) -> bool {
    context.bound.key.is_none() && reserve_with(context, Pool::checkout_other)
}

type Checkout = fn(&Arc<Pool>, Demand<'_>, &[u32], Millis) -> Option<Lease>;

fn reserve_with(context: &mut Context, checkout: Checkout) -> bool {
    context.attempts.tried.extend(context.attempts.lease.as_ref().map(Lease::index));
    let Some(pool) = context.pool() else { return false };
    let next = checkout(&pool.entry.pool, context.demand(), &context.attempts.tried, keypool::now());
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
        if let Some(failed) = &mut context.attempts.lease {
            failed.settle(0, keypool::at(now));
        }
        context.attempts.lease = Some(lease);
        context.attempts.count += 1;
    }
    let request_id = context.request_id();
    let pool = context.pool().or_err(InternalError, "no pool was chosen")?;
    let timeouts = &pool.entry.config.timeouts;
    let wanted = Wanted { model: context.model(), avoided: &context.attempts.avoided, now: keypool::at(now) };
    let target = match &context.attempts.target {
        Some(target) if is_again => target.clone(),
        _ if context.bound.target.is_some() => context.bound.target.clone().or_err(InternalError, "no target")?,
        _ => pool.targets.next(&wanted).or_err(InternalError, "the pool has no target")?.clone(),
    };
    let egress = match &context.attempts.lease {
        Some(_) if is_again => context.attempts.egress.clone(),
        Some(lease) => pool.entry.egresses().of(lease.index(), keypool::at(now)).cloned(),
        None => None,
    };
    let attempt = Attempt {
        body: match &context.body {
            Body::Buffered(body) => model::spliced_body(body, &context.asked, &pool.entry.config.models),
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
    let peer = if context.is_replayable() {
        target.peer(egress.as_ref(), is_again)
    } else {
        target.native_peer(egress.as_ref(), timeouts)
    };
    context.attempts.target = Some(target);
    context.attempts.egress = egress;
    context.attempts.current = Some(Arc::new(attempt));
    context.attempts.is_counted = false;
    context.attempts.heard = Heard::default();
    context.times.sent = Some(now);
    Ok(peer)
}

//! What becomes of the key and of the request when an attempt ended.
//!
//! Marks follow the verdict; an uncertain refusal (an unexplained 403) first waits for another key's answer: if that one
//! is served the mark stands, if it is refused alike the request is to blame and no key is marked. The same holds where
//! no other key is left to ask: a pool of one key must not be closed by one forbidden request.

use pingora::http::ResponseHeader;
use pingora::prelude::*;

use super::answer::{Answer, Provider};
use super::context::Context;
use super::pick;
use crate::config::On5xx;
use crate::keypool;
use crate::pool::{Lease, Mark, Millis};
use crate::telemetry::AttemptResult;
use crate::upstream::Evidence;
use crate::verdict::{self, Verdict};

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another attempt, with the key that was reserved.
    Retry,
    /// The outcome goes to the client as it is.
    PassOn,
    /// A key is to blame: the client gets our own words.
    Explain,
}

/// The verdict on an answer whose head (and what the session read beyond it) is there.
pub(super) fn answer(context: &mut Context, head: &ResponseHeader) -> Next {
    let attempt = context.attempts.current.clone();
    let evidence = attempt.as_ref().and_then(|attempt| attempt.evidence.get());
    let verdict = match evidence {
        Some(Evidence::StreamError(data)) => verdict::of_stream_error(data),
        Some(Evidence::EmptyStream) => transport_failure(AttemptResult::Broken),
        Some(Evidence::Status(_)) | None => verdict::of_status(head.status.as_u16(), &head.headers),
    };
    let next = settle(context, verdict);
    if next == Next::Explain {
        let text = match evidence {
            Some(Evidence::Status(data) | Evidence::StreamError(data)) => data.as_ref(),
            _ => b"",
        };
        context.provider = Some(Provider { status: head.status.as_u16(), code: error_code(text) });
        context.answer = Some(own_answer(context));
    }
    next
}

/// The verdict on an attempt that brought no answer.
pub(super) fn failure(context: &mut Context, error: &Error) -> Next {
    let result = match error.etype() {
        ReadTimedout | WriteTimedout | ConnectTimedout | TLSHandshakeTimedout => AttemptResult::Timeout,
        ReadError | WriteError | ConnectionClosed | InvalidHTTPHeader | H1Error => AttemptResult::Broken,
        _ => AttemptResult::Unreachable,
    };
    let next = settle(context, transport_failure(result));
    if next != Next::Retry {
        let is_timeout = result == AttemptResult::Timeout;
        context.answer = Some(if is_timeout { Answer::UpstreamTimeout } else { Answer::UpstreamUnreachable });
    }
    next
}

fn transport_failure(result: AttemptResult) -> Verdict {
    Verdict { mark: Some(Mark::Strike), certain: false, retry: true, result }
}

fn settle(context: &mut Context, verdict: Verdict) -> Next {
    // A success is counted when its last byte has come: until then the answer may break off.
    if verdict.result != AttemptResult::Ok {
        context.count_result(verdict.result);
    }
    let Some(index) = context.attempts.lease.as_ref().map(Lease::index) else { return Next::PassOn };
    let is_refusal = matches!(verdict.mark, Some(Mark::Cool { .. } | Mark::Disable(_)));
    if is_refusal && !verdict.certain {
        let before = context.attempts.suspect.take();
        if before.is_none() && may_retry(context, verdict) && pick::reserve_other(context) {
            context.attempts.suspect = Some((index, verdict));
            return retried(context, verdict);
        }
        return Next::PassOn;
    }
    apply(context, index, verdict);
    if verdict.result == AttemptResult::Ok
        && let Some((suspect, its_verdict)) = context.attempts.suspect.take()
    {
        apply(context, suspect, its_verdict);
    }
    if !verdict.retry {
        return Next::PassOn;
    }
    if may_retry(context, verdict) && pick::reserve(context) {
        return retried(context, verdict);
    }
    if verdict.certain { Next::Explain } else { Next::PassOn }
}

fn retried(context: &mut Context, verdict: Verdict) -> Next {
    if let Some(pool) = context.pool() {
        pool.entry.metrics.retry(verdict.result);
    }
    Next::Retry
}

fn apply(context: &Context, index: u32, verdict: Verdict) {
    let (Some(pool), Some(mark)) = (context.pool(), verdict.mark) else { return };
    // Whom a 5xx blames: the key only where the operator says so, until faults are attributed.
    if mark == Mark::Strike && pool.entry.config.blacklist.on_5xx != On5xx::Key {
        return;
    }
    // A success has no deadline to compute, so it needs no clock.
    let now = if mark == Mark::Success { Millis::default() } else { keypool::now() };
    pool.entry.pool.report(index, mark, now);
}

/// Whether the bounds leave room for one more attempt.
fn may_retry(context: &mut Context, verdict: Verdict) -> bool {
    let attempts = &mut context.attempts;
    attempts.uncertain += u32::from(!verdict.certain);
    attempts.timeouts += u32::from(verdict.result == AttemptResult::Timeout);
    let (count, uncertain, timeouts, committed) =
        (attempts.count, attempts.uncertain, attempts.timeouts, attempts.committed);
    let Some(pool) = context.pool() else { return false };
    let retry = &pool.entry.config.retry;
    let is_bounded = if verdict.certain { count < retry.key_attempts } else { uncertain < retry.attempts };
    // Waiting out a second timeout would cost the client more than it can gain.
    !committed && timeouts <= 1 && is_bounded && context.is_replayable() && context.started.elapsed() < retry.deadline
}

/// Why the pool can't serve the request although the provider answered.
fn own_answer(context: &Context) -> Answer {
    let now = keypool::now();
    match context.pool() {
        Some(pool) if pool.entry.pool.has_ready(now) => Answer::AttemptsSpent,
        Some(pool) => pool.entry.pool.exhausted(now).into(),
        None => Answer::Internal,
    }
}

/// The provider's error code, where its answer has one in OpenAI's place.
fn error_code(text: &[u8]) -> Option<String> {
    let root: serde_json::Value = serde_json::from_slice(text).ok()?;
    let error = root.get("error").filter(|error| error.is_object()).unwrap_or(&root);
    let code = error.get("code").filter(|code| !code.is_null()).or_else(|| error.get("type"))?;
    let text = code.as_str().map_or_else(|| code.to_string(), str::to_owned);
    // A code is a word; anything longer may be a sentence with a key in it.
    (text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))).then_some(text)
}

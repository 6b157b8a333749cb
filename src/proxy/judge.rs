//! What becomes of the key and of the request when an attempt ended.
//!
//! A certain verdict marks the key at once. Where the cause is not certain, the next key's answer to the same request
//! tells: if that one is served, the failure is held against the first key (how much it weighs is the pool's to say); if
//! it fails the same way, the request itself is to blame, nothing is held against any key and no third one is tried.

use pingora::http::ResponseHeader;
use pingora::prelude::*;

use super::answer::{Answer, Provider};
use super::context::{Context, Suspect};
use super::pick;
use crate::config::On5xx;
use crate::keypool::{self, Entry};
use crate::pool::{Millis, Place, Scope};
use crate::telemetry::AttemptResult;
use crate::upstream::Evidence;
use crate::verdict::{self, Fault, Verdict};

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
        Some(Evidence::EmptyStream) => verdict::of_failure(AttemptResult::Broken),
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
    let next = settle(context, verdict::of_failure(result));
    if next != Next::Retry {
        let is_timeout = result == AttemptResult::Timeout;
        context.answer = Some(if is_timeout { Answer::UpstreamTimeout } else { Answer::UpstreamUnreachable });
    }
    next
}

/// The verdict on an answer that broke off after it was passed on.
pub(super) fn broken(context: &mut Context) {
    context.count_result(AttemptResult::Broken);
    let Some(suspect) = suspect(context, verdict::of_failure(AttemptResult::Broken)) else { return };
    let Some((entry, place)) = scene(context) else { return };
    entry.pool.broke(&place);
    entry.pool.fault(suspect.index, &place, keypool::now());
    hold(entry, &place, &suspect);
}

/// An answer came to its end.
pub(super) fn finished(context: &Context) {
    if let (Some((entry, place)), Some(lease)) = (scene(context), &context.attempts.lease) {
        entry.pool.succeed(lease.index(), &place);
    }
}

fn settle(context: &mut Context, verdict: Verdict) -> Next {
    // A success is counted when its last byte has come: until then the answer may break off.
    if verdict.fault != Fault::None {
        context.count_result(verdict.result);
    }
    let Some(suspect) = suspect(context, verdict) else { return Next::PassOn };
    match verdict.fault {
        Fault::None => {
            confirm(context, suspect.index);
            Next::PassOn
        }
        Fault::Client => {
            context.attempts.suspects.clear();
            Next::PassOn
        }
        Fault::Key(scope, mark) => {
            if let Some((entry, place)) = scene(context) {
                entry.announce(suspect.index, entry.pool.mark(suspect.index, scope, mark, &place, keypool::now()));
            }
            if may_retry(context, verdict) && pick::reserve(context) {
                retried(context, verdict)
            } else {
                Next::Explain
            }
        }
        Fault::Refused(_) | Fault::Unknown | Fault::Target => doubt(context, suspect),
    }
}

/// An uncertain failure: another key is asked, if the bounds allow one.
fn doubt(context: &mut Context, suspect: Suspect) -> Next {
    let verdict = suspect.verdict;
    let now = keypool::now();
    let is_down = match (scene(context), verdict.fault) {
        (Some((entry, place)), Fault::Unknown | Fault::Target) => entry.pool.fault(suspect.index, &place, now),
        _ => false,
    };
    let suspects = &mut context.attempts.suspects;
    let is_alike = |other: &Suspect| other.index != suspect.index && other.verdict.result == verdict.result;
    if verdict.fault != Fault::Target && suspects.iter().any(is_alike) {
        suspects.clear();
        return Next::PassOn;
    }
    // A refusal is only worth a second opinion: the same key would refuse again.
    let reserve = if verdict.fault == Fault::Unknown { pick::reserve } else { pick::reserve_other };
    if may_retry(context, verdict) && reserve(context) {
        // Where there are several targets the next attempt goes to another one.
        if context.pool().is_some_and(|pool| pool.entry.pool.spend_retry(is_down && pool.targets.len() == 1, now)) {
            context.attempts.suspects.push(suspect);
            return retried(context, verdict);
        }
        context.attempts.next = None;
    }
    unresolved(context, suspect);
    Next::PassOn
}

/// Another key was served: what the earlier ones did is held against them.
fn confirm(context: &mut Context, served: u32) {
    let suspects = std::mem::take(&mut context.attempts.suspects);
    let Some((entry, place)) = scene(context) else { return };
    entry.pool.served(&place);
    suspects.iter().filter(|suspect| suspect.index != served).for_each(|suspect| hold(entry, &place, suspect));
}

/// No other key's answer will tell whose fault it was.
fn unresolved(context: &mut Context, suspect: Suspect) {
    let mut suspects = std::mem::take(&mut context.attempts.suspects);
    let Some((entry, place)) = scene(context) else { return };
    // Where a request is never sent twice, statistics are all there is.
    let was_alone = !context.is_replayable() || entry.config.retry.attempts == 1;
    if was_alone || entry.config.blacklist.on_5xx == On5xx::Key {
        suspects.push(suspect);
        let unknown = suspects.iter().filter(|suspect| suspect.verdict.fault == Fault::Unknown);
        unknown.for_each(|suspect| hold(entry, &place, suspect));
    }
}

/// Holds an uncertain failure against the key.
fn hold(entry: &Entry, place: &Place<'_>, suspect: &Suspect) {
    let (pool, now) = (&entry.pool, keypool::now());
    let event = match (suspect.verdict.fault, entry.config.blacklist.on_5xx) {
        (Fault::Refused(mark), _) => pool.mark(suspect.index, Scope::Key, mark, place, now),
        (Fault::Unknown, On5xx::Attribute) => pool.blame(suspect.index, place, suspect.since, now),
        (Fault::Unknown, On5xx::Key) => pool.strike(suspect.index, place, now),
        _ => None,
    };
    entry.announce(suspect.index, event);
}

fn suspect(context: &Context, verdict: Verdict) -> Option<Suspect> {
    let lease = context.attempts.lease.as_ref()?;
    Some(Suspect { index: lease.index(), since: lease.since(), verdict })
}

/// Where the attempt under way went.
fn scene(context: &Context) -> Option<(&Entry, Place<'_>)> {
    let entry = &*context.pool()?.entry;
    let target = &*context.attempts.target.as_ref()?.authority;
    Some((entry, Place { target, model: context.model() }))
}

fn retried(context: &mut Context, verdict: Verdict) -> Next {
    if let Some(pool) = context.pool() {
        pool.entry.metrics.retry(verdict.result);
    }
    Next::Retry
}

/// Whether the bounds leave room for one more attempt.
fn may_retry(context: &mut Context, verdict: Verdict) -> bool {
    let is_certain = verdict.fault.is_certain();
    let attempts = &mut context.attempts;
    attempts.uncertain += u32::from(!is_certain);
    attempts.timeouts += u32::from(verdict.result == AttemptResult::Timeout);
    let (count, uncertain, timeouts, committed) =
        (attempts.count, attempts.uncertain, attempts.timeouts, attempts.committed);
    let Some(pool) = context.pool() else { return false };
    let retry = &pool.entry.config.retry;
    let is_bounded = if is_certain { count < retry.key_attempts } else { uncertain < retry.attempts };
    // Waiting out a second timeout would cost the client more than it can gain.
    !committed && timeouts <= 1 && is_bounded && context.is_replayable() && context.started.elapsed() < retry.deadline
}

/// Why the pool can't serve the request although the provider answered.
fn own_answer(context: &Context) -> Answer {
    let now: Millis = keypool::now();
    match context.pool() {
        Some(pool) if pool.entry.pool.has_ready(context.model(), now) => Answer::AttemptsSpent,
        Some(pool) => pool.entry.pool.exhausted(context.model(), now).into(),
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

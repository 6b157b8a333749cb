//! What becomes of the key and of the request when an attempt ended.
//!
//! A certain verdict marks the key at once. Where the cause is not certain, the next key's answer to the same request
//! tells: if that one is served, the failure is held against the first key (how much it weighs is the pool's to say); if
//! it fails the same way, the request itself is to blame, nothing is held against any key and no third one is tried.

use std::time::Duration;

use jiff::Timestamp;
use pingora::http::ResponseHeader;
use pingora::prelude::*;

use super::answer::{Answer, Provider};
use super::context::{Context, Heard, Suspect};
use super::edge::EdgePool;
use super::pick;
use crate::config::On5xx;
use crate::keypool::{self, Entry};
use crate::pool::{Millis, Place};
use crate::telemetry::AttemptResult;
use crate::upstream::{self, Evidence};
use crate::verdict::{Answer as Words, Blame, Fault, Habits, Judgement, Normalised, Scene};

/// How long other proxies are preferred after an attempt through one of them brought no answer.
const SUSPICION: Duration = Duration::from_secs(1);

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
    let status = head.status.as_u16();
    let (status, body) = match evidence {
        Some(Evidence::StreamError(data)) => (None, data.as_ref()),
        Some(Evidence::EmptyStream) => {
            context.attempts.heard.status = Some(status);
            return settle(context, Blame::of_failure(AttemptResult::Broken));
        }
        _ if status < 400 => {
            defer(context, head);
            return settle(context, Blame::success());
        }
        Some(Evidence::Status(data)) => (Some(status), data.as_ref()),
        None => (Some(status), b"".as_slice()),
    };
    let words = Words { status, headers: &head.headers, body, model: context.model() };
    let Some(judgement) = judge(context, &words) else { return Next::PassOn };
    remember(context, head, &words, &judgement);
    let Judgement { verdict, answer, .. } = judgement;
    let blame = Blame::of_verdict(&verdict, answer.status, habits(context));
    context.attempts.heard = Heard { status: Some(head.status.as_u16()), rule: Some(verdict.rule) };
    let next = settle(context, blame);
    if next == Next::Explain {
        context.provider = Some(Provider { status: head.status.as_u16(), code: error_code(&answer) });
        context.answer = Some(own_answer(context));
    }
    next
}

/// Lets others come first where the answer says that nothing is left.
fn defer(context: &Context, head: &ResponseHeader) {
    let (Some((entry, place)), Some(lease)) = (scene(context), &context.attempts.lease) else { return };
    for (scope, time) in entry.config.provider.used_up(&head.headers, Timestamp::now) {
        entry.pool.defer(lease.index(), scope, time, &place, keypool::now());
    }
}

/// What the pool's rules say, counted.
fn judge(context: &Context, words: &Words<'_>) -> Option<Judgement> {
    let entry = &context.pool()?.entry;
    let judgement = entry.config.verdicts.judge(words, Timestamp::now());
    entry.metrics.rule_matched(&judgement.verdict.rule, "enforce");
    if let Some(shadow) = &judgement.shadow {
        entry.metrics.rule_matched(&shadow.rule, "shadow");
        log::debug!(
            pool = entry.config.name.as_str(), rule = &*shadow.rule, instead_of = &*judgement.verdict.rule;
            "A rule that is only tried would have decided."
        );
    }
    Some(judgement)
}

/// Keeps the answer for whoever changes a rule.
fn remember(context: &Context, head: &ResponseHeader, words: &Words<'_>, judgement: &Judgement) {
    let (Some((entry, place)), Some(lease)) = (scene(context), &context.attempts.lease) else { return };
    let (Some(key), Some(secret)) = (entry.pool.key(lease.index()), entry.secret(lease.index())) else { return };
    let scene = || Scene {
        request_id: context.request_id.clone().unwrap_or_default(),
        key: key.name.clone(),
        target: place.target.into(),
        status: head.status.as_u16(),
    };
    entry.failures.remember(scene, words, judgement, secret);
}

fn habits(context: &Context) -> Habits {
    Habits {
        // The last digits of a duration are as random as they need to be.
        jitter: f64::from(context.started.elapsed().subsec_nanos() % 1000) / 1000.0,
        has_own_cooldown: context.pool().is_some_and(|pool| pool.entry.config.blacklist.is_cooldown_chosen),
    }
}

/// The verdict on an attempt that brought no answer.
pub(super) fn failure(context: &mut Context, error: &Error) -> Next {
    let blame = upstream::blame(error);
    if let Some(egress) = &context.attempts.egress {
        // Whoever is tried next had better leave another way; what is certain was noted when it was dialled.
        egress.shun(SUSPICION, keypool::now());
    }
    let next = settle(context, blame);
    if next != Next::Retry {
        let is_timeout = blame.result == AttemptResult::Timeout;
        context.answer = Some(if is_timeout { Answer::UpstreamTimeout } else { Answer::UpstreamUnreachable });
    }
    next
}

/// The verdict on an answer that broke off after it was passed on.
pub(super) fn broken(context: &mut Context) {
    context.count_result(AttemptResult::Broken);
    let Some(suspect) = suspect(context, Blame::of_failure(AttemptResult::Broken)) else { return };
    let Some((entry, place)) = scene(context) else { return };
    entry.pool.broke(&place);
    entry.pool.fault(suspect.index, &place, keypool::now());
    hold(entry, place.model, &suspect);
    note_target(context, &suspect);
}

/// An answer came to its end.
pub(super) fn finished(context: &Context) {
    if let (Some((entry, place)), Some(lease)) = (scene(context), &context.attempts.lease) {
        entry.pool.succeed(lease.index(), &place);
    }
}

fn settle(context: &mut Context, blame: Blame) -> Next {
    // A success is counted when its last byte has come: until then the answer may break off.
    if blame.fault != Fault::None {
        context.count_result(blame.result);
    }
    let Some(suspect) = suspect(context, blame) else { return Next::PassOn };
    note_target(context, &suspect);
    match blame.fault {
        Fault::None => {
            confirm(context, suspect.index);
            Next::PassOn
        }
        Fault::Client => {
            context.attempts.suspects.clear();
            Next::PassOn
        }
        Fault::Absent => {
            context.attempts.avoided.push(suspect.target.clone());
            context.attempts.lacking.push(suspect.target);
            // The same target would say the same of it, whatever the key.
            if has_other_target(context) && may_retry(context, blame) && pick::reserve(context) {
                return retried(context, blame);
            }
            context.attempts.suspects.clear();
            Next::PassOn
        }
        Fault::Key(scope, mark) => {
            if let Some((entry, place)) = scene(context) {
                let egress = context.attempts.egress.as_deref();
                let event = entry.mark(suspect.index, (scope, mark), egress, &place, keypool::now());
                entry.announce(suspect.index, event);
            }
            if !blame.retry {
                Next::PassOn
            } else if may_retry(context, blame) && pick::reserve_other(context) {
                retried(context, blame)
            } else {
                Next::Explain
            }
        }
        Fault::Egress => {
            if let Some(pool) = context.pool() {
                pool.entry.apply_egresses(keypool::now());
            }
            if may_retry(context, blame) && pick::reserve(context) {
                return retried(context, blame);
            }
            Next::PassOn
        }
        Fault::Refused(..) | Fault::Unknown | Fault::Target => doubt(context, suspect),
    }
}

/// An uncertain failure: another key is asked, if the bounds allow one.
fn doubt(context: &mut Context, suspect: Suspect) -> Next {
    let blame = suspect.blame;
    let now = keypool::now();
    let is_down = match (scene(context), blame.fault) {
        (Some((entry, place)), Fault::Unknown | Fault::Target) => entry.pool.fault(suspect.index, &place, now),
        _ => false,
    };
    if !matches!(blame.fault, Fault::Refused(..)) {
        context.attempts.avoided.push(suspect.target.clone());
    }
    let is_elsewhere = has_other_target(context);
    let suspects = &mut context.attempts.suspects;
    // Two failures at two targets may be the targets' before the others were asked; two refusals are answers.
    let is_alike = |other: &Suspect| {
        let is_refusal = matches!(blame.fault, Fault::Refused(..));
        let is_comparable = is_refusal || !is_elsewhere || other.target.name == suspect.target.name;
        other.index != suspect.index && other.blame.result == blame.result && is_comparable
    };
    if blame.fault != Fault::Target && suspects.iter().any(is_alike) {
        suspects.clear();
        return Next::PassOn;
    }
    // A target that was not reached was not burdened either, and the next one can bear what it was meant to bear.
    let is_free = blame.fault == Fault::Target && is_elsewhere;
    // A refusal is only worth a second opinion: the same key would refuse again.
    let is_same_worth_it = blame.fault == Fault::Unknown || is_free;
    let reserve = if is_same_worth_it { pick::reserve } else { pick::reserve_other };
    if may_retry(context, blame) && reserve(context) {
        let spend = |pool: &EdgePool| pool.entry.pool.spend_retry(is_down && !is_elsewhere, now);
        if is_free || context.pool().is_some_and(spend) {
            context.attempts.suspects.push(suspect);
            return retried(context, blame);
        }
        context.attempts.next = None;
    }
    unresolved(context, suspect);
    Next::PassOn
}

/// Another key was served: what the earlier ones did is held against them.
fn confirm(context: &mut Context, served: u32) {
    let suspects = std::mem::take(&mut context.attempts.suspects);
    let lacking = std::mem::take(&mut context.attempts.lacking);
    let Some((entry, place)) = scene(context) else { return };
    entry.pool.served(served, &place);
    suspects.iter().filter(|suspect| suspect.index != served).for_each(|suspect| hold(entry, place.model, suspect));
    if let Some(pool) = context.pool() {
        lacking.iter().for_each(|target| pool.targets.lacks(target, place.model, keypool::now()));
    }
}

/// No other key's answer will tell whose fault it was.
fn unresolved(context: &mut Context, suspect: Suspect) {
    let mut suspects = std::mem::take(&mut context.attempts.suspects);
    let Some((entry, place)) = scene(context) else { return };
    // Where a request is never sent twice, statistics are all there is.
    let was_alone = !context.is_replayable() || entry.config.retry.attempts == 1;
    if was_alone || entry.config.blacklist.on_5xx == On5xx::Key {
        suspects.push(suspect);
        let unknown = suspects.iter().filter(|suspect| suspect.blame.fault == Fault::Unknown);
        unknown.for_each(|suspect| hold(entry, place.model, suspect));
    }
}

/// Holds an uncertain failure against the key, where it failed.
fn hold(entry: &Entry, model: &str, suspect: &Suspect) {
    let (pool, now) = (&entry.pool, keypool::now());
    let place = &Place { target: &suspect.target.name, model };
    let event = match (suspect.blame.fault, entry.config.blacklist.on_5xx) {
        (Fault::Refused(scope, mark), _) => pool.mark(suspect.index, scope, mark, place, now),
        (Fault::Unknown, On5xx::Attribute) => pool.blame(suspect.index, place, suspect.since, now),
        (Fault::Unknown, On5xx::Key) => pool.strike(suspect.index, place, now),
        _ => None,
    };
    entry.announce(suspect.index, event);
}

fn suspect(context: &Context, blame: Blame) -> Option<Suspect> {
    let lease = context.attempts.lease.as_ref()?;
    let target = context.attempts.target.clone()?;
    Some(Suspect { index: lease.index(), target, since: lease.since(), blame })
}

/// Tells the pool's targets how the one that was asked did.
fn note_target(context: &Context, suspect: &Suspect) {
    let Some(pool) = context.pool() else { return };
    match suspect.blame.fault {
        Fault::Unknown | Fault::Target => pool.targets.failed(&suspect.target, suspect.since, keypool::now()),
        // It was not asked.
        Fault::Egress => {}
        _ => pool.targets.answered(&suspect.target, suspect.since),
    }
}

fn has_other_target(context: &Context) -> bool {
    let is_free = context.bound.target.is_none();
    is_free && context.pool().is_some_and(|pool| pool.targets.has_other(&context.attempts.avoided))
}

/// Where the attempt under way went.
fn scene(context: &Context) -> Option<(&Entry, Place<'_>)> {
    let entry = &*context.pool()?.entry;
    let target = &*context.attempts.target.as_ref()?.name;
    Some((entry, Place { target, model: context.model() }))
}

fn retried(context: &mut Context, blame: Blame) -> Next {
    if let Some(pool) = context.pool() {
        pool.entry.metrics.retry(blame.result);
    }
    Next::Retry
}

/// Whether the bounds leave room for one more attempt.
fn may_retry(context: &mut Context, blame: Blame) -> bool {
    let is_certain = blame.fault.is_certain();
    let attempts = &mut context.attempts;
    attempts.uncertain += u32::from(!is_certain);
    attempts.timeouts += u32::from(blame.result == AttemptResult::Timeout);
    let (count, uncertain, timeouts, committed) =
        (attempts.count, attempts.uncertain, attempts.timeouts, attempts.committed);
    let Some(pool) = context.pool() else { return false };
    let retry = &pool.entry.config.retry;
    let is_bounded = if is_certain { count < retry.key_attempts } else { uncertain < retry.attempts };
    // Waiting out a second timeout would cost the client more than it can gain.
    !committed && timeouts <= 1 && is_bounded && context.is_replayable() && context.started.elapsed() < retry.deadline
}

/// Why the pool can't serve the request although the provider answered. A reload may have come in between, and the marks
/// of this request are in the pool that took over.
fn own_answer(context: &Context) -> Answer {
    let now: Millis = keypool::now();
    if let (Some(key), Some(pool)) = (context.bound.key, context.pool()) {
        let usable = pool.entry.pool.usable(key, context.model(), now);
        return usable.map_or_else(|why| pick::lacking(context, why), |()| Answer::AttemptsSpent);
    }
    let Some(pool) = context.pool().map(|pool| pool.entry.pool.newest()) else { return Answer::Internal };
    if pool.has_ready(context.model(), now) {
        Answer::AttemptsSpent
    } else {
        pool.exhausted(context.model(), now).into()
    }
}

/// The provider's error code, or its type where it has none.
fn error_code(answer: &Normalised) -> Option<String> {
    let fields = &answer.fields;
    let text = if fields.code.is_empty() { &fields.kind } else { &fields.code };
    // A code is a word; anything longer may be a sentence with a key in it.
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    (!text.is_empty() && text.len() <= 64 && text.bytes().all(is_word)).then(|| text.clone())
}

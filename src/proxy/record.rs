//! The end of a request: metrics, the access log line, sums and the request log's row, from what the context gathered.

use std::time::{Duration, Instant, SystemTime};

use pingora::prelude::*;
use pingora::protocols::http::ServerSession;

use super::answer::Answer;
use super::context::{Body, Context};
use super::gateway::Gateway;
use super::judge;
use super::records::{Counted, Finished, Kept, Sum};
use crate::config::RequestLog;
use crate::pool::Lease;
use crate::telemetry::{AttemptResult, Entry, ModelId, Outcome};

impl Gateway {
    /// Counts and logs one request, however it ended.
    pub(super) fn record(&self, session: &ServerSession, error: Option<&Error>, context: &mut Context) {
        let request_id = context.request_id();
        let status = session.response_written().map_or(0, |head| head.status.as_u16());
        let outcome = outcome(context, status, error);
        close_attempt(context, outcome);
        let now = Instant::now();
        context.stop_clock(now);
        let duration = now - context.started;
        let first_byte = context.times.first_byte.map(|at| at - context.started);
        let overhead = duration.saturating_sub(context.times.reading).saturating_sub(context.times.upstream);
        let pool = context.pool();
        let metrics = pool.map_or(&self.unrouted, |pool| &pool.entry.metrics);
        let overhead = (context.attempts.count > 0).then_some(overhead);
        metrics.request_finished(status, outcome, duration, first_byte, overhead);

        context.settle();
        let used = context.used();
        let pool = context.pool();
        let model = pool.map(|pool| {
            let name = context.asked.name().unwrap_or_default();
            pool.entry.metrics.model(name, outcome == Outcome::Ok)
        });
        if let (Some(used), Some(pool), Some(model)) = (used, pool, model) {
            pool.entry.metrics.tokens_used(model, used.prompt, used.completion);
        }

        let request = session.req_header();
        let target = context.attempts.target.as_ref();
        self.access_log.write(&Entry {
            time: SystemTime::now(),
            request_id: &request_id,
            client: context.client_ip,
            token: context.client.as_ref().map(|client| client.name()),
            method: request.method.as_str(),
            path: request.uri.path().as_bytes(),
            pool: pool.map(|pool| pool.entry.config.name.as_str()),
            key: context.key().map(|key| &*key.name),
            model: context.asked.name(),
            status,
            outcome,
            attempts: context.attempts.count,
            bytes_in: session.body_bytes_read() as u64,
            bytes_out: context.bytes_out,
            tokens: used.map(|used| (used.prompt, used.completion)),
            duration,
            first_byte,
            upstream: target.map(|target| &*target.authority),
        });

        let row = is_logged(context, outcome).then(|| {
            let end = End { status, outcome, duration, first_byte };
            finished(session, context, &end)
        });
        self.records.add(counted(context, outcome, duration, model), row);
    }
}

/// How a request ended.
struct End {
    status: u16,
    outcome: Outcome,
    duration: Duration,
    first_byte: Option<Duration>,
}

/// Whether the request log wants this request. Pages of our own that went well say nothing about anybody.
fn is_logged(context: &Context, outcome: Outcome) -> bool {
    let is_ok = outcome == Outcome::Ok;
    match context.edge.as_ref().map(|edge| edge.request_log) {
        None | Some(RequestLog::Off) => false,
        Some(RequestLog::Errors) => !is_ok,
        Some(RequestLog::All) => !is_ok || context.route.is_some(),
    }
}

/// What the sums are told of a request that was let in.
fn counted(context: &Context, outcome: Outcome, duration: Duration, model: Option<ModelId>) -> Option<Counted<'_>> {
    let (pool, model) = (context.pool()?, model?);
    let tokens = context.used().unwrap_or_default();
    let sum = Sum { requests: 1, failures: outcome.is_failure().into(), tokens, cost: context.cost, duration };
    (outcome != Outcome::Rejected).then(|| Counted {
        pool: &pool.entry.metrics,
        key: context.key().map_or(pool.no_key, |key| key.id),
        model,
        client: context.client.as_ref().map(|client| client.name()),
        sum,
    })
}

/// What the request log is told. Nothing is made text of here.
fn finished(session: &ServerSession, context: &mut Context, end: &End) -> Finished {
    let mut trail = std::mem::take(&mut context.attempts.failed);
    if trail.len() < context.attempts.count as usize {
        context.attempts.heard.status = Some(context.attempts.status);
        trail.extend(context.tried(AttemptResult::Ok));
    }
    let request = session.req_header();
    let keeps_body = context.edge.as_ref().is_some_and(|edge| edge.keeps_bodies);
    Finished {
        time: SystemTime::now(),
        request_id: context.request_id(),
        client_ip: context.client_ip,
        client: context.client.clone(),
        method: request.method.clone(),
        uri: request.uri.clone(),
        pool: context.pool().map(|pool| pool.entry.clone()),
        key: context.attempts.lease.as_ref().map(Lease::index),
        model: context.asked.name().unwrap_or_default().to_owned(),
        status: end.status,
        outcome: end.outcome,
        error: context.answer.as_ref().map(Answer::code),
        attempts: context.attempts.count,
        trail,
        duration: end.duration,
        first_byte: end.first_byte,
        bytes_in: session.body_bytes_read() as u64,
        bytes_out: context.bytes_out,
        tokens: context.used(),
        body: match &context.body {
            Body::Buffered(body) if keeps_body => Some(Kept::beginning_of(body.pieces())),
            _ => None,
        },
    }
}

fn outcome(context: &Context, status: u16, error: Option<&Error>) -> Outcome {
    let is_downstream = error.is_some_and(|error| *error.esource() == ErrorSource::Downstream);
    match (&context.answer, context.outcome) {
        (_, Some(known)) => known,
        (Some(answer), None) => answer.outcome(),
        (None, None) if is_downstream => Outcome::Cancelled,
        (None, None) if error.is_some() && context.attempts.committed => Outcome::Broken,
        (None, None) => match status {
            0 => Outcome::Cancelled,
            100..400 => Outcome::Ok,
            400..500 => Outcome::ClientError,
            _ => Outcome::ProviderError,
        },
    }
}

/// Counts an attempt that was under way when the request ended.
fn close_attempt(context: &mut Context, outcome: Outcome) {
    if context.attempts.lease.is_some() {
        context.count_result(match outcome {
            Outcome::Cancelled => AttemptResult::Cancelled,
            Outcome::Broken => AttemptResult::Broken,
            _ => AttemptResult::Ok,
        });
        // A client that leaves in the middle of an answer says nothing against the key.
        if context.attempts.committed && matches!(outcome, Outcome::Ok | Outcome::Cancelled) {
            judge::finished(context);
        }
    }
}

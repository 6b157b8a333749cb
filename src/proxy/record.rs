//! The end of a request: metrics and the access log line, from what the context gathered.

use std::time::{Instant, SystemTime};

use pingora::prelude::*;
use pingora::protocols::http::ServerSession;

use super::context::Context;
use super::gateway::Gateway;
use super::judge;
use crate::telemetry::{AttemptResult, Entry, Outcome};

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
        if let (Some(used), Some(pool)) = (used, pool) {
            let is_served = outcome == Outcome::Ok;
            let model = context.asked.name().unwrap_or_default();
            pool.entry.metrics.tokens_used(model, used.prompt, used.completion, is_served);
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

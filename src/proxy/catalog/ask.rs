//! Asks a provider on keyweir's own account, as a client's request would be: with keys in turn, verdicts and retries.

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use pingora::http::RequestHeader;
use pingora::prelude::*;

use super::super::answer::Answer;
use super::super::context::Context;
use super::super::judge::{self, Next};
use super::super::{pick, send};
use crate::telemetry::AttemptResult;
use crate::upstream::{Call, Connector};

/// Longest answer read (bytes).
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// A provider's answer that is final, as it came.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) kind: Option<HeaderValue>,
    pub(super) body: Bytes,
}

/// Sends `request` until an answer is final.
///
/// # Errors
/// Our own words where there is none, or where a key is to blame for it.
pub(super) async fn ask(
    connector: &Connector,
    context: &mut Context,
    request: &RequestHeader,
) -> Result<Reply, Answer> {
    pick::first(context)?;
    loop {
        let next = match call(connector, context, request).await {
            Ok(call) => {
                let Some(head) = call.head() else { return Err(Answer::Internal) };
                match judge::answer(context, head) {
                    Next::PassOn => return read(call, context).await,
                    next => {
                        call.close().await;
                        next
                    }
                }
            }
            Err(error) if error.retry() => {
                context.attempts.stale = true;
                Next::Retry
            }
            Err(error) => judge::failure(context, &error),
        };
        if next != Next::Retry {
            return Err(context.answer.take().unwrap_or(Answer::Internal));
        }
    }
}

async fn call(connector: &Connector, context: &mut Context, request: &RequestHeader) -> Result<Call> {
    let peer = pick::begin(context)?;
    let mut sent = request.clone();
    send::prepare(&mut sent, context)?;
    Call::begin(connector, peer, sent).await
}

async fn read(call: Call, context: &mut Context) -> Result<Reply, Answer> {
    let head = call.head().ok_or(Answer::Internal)?;
    let (status, kind) = (head.status.as_u16(), head.headers.get(CONTENT_TYPE).cloned());
    context.attempts.status = status;
    match call.body(MAX_ANSWER).await {
        Ok(body) => {
            if status < 400 {
                context.count_result(AttemptResult::Ok);
                judge::finished(context);
            }
            Ok(Reply { status, kind, body })
        }
        Err(_) => {
            judge::broken(context);
            Err(Answer::UpstreamUnreachable)
        }
    }
}

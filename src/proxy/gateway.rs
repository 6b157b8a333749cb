//! The `ProxyHttp` implementation: Pingora's phases, each a call into its file.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use tokio::time::sleep;

use super::admit::Admission;
use super::answer::{self, Answer};
use super::authenticate::authenticate;
use super::catalog::Wanted;
use super::client_ip::client_ip;
use super::context::{Body, Context};
use super::edge::Edge;
use super::judge::{self, Next};
use super::model::{self, Care};
use super::read_body::{Failure, read_body};
use super::records::Records;
use super::status::StatusPages;
use super::{catalog, cors, local, names, pick, relay, resource, scope, send};
use crate::clients::{Admitted, Limit};
use crate::config::Limits;
use crate::keypool;
use crate::pool::Lease;
use crate::telemetry::{AccessLog, AttemptResult, Outcome, Phase, PoolMetrics, Readiness};
use crate::upstream::Connector;

/// A client with as many requests under way as it may have is looked at again after these pauses, each twice the last.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(64);
/// How long a discarded request body may keep a connection from being reused.
const DRAIN_TIME: Duration = Duration::from_secs(5);
/// Longest client-given request id that is taken over.
const REQUEST_ID_MAX: usize = 128;

/// What all requests share.
pub struct Gateway {
    edge: Arc<ArcSwap<Edge>>,
    admission: Arc<Admission>,
    readiness: Arc<Readiness>,
    connector: Connector,
    pub(super) access_log: Arc<AccessLog>,
    pub(super) records: Arc<Records>,
    pub(super) unrouted: Arc<PoolMetrics>,
    status: StatusPages,
}

impl Gateway {
    /// A gateway that reads its configuration from `edge`, whatever that holds at the time.
    pub fn new(
        edge: Arc<ArcSwap<Edge>>,
        admission: Arc<Admission>,
        readiness: Arc<Readiness>,
        connector: Connector,
        access_log: Arc<AccessLog>,
        records: Arc<Records>,
        status: StatusPages,
    ) -> Self {
        Self { edge, admission, readiness, connector, access_log, records, unrouted: PoolMetrics::for_pool(""), status }
    }

    /// Everything that is decided before a key is needed. `Ok(true)`: answered already.
    async fn receive(&self, session: &mut ServerSession, context: &mut Context) -> Result<bool, Failure> {
        let edge = context.edge.insert(self.edge.load_full()).clone();
        let limits = &edge.limits;
        // Each piece of a body that is read here has a deadline anyway.
        session.set_read_timeout(None);
        session.set_write_timeout(Some(limits.body_timeout));
        session.set_total_drain_timeout(Some(DRAIN_TIME));
        let phase = self.readiness.phase();
        if phase >= Phase::Leaving {
            session.set_keepalive(None);
        }
        let peer = session.client_addr().and_then(|address| address.as_inet()).map(std::net::SocketAddr::ip);
        let request = session.req_header();
        context.request_id = given_request_id(request);
        context.client_ip = client_ip(peer, &request.headers, &edge.trusted_proxies);

        if cors::is_preflight(request)
            && let Some(origin) = cors::allowed_origin(&edge.cors, &request.headers)
        {
            let head = cors::preflight(request, origin).map_err(Failure::Gone)?;
            return respond(session, head, Bytes::new()).await;
        }
        if let Some(page) = local::respond(request, &self.readiness) {
            let (head, body) = page.map_err(Failure::Gone)?;
            context.bytes_out = body.len() as u64;
            return respond(session, head, body).await;
        }
        if phase == Phase::Refusing {
            return Err(Answer::Draining.into());
        }
        if let Some(who) = self.status.find(&edge, request.uri.path()) {
            context.guards.slot = Some(self.admission.admit(limits.in_flight)?);
            let (head, body) = Box::pin(self.status.page(request, context, &edge, who)).await?;
            return respond(session, head, body).await;
        }
        context.client = authenticate(&edge, &request.headers, request.uri.query(), context.client_ip)?;
        let route = edge.paths.find(request.uri.path())?;
        let pool = edge.pools.get(route.pool).ok_or(Answer::UnknownPath)?;
        let is_served = pool.routes.admits(&route, request.uri.path());
        context.guards.in_flight = Some(pool.entry.metrics.request_started());
        context.route = Some(route);
        if context.client.as_ref().is_some_and(|client| !client.may_use_pool(&pool.entry.config.name)) {
            return Err(Answer::PoolDenied.into());
        }
        if !is_served {
            return Err(Answer::RouteDenied.into());
        }
        context.guards.slot = Some(self.admission.admit(limits.in_flight)?);
        if is_websocket(request) {
            context.body = Body::Tunnel;
        } else {
            let mut budget = self.admission.budget();
            context.body = read_body(session, limits, &mut budget, &mut context.times.reading).await?;
            context.guards.budget = Some(budget);
        }
        if matches!(context.body, Body::Streamed { .. } | Body::Tunnel) {
            session.set_read_timeout(Some(limits.body_timeout));
        }
        let wanted = judge_request(session.req_header(), context, limits)?;
        admit_client(context).await?;
        let Some(wanted) = wanted else { return Ok(false) };
        let (head, body) = Box::pin(self.list_models(session.req_header(), context, wanted)).await?;
        respond(session, head, body).await
    }

    /// Answers from the list of models.
    async fn list_models(
        &self,
        request: &RequestHeader,
        context: &mut Context,
        wanted: Wanted,
    ) -> Result<(ResponseHeader, Bytes), Failure> {
        let page = catalog::page(&self.connector, context, request, wanted).await?;
        let describe = || -> Result<ResponseHeader> {
            let mut head = ResponseHeader::build(page.status, Some(8))?;
            head.insert_header(CONTENT_TYPE, page.kind)?;
            head.insert_header(CONTENT_LENGTH, page.body.len())?;
            relay::head(&mut head, request, context)?;
            Ok(head)
        };
        let head = describe().map_err(Failure::Gone)?;
        context.bytes_out = page.body.len() as u64;
        context.settle();
        Ok((head, page.body))
    }

    /// Answers in our own words.
    async fn answer(&self, session: &mut ServerSession, context: &mut Context, answer: Answer) -> Result<()> {
        let request_id = context.request_id();
        let body = answer.body(&request_id, context.provider.as_ref());
        let mut head = answer.head(&request_id, body.len())?;
        if context.attempts.count > 0 {
            head.insert_header(names::KEYWEIR_ATTEMPTS, context.attempts.count)?;
        }
        if let Some(pool) = context.pool() {
            head.insert_header(names::KEYWEIR_POOL, pool.name.clone())?;
        }
        if matches!(answer, Answer::BadRequest(_)) {
            // Where a broken body ends nobody knows: what follows must not be read as the next request.
            session.set_keepalive(None);
        }
        let headers = &session.req_header().headers;
        if let Some(origin) = context.edge.as_ref().and_then(|edge| cors::allowed_origin(&edge.cors, headers)) {
            cors::allow(&mut head, origin)?;
        }
        context.bytes_out = body.len() as u64;
        context.answer = Some(answer);
        context.settle();
        answer::write(session, head, body.into()).await
    }
}

/// Finds out which models are asked for, and whether they may be, and what only one key can serve; what of the list of
/// models is wanted, if anything.
fn judge_request(request: &RequestHeader, context: &mut Context, limits: &Limits) -> Result<Option<Wanted>, Answer> {
    let (Some(pool), Some(route)) = (context.pool(), &context.route) else { return Ok(None) };
    let (client, models) = (context.client.as_deref(), &pool.entry.config.models);
    let care = scope::care(client, models, pool.entry.pool.has_reserved_keys());
    let path = route.rest(request.uri.path());
    let asked = model::read(request, path, &context.body, care, limits.buffer)?;
    if care == Care::Filter {
        scope::check(client, models, &asked)?;
    }
    let bound = resource::bound(request, path, &context.body, pool)?;
    let is_list = !matches!(context.body, Body::Tunnel | Body::Streamed { .. });
    let wanted = if is_list { catalog::wanted(request, path, pool, client)? } else { None };
    (context.asked, context.bound) = (asked, bound);
    Ok(wanted)
}

/// Whether the client may ask now.
async fn admit_client(context: &mut Context) -> Result<(), Answer> {
    let Some(client) = &context.client else { return Ok(()) };
    let expected = context.expected_tokens();
    let mut pause = FIRST_PAUSE;
    let admitted = loop {
        match client.admit(expected, keypool::now(), SystemTime::now) {
            Ok(admitted) => break admitted,
            // A client that has the last byte of an answer may ask again before the end of that request is noted here.
            Err(refusal) if refusal.limit == Limit::Concurrency && pause <= LAST_PAUSE => sleep(pause).await,
            Err(refusal) => {
                client.count_refusal();
                return Err(Answer::ClientLimit(refusal));
            }
        }
        pause *= 2;
    };
    context.guards.admitted = Some(admitted);
    Ok(())
}

async fn respond(session: &mut ServerSession, head: ResponseHeader, body: Bytes) -> Result<bool, Failure> {
    answer::write(session, head, body).await.map_err(Failure::Gone)?;
    Ok(true)
}

/// The client's own request id, if it is short visible text.
fn given_request_id(request: &RequestHeader) -> Option<Arc<str>> {
    let id = request.headers.get(names::X_REQUEST_ID)?.to_str().ok()?;
    (!id.is_empty() && id.len() <= REQUEST_ID_MAX && id.bytes().all(|b| b.is_ascii_graphic())).then(|| id.into())
}

fn is_websocket(request: &RequestHeader) -> bool {
    request.version == http::Version::HTTP_11
        && request.headers.get(http::header::UPGRADE).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// What a client that is still there is told of what could not be read of it.
fn refusal(why: &ErrorType) -> Option<Answer> {
    match why {
        ReadTimedout => Some(Answer::RequestTimeout),
        ReadError | WriteError | WriteTimedout | ConnectionClosed | H2Error => None,
        // Pingora's word for bytes that come while a request is under way.
        ConnectError => Some(Answer::BadRequest("The next request came before this one's answer.")),
        _ => Some(Answer::BadRequest("The body's framing is broken.")),
    }
}

fn retry(mut error: Box<Error>, again: bool) -> Box<Error> {
    error.set_retry(again);
    error
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// Boxed, because Pingora moves it several times per request.
    type CTX = Box<Context>;

    fn new_ctx(&self) -> Box<Context> {
        Box::new(Context::new())
    }

    /// None for all requests: Pingora would add its compression.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, context: &mut Box<Context>) -> Result<bool> {
        if session.req_header().version == http::Version::HTTP_10 {
            session.set_keepalive(None);
            session.downstream_modules_ctx = relay::without_chunks();
        }
        match self.receive(session, context).await {
            Ok(answered) => Ok(answered),
            Err(Failure::Refuse(refusal)) => {
                self.answer(session, context, refusal).await?;
                Ok(true)
            }
            Err(Failure::Gone(error)) => Err(error.into_down()),
        }
    }

    async fn proxy_upstream_filter(&self, session: &mut Session, context: &mut Box<Context>) -> Result<bool> {
        match pick::first(context) {
            Ok(()) => Ok(true),
            Err(refusal) => {
                self.answer(session, context, refusal).await?;
                Ok(false)
            }
        }
    }

    async fn upstream_peer(&self, _: &mut Session, context: &mut Box<Context>) -> Result<Box<HttpPeer>> {
        let peer = pick::begin(context)?;
        if let Some(admitted) = &mut context.guards.admitted {
            admitted.asked();
        }
        if let Some(lease) = &mut context.attempts.lease {
            lease.asked();
        }
        Ok(peer)
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        context: &mut Box<Context>,
    ) -> Result<()> {
        send::prepare(request, context)
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        piece: &mut Option<Bytes>,
        _: bool,
        context: &mut Box<Context>,
    ) -> Result<()> {
        let limit = context.edge.as_ref().map_or(0, |edge| edge.limits.body);
        send::stream_body(context, piece, limit)
    }

    async fn upstream_response_filter(
        &self,
        _: &mut Session,
        head: &mut ResponseHeader,
        context: &mut Box<Context>,
    ) -> Result<()> {
        if head.status.is_informational() {
            return Ok(());
        }
        let status = HTTPStatus(head.status.as_u16());
        match judge::answer(context, head) {
            Next::PassOn => Ok(()),
            Next::Retry => Err(retry(Error::explain(status, "another key is tried").into_up(), true)),
            Next::Explain => Err(retry(Error::explain(status, "answered in our own words").into_up(), false)),
        }
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        context: &mut Box<Context>,
    ) -> Result<()> {
        if head.status.is_informational() && head.status != http::StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        if self.readiness.phase() >= Phase::Leaving {
            session.set_keepalive(None);
        }
        let request = session.req_header();
        context.notes = context.route.as_ref().and_then(|r| resource::notes(request, r.rest(request.uri.path()), head));
        relay::head(head, request, context)
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        is_last: bool,
        context: &mut Box<Context>,
    ) -> Result<Option<Duration>> {
        if let Some(piece) = body {
            context.bytes_out += piece.len() as u64;
            let counts_tokens = context.guards.admitted.as_ref().is_some_and(Admitted::counts_tokens)
                || context.attempts.lease.as_ref().is_some_and(Lease::counts_tokens);
            context.answered.feed(piece, counts_tokens);
            resource::note(context, piece);
        }
        if is_last {
            context.settle();
        }
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        context: &mut Box<Context>,
        error: Box<Error>,
    ) -> Box<Error> {
        let again = judge::failure(context, &error) == Next::Retry;
        retry(error, again)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        _: &mut Session,
        error: Box<Error>,
        context: &mut Box<Context>,
        reused: bool,
    ) -> Box<Error> {
        let is_decided = context.attempts.next.is_some() || context.answer.is_some();
        if is_decided {
            let again = context.attempts.next.is_some();
            return retry(error, again);
        }
        if *error.esource() == ErrorSource::Downstream {
            context.count_result(AttemptResult::Cancelled);
            return retry(error, false);
        }
        if context.attempts.committed {
            judge::broken(context);
            context.outcome = Some(Outcome::Broken);
            return retry(error, false);
        }
        let is_stale = reused && matches!(error.retry, RetryType::ReusedOnly);
        if is_stale && context.is_replayable() {
            context.attempts.stale = true;
            return retry(error, true);
        }
        let again = judge::failure(context, &error) == Next::Retry;
        retry(error, again)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, context: &mut Box<Context>) -> FailToProxy {
        let is_over = FailToProxy { error_code: 0, can_reuse_downstream: false };
        if session.response_written().is_some_and(|head| !head.status.is_informational()) {
            return is_over;
        }
        if *error.esource() == ErrorSource::Downstream && context.answer.is_none() {
            let Some(refusal) = refusal(error.etype()) else { return is_over };
            context.answer = Some(refusal);
        }
        let answer = context.answer.take().unwrap_or(Answer::Internal);
        let error_code = answer.status();
        session.set_keepalive(None);
        if self.answer(session, context, answer).await.is_err() {
            context.outcome = Some(Outcome::Cancelled);
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Box<Context>) {
        self.record(session, error, context);
    }

    // Pingora's own lines hold the full path, which may hold a token.

    fn suppress_error_log(&self, _: &Session, _: &Box<Context>, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Box<Context>, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }

    fn request_summary(&self, _: &Session, context: &Box<Context>) -> String {
        format!("request {}", context.request_id.as_deref().unwrap_or_default())
    }
}

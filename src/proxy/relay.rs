//! What goes back to the client: the provider's answer, without what is between keyweir and the provider.

use std::time::Instant;

use async_trait::async_trait;
use http::header::{
    ALT_SVC, CONNECTION, CONTENT_TYPE, HeaderName, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::{HttpModule, HttpModuleBuilder, HttpModuleCtx, HttpModules, Module};
use pingora::prelude::*;

use super::context::Context;
use super::{cors, names};

/// Edits the answer's head and marks the request as committed: nothing is retried any more.
///
/// It is edited as plain parts: Pingora's own type would parse every name set here.
pub(super) fn head(head: &mut ResponseHeader, request: &RequestHeader, context: &mut Context) -> Result<()> {
    context.times.first_byte.get_or_insert_with(Instant::now);
    context.attempts.committed = true;
    context.attempts.status = head.status.as_u16();
    let blank = ResponseHeader::from(Response::new(()).into_parts().0);
    let mut parts = Parts::from(std::mem::replace(head, blank));
    strip(&mut parts);
    introduce(&mut parts.headers, context)?;
    *head = parts.into();
    match context.edge.as_ref().and_then(|edge| cors::allowed_origin(&edge.cors, &request.headers)) {
        Some(origin) => cors::allow(head, origin),
        None => Ok(()),
    }
}

/// Adds what keyweir tells of the request.
fn introduce(headers: &mut HeaderMap, context: &mut Context) -> Result<()> {
    let id = HeaderValue::from_str(&context.request_id());
    headers.insert(names::X_REQUEST_ID, id.or_err(InternalError, "the request id is no header text")?);
    headers.insert(names::KEYWEIR_ATTEMPTS, context.attempts.count.into());
    if let Some(pool) = context.pool() {
        headers.insert(names::KEYWEIR_POOL, pool.name.clone());
    }
    if let Some(key) = context.key()
        && context.client.as_ref().is_some_and(|client| client.reveals_key())
    {
        let name = HeaderValue::from_str(&key.name);
        headers.insert(names::KEYWEIR_KEY, name.or_err(InternalError, "the key's name is no header text")?);
    }
    if headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream")) {
        context.answered.is_event_stream();
        headers.insert(names::X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    }
    Ok(())
}

/// Takes out what is of the provider's account, or of its connection.
fn strip(parts: &mut Parts) {
    let is_switch = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    let headers = &mut parts.headers;
    if let Some(id) = headers.remove(names::X_REQUEST_ID) {
        headers.insert(names::X_UPSTREAM_REQUEST_ID, id);
    }
    let dropped: Vec<_> = headers.keys().filter(|name| is_dropped(name, is_switch)).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
}

/// A switch of protocols needs two of the connection's headers.
fn is_dropped(name: &HeaderName, is_switch: bool) -> bool {
    match *name {
        SET_COOKIE | ALT_SVC | TRAILER | TE => return true,
        CONNECTION | UPGRADE => return !is_switch,
        _ => {}
    }
    let name = name.as_str();
    matches!(name, "keep-alive" | "proxy-connection" | "openai-organization" | "openai-project")
        || name.starts_with("x-ratelimit-")
        || name.starts_with("keyweir-")
}

/// The module for a client of HTTP/1.0, which doesn't know chunks. Pingora adds `Transfer-Encoding` after every other
/// filter, so it is taken out here, and the body ends with the connection instead.
pub(super) fn without_chunks() -> HttpModuleCtx {
    let mut modules = HttpModules::new();
    modules.add_module(Box::new(NoChunks));
    modules.build_ctx()
}

struct NoChunks;

impl HttpModuleBuilder for NoChunks {
    fn init(&self) -> Module {
        Box::new(NoChunks)
    }
}

#[async_trait]
impl HttpModule for NoChunks {
    async fn response_header_filter(&mut self, head: &mut ResponseHeader, _: bool) -> Result<()> {
        head.remove_header(&TRANSFER_ENCODING);
        Ok(())
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }
}

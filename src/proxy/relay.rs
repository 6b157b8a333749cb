//! What goes back to the client: the provider's answer, without what is between keyweir and the provider.

use std::time::Instant;

use async_trait::async_trait;
use http::header::{
    ALT_SVC, CONNECTION, CONTENT_TYPE, HeaderName, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderValue, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::{HttpModule, HttpModuleBuilder, Module};
use pingora::prelude::*;

use super::context::Context;
use super::{cors, names};

/// Edits the answer's head and marks the request as committed: nothing is retried any more.
///
/// # Errors
/// If a header can't be built.
pub(super) fn head(head: &mut ResponseHeader, request: &RequestHeader, context: &mut Context) -> Result<()> {
    context.times.first_byte.get_or_insert_with(Instant::now);
    context.attempts.committed = true;
    context.attempts.status = head.status.as_u16();
    strip(head)?;
    head.insert_header(names::X_REQUEST_ID, &*context.request_id())?;
    head.insert_header(names::KEYWEIR_ATTEMPTS, context.attempts.count)?;
    if let Some(pool) = context.pool() {
        head.insert_header(names::KEYWEIR_POOL, pool.name.clone())?;
    }
    if let Some(key) = context.key()
        && context.client.as_ref().is_some_and(|client| client.reveals_key())
    {
        head.insert_header(names::KEYWEIR_KEY, &*key.name)?;
    }
    let is_stream = |value: &HeaderValue| value.as_bytes().starts_with(b"text/event-stream");
    if head.headers.get(CONTENT_TYPE).is_some_and(is_stream) {
        context.answered.is_event_stream();
        head.insert_header(names::X_ACCEL_BUFFERING, "no")?;
    }
    if let Some(origin) = context.edge.as_ref().and_then(|edge| cors::allowed_origin(&edge.cors, &request.headers)) {
        cors::allow(head, origin)?;
    }
    Ok(())
}

fn strip(head: &mut ResponseHeader) -> Result<()> {
    let is_switch = head.status == StatusCode::SWITCHING_PROTOCOLS;
    if let Some(id) = head.remove_header(&names::X_REQUEST_ID) {
        head.insert_header(names::X_UPSTREAM_REQUEST_ID, id)?;
    }
    let dropped: Vec<HeaderName> = head.headers.keys().filter(|name| is_dropped(name, is_switch)).cloned().collect();
    for name in &dropped {
        head.remove_header(name);
    }
    Ok(())
}

/// Of the provider's account, or of its connection. A switch of protocols needs two of the latter.
fn is_dropped(name: &HeaderName, is_switch: bool) -> bool {
    const KNOWN: [HeaderName; 4] = [SET_COOKIE, ALT_SVC, TRAILER, TE];
    if KNOWN.contains(name) || (!is_switch && (*name == CONNECTION || *name == UPGRADE)) {
        return true;
    }
    let name = name.as_str();
    matches!(name, "keep-alive" | "proxy-connection" | "openai-organization" | "openai-project")
        || name.starts_with("x-ratelimit-")
        || name.starts_with("keyweir-")
}

/// HTTP/1.0 clients don't know chunks. Pingora adds `Transfer-Encoding` after every other filter, so it is taken out
/// here, and the body ends with the connection instead.
pub(super) struct NoChunksForHttp10;

impl HttpModuleBuilder for NoChunksForHttp10 {
    fn init(&self) -> Module {
        Box::new(Http10 { is_client_http10: false })
    }
}

struct Http10 {
    is_client_http10: bool,
}

#[async_trait]
impl HttpModule for Http10 {
    async fn request_header_filter(&mut self, request: &mut RequestHeader) -> Result<()> {
        self.is_client_http10 = request.version == Version::HTTP_10;
        Ok(())
    }

    async fn response_header_filter(&mut self, head: &mut ResponseHeader, _: bool) -> Result<()> {
        if self.is_client_http10 {
            head.remove_header(&TRANSFER_ENCODING);
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }
}

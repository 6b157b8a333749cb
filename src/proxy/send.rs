//! What goes upstream: the client's request without anything that identifies the client, with the key's credential.
//!
//! Pingora's custom path passes the client's head on as it came, so everything is set here: version, path, `Host`,
//! framing. Nothing hop-by-hop and no credential of the client survives.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderName,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use pingora::http::RequestHeader;
use pingora::prelude::*;

use super::authenticate::without_token;
use super::context::{Body, Context};
use super::edge::EdgePool;
use super::model::{self, Asked};
use super::route::Route;
use crate::config::Models;
use crate::upstream::Target;

/// Makes the client's head into the one sent upstream.
///
/// It is edited as plain parts: Pingora's own type keeps a second map of how the client spelled the names and would parse
/// every name set here.
///
/// # Errors
/// If the context is incomplete or the path can't be set.
pub(super) fn prepare(request: &mut RequestHeader, context: &Context) -> Result<()> {
    let incomplete = || "the context is incomplete";
    let (pool, target) = context.pool().zip(context.attempts.target.as_ref()).or_err_with(InternalError, incomplete)?;
    let route = context.route.as_ref().or_err_with(InternalError, incomplete)?;
    let lease = context.attempts.lease.as_ref().or_err_with(InternalError, incomplete)?;
    let credential = pool.entry.credential(lease.index()).or_err_with(InternalError, incomplete)?;

    let blank = RequestHeader::from(Request::new(()).into_parts().0);
    let mut sent = Parts::from(std::mem::replace(request, blank));
    sent.version = Version::HTTP_11;
    let names = (&context.asked, &pool.entry.config.models);
    sent.uri = upstream_uri(route, target, &sent.uri, names)?;
    strip(&mut sent.headers, matches!(context.body, Body::Tunnel));
    frame(&mut sent, &context.body, context.attempts.current.as_ref().map_or(0, |attempt| attempt.body.len()));
    sent.headers.insert(HOST, target.host.clone());
    // The first-event gate and the verdict read the answer's text.
    sent.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    add_defaults(&mut sent.headers, pool);
    for (name, value) in pool.entry.config.headers.iter().chain(credential.headers) {
        sent.headers.insert(name, value.clone());
    }
    sent.headers.insert(pool.entry.config.auth().header(), credential.value.clone());
    *request = sent.into();
    if let Some(attempt) = &context.attempts.current {
        attempt.clone().attach(request);
    }
    Ok(())
}

/// The target's path takes the place of the client's `/v1`; a rooted path keeps its own.
fn upstream_uri(route: &Route, target: &Target, uri: &Uri, (asked, models): (&Asked, &Models)) -> Result<Uri> {
    let prefix = if route.is_rooted { "" } else { target.path.as_str() };
    let rest = route.rest(uri.path());
    let rest = if prefix.is_empty() && rest.is_empty() { "/" } else { rest };
    let rest = model::spliced_path(rest, asked, models);
    let query = uri.query().map(|query| model::spliced_query(query, asked, models));
    let path = match query.as_deref().and_then(without_token) {
        Some(query) => [prefix, &rest, "?", &query].concat(),
        None => [prefix, &rest].concat(),
    };
    PathAndQuery::try_from(path).map(Uri::from).explain_err(InvalidHTTPHeader, |_| "the path is not valid")
}

/// Takes out what must not go upstream.
fn strip(headers: &mut HeaderMap, is_tunnel: bool) {
    let nominated = nominated(headers);
    let is_switch = |name: &HeaderName| is_tunnel && matches!(*name, CONNECTION | UPGRADE);
    let is_dropped = |name: &HeaderName| is_private(name) || (nominated.contains(name) && !is_set_anew(name));
    let dropped: Vec<_> = headers.keys().filter(|name| is_dropped(name) && !is_switch(name)).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
}

/// Headers that `Connection` declares to be for this hop only (RFC 9110 §7.6.1).
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let Some(first) = headers.get(CONNECTION) else { return Vec::new() };
    // The two values nearly every client sends name no header.
    if matches!(first.as_bytes(), b"keep-alive" | b"close") {
        return Vec::new();
    }
    let values = headers.get_all(CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

/// Overwritten or framed anew, so that it need not be taken out.
fn is_set_anew(name: &HeaderName) -> bool {
    matches!(*name, HOST | CONTENT_LENGTH | ACCEPT_ENCODING)
}

/// Hop-by-hop, or telling of the client or its credentials.
fn is_private(name: &HeaderName) -> bool {
    // Known names compare as small numbers; only unknown ones are compared as text.
    match *name {
        AUTHORIZATION | PROXY_AUTHORIZATION | COOKIE | FORWARDED | VIA | CONNECTION | TE | TRAILER
        | TRANSFER_ENCODING | UPGRADE | EXPECT => return true,
        _ => {}
    }
    let name = name.as_str();
    matches!(
        name,
        "x-api-key"
            | "x-goog-api-key"
            | "api-key"
            | "openai-organization"
            | "openai-project"
            | "x-real-ip"
            | "x-request-id"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
    ) || name.starts_with("x-forwarded-")
}

/// Headers the provider's protocol needs, where the client did not choose its own.
fn add_defaults(headers: &mut HeaderMap, pool: &EdgePool) {
    for (name, value) in &pool.entry.config.provider.headers {
        headers.entry(name).or_insert_with(|| value.clone());
    }
}

/// States how long the body is; `length` is that of one that is held, as it is sent.
fn frame(sent: &mut Parts, body: &Body, length: usize) {
    let length = match body {
        Body::Buffered(_) => length,
        Body::Empty if matches!(sent.method, Method::POST | Method::PUT | Method::PATCH) => 0,
        Body::Empty | Body::Tunnel => {
            sent.headers.remove(CONTENT_LENGTH);
            return;
        }
        // A declared length stays true; without one the body goes on in chunks.
        Body::Streamed { .. } => {
            if !sent.headers.contains_key(CONTENT_LENGTH) {
                sent.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            return;
        }
    };
    sent.headers.insert(CONTENT_LENGTH, length.into());
}

/// Puts what was read ahead of a streamed body in front of its next piece, and counts what passes.
///
/// # Errors
/// With status 413 once the body exceeds `limit` bytes.
pub(super) fn stream_body(context: &mut Context, piece: &mut Option<Bytes>, limit: usize) -> Result<()> {
    let Body::Streamed { read_ahead, passed } = &mut context.body else { return Ok(()) };
    if !read_ahead.is_empty() {
        let mut joined = Vec::with_capacity(read_ahead.len() + piece.as_ref().map_or(0, Bytes::len));
        joined.extend_from_slice(&std::mem::take(read_ahead));
        joined.extend_from_slice(piece.as_deref().unwrap_or_default());
        *piece = Some(joined.into());
    }
    *passed += piece.as_ref().map_or(0, |piece| piece.len() as u64);
    if *passed > limit as u64 {
        context.answer = Some(super::answer::Answer::RequestTooLarge(limit));
        return Error::e_explain(HTTPStatus(413), "the streamed body exceeds limits.body");
    }
    Ok(())
}

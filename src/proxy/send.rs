//! What goes upstream: the client's request without anything that identifies the client, with the key's credential.
//!
//! Pingora's custom path passes the client's head on as it came, so everything is set here: version, path, `Host`,
//! framing. Nothing hop-by-hop and no credential of the client survives.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderName,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderValue, Method, Version};
use pingora::http::RequestHeader;
use pingora::prelude::*;

use super::authenticate::without_token;
use super::context::{Body, Context};
use super::edge::EdgePool;
use super::route::Route;
use crate::upstream::Target;

/// Makes the client's head into the one sent upstream.
///
/// # Errors
/// If the context is incomplete or the path can't be set.
pub(super) fn prepare(request: &mut RequestHeader, context: &Context) -> Result<()> {
    let (pool, target) = context.pool().zip(context.attempts.target.as_ref()).or_err(InternalError, "no target")?;
    let route = context.route.as_ref().or_err(InternalError, "no route")?;
    let lease = context.attempts.lease.as_ref().or_err(InternalError, "no key")?;
    let credential = pool.entry.credential(lease.index()).or_err(InternalError, "no credential")?;

    let path = upstream_path(route, target, request.uri.query());
    request.set_version(Version::HTTP_11);
    request.set_raw_path(path.as_bytes())?;
    strip(request, matches!(context.body, Body::Tunnel));
    // What is inserted here takes the place of the client's own.
    request.insert_header(HOST, target.host.clone())?;
    frame(request, context)?;

    add_defaults(request, pool)?;
    for (name, value) in pool.entry.config.headers.iter().chain(&credential.headers) {
        request.insert_header(name.clone(), value.clone())?;
    }
    let auth = pool.entry.config.provider.auth.header();
    if auth != AUTHORIZATION {
        request.remove_header(&AUTHORIZATION);
    }
    request.insert_header(auth, credential.value.clone())?;
    if let Some(attempt) = &context.attempts.current {
        attempt.clone().attach(request);
    }
    Ok(())
}

/// The target's path takes the place of the client's `/v1`; a rooted path keeps its own.
fn upstream_path(route: &Route, target: &Target, query: Option<&str>) -> String {
    let prefix = if route.is_rooted { "" } else { target.path.as_str() };
    let rest = if prefix.is_empty() && route.rest.is_empty() { "/" } else { route.rest.as_str() };
    match query.and_then(without_token) {
        Some(query) => format!("{prefix}{rest}?{query}"),
        None => format!("{prefix}{rest}"),
    }
}

fn strip(request: &mut RequestHeader, is_tunnel: bool) {
    let nominated = nominated(&request.headers);
    let is_dropped = |name: &HeaderName| {
        let is_switch = *name == CONNECTION || *name == UPGRADE;
        !(is_tunnel && is_switch) && (is_private(name) || nominated.contains(name))
    };
    let dropped: Vec<HeaderName> = request.headers.keys().filter(|name| is_dropped(name)).cloned().collect();
    for name in &dropped {
        request.remove_header(name);
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

/// Hop-by-hop, or telling of the client or its credentials.
fn is_private(name: &HeaderName) -> bool {
    // Known names compare as small numbers; only unknown ones are compared as text.
    const KNOWN: [HeaderName; 10] =
        [PROXY_AUTHORIZATION, COOKIE, FORWARDED, VIA, CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, EXPECT];
    if KNOWN.contains(name) {
        return true;
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
fn add_defaults(request: &mut RequestHeader, pool: &EdgePool) -> Result<()> {
    for &(name, value) in pool.entry.config.provider.headers {
        if !request.headers.contains_key(name) {
            request.insert_header(name, value)?;
        }
    }
    Ok(())
}

fn frame(request: &mut RequestHeader, context: &Context) -> Result<()> {
    // The first-event gate and the verdict read the answer's text.
    request.insert_header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))?;
    match &context.body {
        Body::Buffered(body) => request.insert_header(CONTENT_LENGTH, body.len())?,
        Body::Empty if matches!(request.method, Method::POST | Method::PUT | Method::PATCH) => {
            request.insert_header(CONTENT_LENGTH, 0)?;
        }
        // A declared length stays true; otherwise the body goes on as it came, in chunks.
        Body::Streamed { .. } if request.headers.contains_key(CONTENT_LENGTH) => {}
        Body::Streamed { .. } => request.insert_header(TRANSFER_ENCODING, "chunked")?,
        Body::Empty | Body::Tunnel => {
            request.remove_header(&CONTENT_LENGTH);
        }
    }
    Ok(())
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

//! What goes upstream: the client's request without anything that identifies the client, with the key's credential.
//!
//! Pingora's custom path passes the client's head on as it came, so everything is set here: version, path, `Host`,
//! framing. Nothing hop-by-hop and no credential of the client survives.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderName,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
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

    let path = upstream_path(route, target, &request.uri);
    let mut sent = kept(request, &path, matches!(context.body, Body::Tunnel))?;
    sent.insert_header(HOST, target.host.clone())?;
    frame(&mut sent, &request.headers, context)?;
    add_defaults(&mut sent, pool)?;
    for (name, value) in pool.entry.config.headers.iter().chain(&credential.headers) {
        sent.insert_header(name.clone(), value.clone())?;
    }
    sent.insert_header(pool.entry.config.provider.auth.header(), credential.value.clone())?;
    *request = sent;
    if let Some(attempt) = &context.attempts.current {
        attempt.clone().attach(request);
    }
    Ok(())
}

/// The target's path takes the place of the client's `/v1`; a rooted path keeps its own.
fn upstream_path(route: &Route, target: &Target, uri: &Uri) -> String {
    let prefix = if route.is_rooted { "" } else { target.path.as_str() };
    let rest = route.rest(uri.path());
    let rest = if prefix.is_empty() && rest.is_empty() { "/" } else { rest };
    match uri.query().and_then(without_token) {
        Some(query) => format!("{prefix}{rest}?{query}"),
        None => format!("{prefix}{rest}"),
    }
}

/// A head with what may stay of the client's. Built anew, which is cheaper than taking headers out of Pingora's two maps.
fn kept(request: &RequestHeader, path: &str, is_tunnel: bool) -> Result<RequestHeader> {
    let nominated = nominated(&request.headers);
    let mut kept =
        RequestHeader::build_no_case(request.method.clone(), path.as_bytes(), Some(request.headers.len() + 4))?;
    kept.set_version(Version::HTTP_11);
    for (name, value) in &request.headers {
        let is_switch = is_tunnel && (*name == CONNECTION || *name == UPGRADE);
        if is_switch || !(is_private(name) || nominated.contains(name)) {
            kept.append_header(name.clone(), value.clone())?;
        }
    }
    Ok(kept)
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

/// Hop-by-hop, telling of the client or its credentials, or set anew.
fn is_private(name: &HeaderName) -> bool {
    // Known names compare as small numbers; only unknown ones are compared as text.
    const KNOWN: [HeaderName; 14] = [
        HOST,
        CONTENT_LENGTH,
        ACCEPT_ENCODING,
        AUTHORIZATION,
        PROXY_AUTHORIZATION,
        COOKIE,
        FORWARDED,
        VIA,
        CONNECTION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        EXPECT,
    ];
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
    for (name, value) in &pool.entry.config.provider.headers {
        if !request.headers.contains_key(name) {
            request.insert_header(name, value)?;
        }
    }
    Ok(())
}

fn frame(request: &mut RequestHeader, client: &HeaderMap, context: &Context) -> Result<()> {
    // The first-event gate and the verdict read the answer's text.
    request.insert_header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))?;
    match &context.body {
        Body::Buffered(body) => request.insert_header(CONTENT_LENGTH, body.len()),
        Body::Empty if matches!(request.method, Method::POST | Method::PUT | Method::PATCH) => {
            request.insert_header(CONTENT_LENGTH, 0)
        }
        Body::Empty | Body::Tunnel => Ok(()),
        // A declared length stays true; without one the body goes on in chunks.
        Body::Streamed { .. } => match client.get(CONTENT_LENGTH) {
            Some(length) => request.insert_header(CONTENT_LENGTH, length.clone()),
            None => request.insert_header(TRANSFER_ENCODING, "chunked"),
        },
    }
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

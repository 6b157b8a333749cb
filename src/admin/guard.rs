//! What every admin request must pass: a `Host` this server goes by, and what its route needs.
//!
//! The `Host` rule stops DNS rebinding: a page on the web can make a browser resolve its own name to 127.0.0.1, but it
//! cannot make the browser send `Host: localhost`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::identity;
use super::problem::Problem;
use super::router::AdminState;
use super::routes::Need;
use crate::config::TokenDigest;

/// Nothing here is meant to be framed, sniffed, cached or embedded by other pages.
const SECURITY_HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::CONTENT_SECURITY_POLICY, NOTHING),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];
/// What an answer that is no page may load.
const NOTHING: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// What the console's pages may load: what comes from here, in files of its own.
const OWN_FILES: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
                         connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
                         frame-ancestors 'none'";

/// Middleware: security headers on every answer. Only a file that says so itself is cached.
pub(super) async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html")) {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(OWN_FILES));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Middleware: 421 unless the request names this server.
pub(super) async fn check_host(State(state): State<Arc<AdminState>>, request: Request, next: Next) -> Response {
    if names_us(&request, &state.access.load().hosts) {
        return next.run(request).await;
    }
    let detail = "this Host is not served here: use localhost or an IP address, or add the name to server.admin.hosts";
    Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", detail).into_response()
}

/// Middleware: refuses callers who don't have what the route needs, and tells the handler who the others are.
pub(super) async fn authorize(
    State((state, need)): State<(Arc<AdminState>, Need)>,
    mut request: Request,
    next: Next,
) -> Response {
    match identity::admit(&state, need, &request) {
        Ok(identity) => {
            identity.and_then(|identity| request.extensions_mut().insert(identity));
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Whether `headers` bear the token with this digest.
pub(super) fn carries(headers: &HeaderMap, expected: &TokenDigest) -> bool {
    identity::bearer(headers).is_some_and(|token| TokenDigest::of(token) == *expected)
}

fn names_us(request: &Request, hosts: &[String]) -> bool {
    let mut values = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (values.next(), values.next()) else { return false };
    let Ok(host) = Authority::try_from(host.as_bytes()) else { return false };
    is_ours(&host, hosts) && request.uri().authority().is_none_or(|target| is_ours(target, hosts))
}

fn is_ours(authority: &Authority, hosts: &[String]) -> bool {
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let listed = |entry: &String| entry.eq_ignore_ascii_case(host) || entry.eq_ignore_ascii_case(authority.as_str());
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok() || hosts.iter().any(listed)
}

//! Cross-origin requests from browsers, where the operator allows them.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;

use crate::config::Cors;

/// The value of `Access-Control-Allow-Origin` for this request, if it is allowed one.
pub(super) fn allowed_origin(cors: &Cors, headers: &HeaderMap) -> Option<HeaderValue> {
    if *cors == Cors::Off {
        return None;
    }
    let origin = headers.get(ORIGIN)?;
    match cors {
        Cors::Off => None,
        Cors::Any => Some(HeaderValue::from_static("*")),
        Cors::List(list) => list.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone()),
    }
}

/// A browser asking beforehand whether it may ask.
pub(super) fn is_preflight(request: &RequestHeader) -> bool {
    request.method == Method::OPTIONS && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight. It needs no token: browsers send none with it.
///
/// # Errors
/// Only if a header can't be built.
pub(super) fn preflight(request: &RequestHeader, origin: HeaderValue) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(204, Some(6))?;
    allow(&mut head, origin)?;
    head.insert_header(ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, PATCH, DELETE, OPTIONS")?;
    if let Some(wanted) = request.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        head.insert_header(ACCESS_CONTROL_ALLOW_HEADERS, wanted)?;
    }
    head.insert_header(ACCESS_CONTROL_MAX_AGE, "86400")?;
    Ok(head)
}

/// Marks an answer as readable by that origin.
///
/// # Errors
/// Only if a header can't be built.
pub(super) fn allow(head: &mut ResponseHeader, origin: HeaderValue) -> Result<()> {
    head.insert_header(ACCESS_CONTROL_ALLOW_ORIGIN, origin)?;
    head.insert_header(ACCESS_CONTROL_EXPOSE_HEADERS, "*")?;
    head.append_header(VARY, "Origin")?;
    Ok(())
}

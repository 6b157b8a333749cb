//! Paths the proxy listener answers itself: what this is, and whether it works.

use bytes::Bytes;
use http::Method;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::*;

use crate::telemetry::Readiness;

/// The answer to `/`, `/livez` or `/readyz`, if the request asks for one of them.
pub(super) fn respond(request: &RequestHeader, readiness: &Readiness) -> Option<Result<(ResponseHeader, Bytes)>> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return None;
    }
    let is_verbose = request.uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("verbose")));
    let (status, kind, text) = match request.uri.path() {
        "/" => (200, "text/html; charset=utf-8", WELCOME.to_owned()),
        "/livez" => (200, "text/plain; charset=utf-8", "ok\n".to_owned()),
        "/readyz" => {
            let report = readiness.report(None, is_verbose);
            (report.status, "text/plain; charset=utf-8", report.body)
        }
        _ => return None,
    };
    Some(head(status, kind, text.len()).map(|head| (head, text.into())))
}

fn head(status: u16, kind: &str, length: usize) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(status, Some(4))?;
    head.insert_header("content-type", kind)?;
    head.insert_header("content-length", length)?;
    head.insert_header("cache-control", "no-store")?;
    head.insert_header("content-security-policy", "default-src 'none'")?;
    Ok(head)
}

const WELCOME: &str = "<!doctype html><title>keyweir</title><h1>keyweir</h1>\
<p>This is the proxy address of keyweir. Point an OpenAI-compatible client at <code>/v1</code> here, with a client token.\
<p>The admin address, by default port 8081 of this machine, shows the state of the pools.\n";

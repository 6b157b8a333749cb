//! The console's files, as they were built into the binary (`build.rs`), compressed beforehand.
//!
//! A file whose name holds a hash of its content is cached for ever; the page itself is asked for anew each time and
//! answered by its `ETag`. Paths of the console that are no files are its pages, and all of them are one document.

use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use once_cell::sync::Lazy;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::answer::Shaped;
use super::extract::Path;
use super::openapi::{Operation, Output};
use super::problem::Problem;

/// One file of the console.
struct File {
    name: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
    brotli: &'static [u8],
}

static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/console.rs"));
const INDEX: &str = "index.html";
const HTML: &str = "text/html; charset=utf-8";
/// Media types by the endings of names.
const KINDS: [(&str, &str); 4] = [
    ("html", HTML),
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("svg", "image/svg+xml"),
];
const UNKNOWN: &str = "application/octet-stream";
/// Below it are the files with a hash in their names.
const HASHED: &str = "assets/";
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_FIRST: HeaderValue = HeaderValue::from_static("no-cache");

static INDEX_TAG: Lazy<String> = Lazy::new(|| {
    let digest = Sha256::digest(find(INDEX).map_or(&[][..], |file| file.plain));
    format!("\"{}\"", digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>())
});

fn find(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

/// The console's document, or that it is the one the browser knows.
pub(super) struct Page;

impl Output for Page {
    fn describe(operation: &mut Operation<'_>) {
        operation.gives(StatusCode::OK, [(HTML, json!({"type": "string"}))]);
        operation.gives(StatusCode::NOT_MODIFIED, []);
    }
}

/// One of the console's files, or its document.
pub(super) struct Content;

impl Output for Content {
    fn describe(operation: &mut Operation<'_>) {
        Page::describe(operation);
        let kinds = KINDS.iter().map(|(_, kind)| *kind).chain([UNKNOWN]);
        operation.gives(StatusCode::OK, kinds.map(|kind| (kind, json!({"type": "string"}))));
    }
}

/// `/` and the console's pages.
pub(super) async fn page(headers: HeaderMap) -> Shaped<Page> {
    Shaped::new(document(&headers))
}

/// A file, or else the page: which pages there are is known to the console alone.
pub(super) async fn below(Path(name): Path<String>, headers: HeaderMap) -> Result<Shaped<Content>, Problem> {
    match find(&name).filter(|file| file.name != INDEX) {
        Some(file) if name.starts_with(HASHED) => Ok(Shaped::new(content(file, &headers, FOR_EVER))),
        Some(file) => Ok(Shaped::new(content(file, &headers, ASK_FIRST))),
        None if name.starts_with(HASHED) => Err(Problem::not_found("this version's console has no such file")),
        None => Ok(Shaped::new(document(&headers))),
    }
}

fn document(headers: &HeaderMap) -> Response {
    let Some(index) = find(INDEX) else { return unbuilt().into_response() };
    let tag = HeaderValue::from_str(&INDEX_TAG).unwrap_or(HeaderValue::from_static("\"\""));
    let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| *known == tag);
    let mut response =
        if is_known { StatusCode::NOT_MODIFIED.into_response() } else { content(index, headers, ASK_FIRST) };
    // A 304's headers take the place of those that were kept, the policy for pages among them.
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind(INDEX)));
    response.headers_mut().insert(header::ETAG, tag);
    response.headers_mut().insert(header::CACHE_CONTROL, ASK_FIRST);
    response
}

fn content(file: &'static File, headers: &HeaderMap, cache: HeaderValue) -> Response {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (bytes, encoding) = match () {
        () if accepts(accepted, "br") => (file.brotli, Some("br")),
        () if accepts(accepted, "gzip") => (file.gzip, Some("gzip")),
        () => (file.plain, None),
    };
    let mut response = bytes.into_response();
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind(file.name)));
    answer.insert(header::CACHE_CONTROL, cache);
    answer.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    encoding.map(|encoding| answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding)));
    response
}

/// Whether a coding is named and not refused by `q=0`.
fn accepts(accepted: &str, coding: &str) -> bool {
    accepted.split(',').any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        parts.next() == Some(coding)
            && !parts.any(|part| part.strip_prefix("q=").is_some_and(|weight| weight.parse() == Ok(0.0)))
    })
}

fn kind(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    KINDS.iter().find(|(known, _)| Some(*known) == ending).map_or(UNKNOWN, |(_, kind)| kind)
}

fn unbuilt() -> Html<&'static str> {
    Html(concat!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>keyweir</title>\n",
        "<h1>keyweir ",
        env!("CARGO_PKG_VERSION"),
        "</h1>\n",
        "<p>This is the admin listener of a keyweir that was built without its console. With Node.js, <code>make ui</code> \
         builds it, and the next <code>cargo build</code> takes it in; until then there are:</p>\n",
        "<ul>\n<li><a href=\"/livez\">/livez</a>, <a href=\"/readyz?verbose\">/readyz</a>, ",
        "<a href=\"/health\">/health</a>, <a href=\"/info\">/info</a>\n",
        "<li>with the admin token as bearer: /stats, /blacklist, /balance, /api/v1/pools, ",
        "/api/v1/pools/NAME/keys, POST /api/v1/reload\n</ul>\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coding_is_sent_to_whoever_takes_it() {
        assert!(accepts("gzip, deflate, br", "br"));
        assert!(accepts("br;q=0.5", "br"));
        for refused in ["", "gzip", "br;q=0", "br; q=0.0", "brotli"] {
            assert!(!accepts(refused, "br"), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn a_missing_asset_is_no_page() {
        let gone = below(Path("assets/gone-12345678.js".into()), HeaderMap::new()).await.into_response();
        assert_eq!(gone.status(), StatusCode::NOT_FOUND);
        let deep = below(Path("keys".into()), HeaderMap::new()).await.into_response();
        assert_eq!(deep.status(), StatusCode::OK);
        assert_eq!(deep.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    }
}

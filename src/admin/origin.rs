//! Where a browser's request comes from: the console's own pages, or somebody else's.
//!
//! A cookie is sent whoever's page makes the browser ask, so what a cookie vouches for is done only for our own pages.
//! Browsers say it in `Sec-Fetch-Site`; those that don't, and pages loaded without TLS, send `Origin`.

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::problem::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request that changes something unless it certainly comes from our own pages.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Problem> {
    match is_ours(headers) {
        Some(true) => Ok(()),
        _ => Err(foreign()),
    }
}

/// Refuses a request that certainly comes from somebody else's page.
pub(super) fn check_if_told(headers: &HeaderMap) -> Result<(), Problem> {
    match is_ours(headers) {
        Some(false) => Err(foreign()),
        _ => Ok(()),
    }
}

fn foreign() -> Problem {
    Problem::forbidden("a session counts only for requests from the console's own pages; programs send a bearer token")
}

/// `None` = nothing says it.
fn is_ours(headers: &HeaderMap) -> Option<bool> {
    match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
        Some(b"same-origin") => return Some(true),
        // The user asked for it, by address bar or bookmark.
        None | Some(b"none") => {}
        Some(_) => return Some(false),
    }
    let origin = headers.get(ORIGIN)?;
    let host = origin.as_bytes().strip_prefix(b"https://").or_else(|| origin.as_bytes().strip_prefix(b"http://"));
    Some(host.zip(headers.get(HOST)).is_some_and(|(theirs, ours)| theirs.eq_ignore_ascii_case(ours.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_pass() {
        for (site, origin, told) in [
            (Some("same-origin"), None, Some(true)),
            (Some("same-origin"), Some("https://keys.example.org:8081"), Some(true)),
            (None, Some("http://keys.example.org:8081"), Some(true)),
            (None, Some("https://KEYS.example.org:8081"), Some(true)),
            (Some("none"), Some("https://keys.example.org:8081"), Some(true)),
            (None, None, None),
            (Some("none"), None, None),
            (Some("same-site"), Some("https://keys.example.org:8081"), Some(false)),
            (Some("cross-site"), None, Some(false)),
            (Some("CROSS"), None, Some(false)),
            (None, Some("null"), Some(false)),
            (None, Some("https://keys.example.org"), Some(false)),
            (None, Some("https://keys.example.org:8081.evil.example"), Some(false)),
            (None, Some("https://evil.example/?keys.example.org:8081"), Some(false)),
        ] {
            let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("keys.example.org:8081"))]);
            headers.extend(site.map(|site| (SEC_FETCH_SITE, HeaderValue::from_static(site))));
            headers.extend(origin.map(|origin| (ORIGIN, HeaderValue::from_static(origin))));
            assert_eq!(is_ours(&headers), told, "{site:?} {origin:?}");
            assert_eq!(check(&headers).is_ok(), told == Some(true), "{site:?} {origin:?}");
            assert_eq!(check_if_told(&headers).is_ok(), told != Some(false), "{site:?} {origin:?}");
        }
    }
}

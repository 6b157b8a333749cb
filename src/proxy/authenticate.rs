//! Who is asking: the client token, in any form the providers' own clients send it.
//!
//! A token is looked up by its SHA-256 and compared in constant time, so neither the map nor the comparison tells how
//! much of a guess was right.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::answer::Answer;
use super::edge::Edge;
use crate::clients::Client;
use crate::telemetry::{AuthFailure, client_refused};

/// Headers of Anthropic's, Google's and Azure's clients that hold a bare key.
pub(super) const KEY_HEADERS: [&str; 3] = ["x-api-key", "x-goog-api-key", "api-key"];

/// Finds the client. `None` is an anonymous one, where those are served. Failures are counted and logged, with the
/// client's address.
///
/// # Errors
/// [`Answer::Unauthorized`] for no token or a wrong one, [`Answer::TokenExpired`].
pub(super) fn authenticate(
    edge: &Edge,
    headers: &HeaderMap,
    query: Option<&str>,
    address: Option<IpAddr>,
) -> Result<Option<Arc<Client>>, Answer> {
    let known = offered_tokens(headers, query).find_map(|token| edge.clients.find(token));
    match known {
        Some(client) if client.is_expired(SystemTime::now) => {
            client_refused(AuthFailure::Expired, address, Some(client.name()));
            Err(Answer::TokenExpired)
        }
        Some(client) => Ok(Some(client.clone())),
        None if edge.anonymous => Ok(None),
        None => {
            let is_missing = offered_tokens(headers, query).all(<[u8]>::is_empty);
            client_refused(if is_missing { AuthFailure::Missing } else { AuthFailure::Unknown }, address, None);
            Err(Answer::Unauthorized)
        }
    }
}

fn offered_tokens<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> impl Iterator<Item = &'a [u8]> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
    let bare = KEY_HEADERS.into_iter().filter_map(|name| headers.get(name)).map(|value| value.as_bytes());
    let in_query = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("key=")));
    bearer.into_iter().chain(bare).chain(in_query.map(str::as_bytes))
}

/// The token of a `Bearer` credential; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// The query without the client's token; `None` if nothing is left.
pub(super) fn without_token(query: &str) -> Option<String> {
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("key=") && *pair != "key").collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(headers: &[(&'static str, &str)], query: Option<&str>) -> Vec<String> {
        let headers = headers.iter().map(|(n, v)| (http::HeaderName::from_static(n), v.parse().unwrap())).collect();
        offered_tokens(&headers, query).map(|t| String::from_utf8_lossy(t).into_owned()).collect()
    }

    #[test]
    fn every_form_is_found() {
        assert_eq!(tokens(&[("authorization", "Bearer t")], None), ["t"]);
        assert_eq!(tokens(&[("authorization", "bearer  t ")], None), ["t"]);
        assert_eq!(tokens(&[("authorization", "Basic t")], None), [""; 0]);
        assert_eq!(tokens(&[("x-goog-api-key", "g"), ("api-key", "a"), ("x-api-key", "x")], None), ["x", "g", "a"]);
        assert_eq!(tokens(&[], Some("alt=sse&key=q")), ["q"]);
    }

    #[test]
    fn only_the_token_leaves_the_query() {
        assert_eq!(without_token("alt=sse&key=secret&n=1").as_deref(), Some("alt=sse&n=1"));
        assert_eq!(without_token("key=secret"), None);
        assert_eq!(without_token("monkey=1").as_deref(), Some("monkey=1"));
    }
}

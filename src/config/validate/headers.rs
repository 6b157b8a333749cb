//! Headers added upstream.

use http::{HeaderName, HeaderValue};

use super::{Context, secret};
use crate::config::problem::At;
use crate::config::raw::value::Headers;

/// Headers that keyweir itself must set for a request to be right.
const OWN: [&str; 7] =
    ["authorization", "host", "content-length", "transfer-encoding", "connection", "upgrade", "expect"];

/// Validates each header; values are marked sensitive, for some carry secrets.
pub(crate) fn headers(raw: &Headers, at: &At<'_>, context: &Context<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(raw.0.len());
    for (name, value) in &raw.0 {
        let at = at.field(name);
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            at.error("not a header's name; write letters, digits and dashes");
            continue;
        };
        if OWN.contains(&name.as_str()) {
            at.error("this header is set by keyweir itself; remove it");
            continue;
        }
        if headers.iter().any(|(other, _)| *other == name) {
            at.error("written twice in different case; remove one");
            continue;
        }
        let Some(text) = secret::resolve(value, &at, context) else { continue };
        match HeaderValue::from_str(&text) {
            Ok(mut value) => {
                value.set_sensitive(true);
                headers.push((name, value));
            }
            Err(_) => at.error("not a header's value; write visible ASCII characters in one line"),
        }
    }
    headers
}

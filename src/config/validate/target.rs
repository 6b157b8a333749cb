//! Upstream base URLs.

use http::Uri;
use http::uri::PathAndQuery;
use thiserror::Error;

use super::server::positive;
use crate::config::model::{Health, Target};
use crate::config::problem::At;
use crate::config::raw::pool as raw;

/// Reads a base URL; `None` = complained about.
pub(crate) fn target(url: &str, at: &At<'_>) -> Option<Target> {
    parse(url).map_err(|message| at.error(message)).ok()
}

/// The same with its settings.
pub(crate) fn target_with(full: &raw::Target, at: &At<'_>) -> Option<Target> {
    let health = health(&full.health, &at.field("health"));
    Some(Target { weight: full.weight as usize, health, ..target(&full.url, &at.field("url"))? })
}

/// Reads the URL of something to be fetched; `None` = complained about.
pub(crate) fn page(url: &str, at: &At<'_>) -> Option<Target> {
    Target::page(url).map_err(|message| at.error(message.0)).ok()
}

/// Why a URL can't be asked for.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct BadUrl(&'static str);

impl Target {
    /// The place that a URL names, its path whole and with the query.
    ///
    /// # Errors
    /// If it is no URL of a page.
    pub fn page(url: &str) -> Result<Self, BadUrl> {
        let (base, query) = url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
        let page = parse(base).map_err(BadUrl)?;
        let path = base.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|slash| rest.get(slash..)));
        let path = [path.unwrap_or("/"), query.map_or("", |_| "?"), query.unwrap_or_default()].concat();
        if path.parse::<PathAndQuery>().is_err() {
            return Err(BadUrl("not a URL that can be fetched; write e.g. https://example.com/generate_204"));
        }
        Ok(Self { path, ..page })
    }
}

fn health(raw: &raw::Health, at: &At<'_>) -> Health {
    let path_at = at.field("path");
    let path = raw.path.clone().filter(|path| {
        let is_path = path.starts_with('/') && path.parse::<PathAndQuery>().is_ok();
        if !is_path {
            path_at.error("not a path; write e.g. /health, which is asked for at the target's host");
        }
        is_path
    });
    Health { every: positive(raw.every, &at.field("every")), path }
}

fn parse(url: &str) -> Result<Target, &'static str> {
    const FORM: &str = "not a base URL; write https://HOST[:PORT][/PATH], e.g. https://api.example.com/v1";
    if url.contains('#') {
        return Err("a base URL has no fragment (#…); remove it");
    }
    let uri: Uri = url.parse().map_err(|_| FORM)?;
    let tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        Some(_) => return Err("must begin with https:// or http://"),
        None => return Err(FORM),
    };
    let authority = uri.authority().ok_or(FORM)?;
    if authority.as_str().contains('@') {
        return Err("a base URL has no user or password; the key belongs in the keys file");
    }
    if uri.query().is_some() {
        return Err("a base URL has no query (?…); remove it");
    }
    let (host, port) = authority.as_str().split_at_checked(authority.host().len()).ok_or(FORM)?;
    let port = match port.strip_prefix(':').map(str::parse::<u16>) {
        None if tls => 443,
        None => 80,
        Some(Ok(0)) => return Err("port 0 cannot be connected to"),
        Some(port) => port.map_err(|_| FORM)?,
    };
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).to_ascii_lowercase();
    if host.is_empty() {
        return Err(FORM);
    }
    let path = uri.path().trim_end_matches('/');
    if path.contains("//") || path.split('/').any(|part| part == "." || part == "..") {
        return Err("the path must not contain //, . or ..");
    }
    let path = if path.is_empty() { "/v1" } else { path };
    let health = Health { every: raw::Health::default().every.0, path: None };
    Ok(Target { tls, host, port, path: path.to_owned(), weight: 1, health })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_normalised() {
        let shown = |url| {
            let target = parse(url).unwrap();
            format!("{} {} {} {}", target.tls, target.authority(), target.port, target.path)
        };
        assert_eq!(shown("https://api.example.com"), "true api.example.com 443 /v1");
        assert_eq!(shown("https://API.example.com/"), "true api.example.com 443 /v1");
        assert_eq!(shown("http://[::1]:9000/v4/"), "false [::1]:9000 9000 /v4");
        assert_eq!(shown("http://127.0.0.1:80/compatible-mode/v1"), "false 127.0.0.1 80 /compatible-mode/v1");
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for url in [
            "",
            "api.example.com",
            "//api.example.com",
            "ftp://a/b",
            "https://user:pw@a/v1",
            "https://a/v1?key=1",
            "https://a/v1#x",
            "https://:443/v1",
            "https://a:/v1",
            "https://a:99999/v1",
            "https://a:0/v1",
            "https://a//v1",
            "https://a/../v1",
            "https:///v1",
            "https://a b/v1",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }
}

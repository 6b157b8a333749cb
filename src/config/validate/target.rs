//! Upstream base URLs.

use http::Uri;

use crate::config::model::Target;
use crate::config::problem::At;

/// Reads a base URL; `None` = complained about.
pub(crate) fn target(url: &str, weight: u32, at: &At<'_>) -> Option<Target> {
    parse(url, weight).map_err(|message| at.error(message)).ok()
}

fn parse(url: &str, weight: u32) -> Result<Target, &'static str> {
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
    Ok(Target { tls, host, port, path: path.to_owned(), weight: weight as usize })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_normalised() {
        let shown = |url| {
            let target = parse(url, 1).unwrap();
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
            assert!(parse(url, 1).is_err(), "{url}");
        }
    }
}

//! Proxies towards the providers, as they are written: `socks5://user:pass@host:1080`.
//!
//! Invariant: no message, name or debug output holds a character of user or password. The name, which logs and metrics
//! show, tells users of one proxy apart by a few digits made of the user's name: providers of proxies often put a session
//! into it.

use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::Sha256;
use thiserror::Error;

use super::secret::Secret;

/// SOCKS can't carry longer ones.
const LOGIN_MAX: usize = 255;
/// Domain of the digits in a name.
const NAME_DOMAIN: &[u8] = b"keyweir egress user 1";

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP `CONNECT`.
    Http,
    /// The same over TLS.
    Https,
    /// SOCKS 5; names are resolved here.
    Socks5,
    /// SOCKS 5; names are resolved by the proxy.
    Socks5h,
}

impl Protocol {
    const ALL: [(&str, Self, u16); 4] = [
        ("http", Self::Http, 80),
        ("https", Self::Https, 443),
        ("socks5", Self::Socks5, 1080),
        ("socks5h", Self::Socks5h, 1080),
    ];
}

/// One proxy.
#[derive(Clone)]
pub struct Egress {
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Host name or IP literal without brackets.
    pub host: String,
    /// Port, the protocol's default filled in.
    pub port: u16,
    /// User and password, if it asks for them.
    pub login: Option<(Secret, Secret)>,
    /// What it is called in logs, metrics and the API.
    pub name: Arc<str>,
}

/// Why a text is no proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadEgress {
    /// Not such a URL at all.
    #[error("not a proxy's URL; write e.g. socks5://user:pass@host:1080 (or http://, https://, socks5h://)")]
    Form,
    /// A path or query, which would mean nothing.
    #[error("a proxy's URL ends after its port; remove path, query and fragment")]
    Path,
    /// User or password can't be sent.
    #[error("user and password have 1 to 255 characters, no control characters, and no : in the user")]
    Login,
}

impl Egress {
    /// Reads a proxy's URL. User and password may be percent-encoded.
    ///
    /// # Errors
    /// What is wrong with it; never a part of it.
    pub fn parse(url: &str) -> Result<Self, BadEgress> {
        let (scheme, rest) = url.trim().split_once("://").ok_or(BadEgress::Form)?;
        let known = Protocol::ALL.into_iter().find(|(name, ..)| scheme.eq_ignore_ascii_case(name));
        let (scheme, protocol, default_port) = known.ok_or(BadEgress::Form)?;
        // The last @: one in a password is often not encoded.
        let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
        let place = rest.strip_suffix('/').unwrap_or(rest);
        if place.contains(['/', '?', '#']) {
            return Err(BadEgress::Path);
        }
        let (host, port) = host_and_port(place).ok_or(BadEgress::Form)?;
        let port = port.unwrap_or(default_port);
        let login = login.map(parse_login).transpose()?;
        let shown = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let user = login.as_ref().map(|(user, _)| format!("#{}", digits(user.expose()))).unwrap_or_default();
        Ok(Self { protocol, host, port, login, name: format!("{scheme}://{shown}:{port}{user}").into() })
    }

    /// The whole URL with user and password, as [`parse`](Self::parse) reads it.
    pub fn url(&self) -> Secret {
        let place = self.name.split('#').next().unwrap_or_default();
        let Some((user, password)) = &self.login else { return Secret::new(place.to_owned()) };
        let [user, password] = [user, password].map(|part| utf8_percent_encode(part.expose(), NON_ALPHANUMERIC));
        let (scheme, place) = place.split_once("://").unwrap_or_default();
        Secret::new(format!("{scheme}://{user}:{password}@{place}"))
    }
}

fn host_and_port(place: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => {
            let (host, port) = place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)));
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            (Some(host).filter(|host| !host.is_empty() && host.bytes().all(is_name))?, port)
        }
    };
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
        None => None,
    };
    Some((host.to_ascii_lowercase(), port))
}

fn parse_login(text: &str) -> Result<(Secret, Secret), BadEgress> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let part = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().map_err(|_| BadEgress::Login)?.into_owned();
        let is_sendable = text.len() <= LOGIN_MAX && !text.chars().any(char::is_control);
        if is_sendable { Ok(Secret::new(text)) } else { Err(BadEgress::Login) }
    };
    let (user, password) = (part(user)?, part(password)?);
    if user.expose().is_empty() || user.expose().contains(':') {
        return Err(BadEgress::Login);
    }
    Ok((user, password))
}

/// Four hexadecimal digits: enough to tell sessions apart, too few to tell who.
fn digits(user: &str) -> String {
    let mac =
        Hmac::<Sha256>::new_from_slice(NAME_DOMAIN).ok().map(|mac| mac.chain_update(user).finalize().into_bytes());
    mac.iter().flatten().take(2).map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> (String, String, u16, Option<(String, String)>) {
        let egress = Egress::parse(url).unwrap();
        let login = egress.login.map(|(user, password)| (user.expose().to_owned(), password.expose().to_owned()));
        (egress.name.to_string(), egress.host, egress.port, login)
    }

    fn login(user: &str, password: &str) -> Option<(String, String)> {
        Some((user.into(), password.into()))
    }

    #[test]
    fn proxies_are_read() {
        assert_eq!(shown("http://10.0.0.2:3128"), ("http://10.0.0.2:3128".into(), "10.0.0.2".into(), 3128, None));
        assert_eq!(
            shown("SOCKS5://Proxy.Example/"),
            ("socks5://proxy.example:1080".into(), "proxy.example".into(), 1080, None)
        );
        assert_eq!(shown("https://h").2, 443);
        assert_eq!(shown("socks5h://[::1]:9"), ("socks5h://[::1]:9".into(), "::1".into(), 9, None));
        assert_eq!(shown("socks5://u:p@h:1").3, login("u", "p"));
        assert_eq!(shown("socks5://u%40x:p%2Fq@h:1").3, login("u@x", "p/q"));
        assert_eq!(shown("http://u:p@ss@h:1").3, login("u", "p@ss"));
        assert_eq!(shown("http://token@h:1").3, login("token", ""));
    }

    #[test]
    fn what_is_read_can_be_written_again() {
        for url in ["http://10.0.0.2:3128", "socks5h://[::1]:9", "https://h:1", "socks5://u%40x:p%2Fq%23@h:1"] {
            assert_eq!(Egress::parse(url).unwrap().url().expose(), url);
        }
    }

    #[test]
    fn names_and_debug_output_show_no_login_but_tell_users_apart() {
        let [a, b] =
            ["socks5://canary-a:CANARY@h:1", "socks5://canary-b:CANARY@h:1"].map(|url| Egress::parse(url).unwrap());
        assert_ne!(a.name, b.name);
        for egress in [a, b] {
            let text = format!("{} {egress:?}", egress.name).to_lowercase();
            assert!(!text.contains("canary"), "{text}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_being_repeated() {
        for url in [
            "",
            "host:1080",
            "ftp://h:1",
            "socks4://h:1",
            "socks5://",
            "socks5://:1080",
            "socks5://h:0",
            "socks5://h:99999",
            "socks5://h:x",
            "socks5://[::1",
            "socks5://[zz]:1",
            "socks5://a b:1",
            "http://h:1/CANARY",
            "http://h:1?CANARY",
            "http://:CANARY@h:1",
            "http://a%3Ab:CANARY@h:1",
            "http://u:%00CANARY@h:1",
            "http://u:%ff@h:1",
        ] {
            let error = Egress::parse(url).unwrap_err().to_string();
            assert!(!error.contains("CANARY"), "{url}: {error}");
        }
        assert!(Egress::parse(&format!("socks5://u:{}@h:1", "p".repeat(256))).is_err());
    }
}

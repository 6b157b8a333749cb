//! Where operators may have keyweir connect to.
//!
//! Whoever may name a URL (a target, an egress proxy, a webhook) makes this machine send a request there. What answers
//! on link-local addresses trusts the machine: the clouds' metadata services hand out its credentials. So these are
//! refused, by address, by name, and in every spelling that a resolver would understand. A name may still resolve to
//! such an address: whoever connects asks [`is_forbidden`] again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use thiserror::Error;

use crate::config::problem::At;
use crate::config::raw::pool::TargetEntry;
use crate::config::raw::{self, Secret};

/// Why nothing is sent there. The URL itself is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Forbidden {
    /// Not a URL we could connect to.
    #[error("not a URL; write http://, https://, socks5:// or socks5h:// and a host")]
    NotAUrl,
    /// An address in octal, hexadecimal, or as one number.
    #[error("an address in an unusual spelling; write it as four decimal numbers, e.g. 192.0.2.7")]
    Disguised,
    /// A link-local address or a metadata service.
    #[error(
        "a link-local address or a cloud's metadata service, which gives credentials to whoever asks; \
         if it is meant, set server.admin.allow_link_local: true"
    )]
    LinkLocal,
}

/// Metadata services that have names; each answers at an address that is refused as well.
const NAMES: [&str; 7] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.tencentyun.com",
    "metadata.platformequinix.com",
];

/// Metadata services outside the link-local range: Alibaba Cloud, Azure, Oracle Cloud.
const ADDRESSES: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];

/// Judges a URL; `allow_link_local` is `server.admin.allow_link_local`.
///
/// # Errors
/// Why nothing may be sent there.
pub fn judge(url: &str, allow_link_local: bool) -> Result<(), Forbidden> {
    let uri: Uri = url.parse().map_err(|_| Forbidden::NotAUrl)?;
    let is_known = matches!(uri.scheme_str(), Some("http" | "https" | "socks5" | "socks5h"));
    let host = uri.host().filter(|host| is_known && !host.is_empty()).ok_or(Forbidden::NotAUrl)?;
    match judge_host(host) {
        Err(Forbidden::LinkLocal) if allow_link_local => Ok(()),
        verdict => verdict,
    }
}

fn judge_host(host: &str) -> Result<(), Forbidden> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if NAMES.iter().any(|name| name.eq_ignore_ascii_case(host)) {
        return Err(Forbidden::LinkLocal);
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let address = bare.split_once('%').map_or(bare, |(address, _zone)| address);
    match address.parse::<IpAddr>() {
        Ok(address) if is_forbidden(address) => Err(Forbidden::LinkLocal),
        Ok(_) => Ok(()),
        Err(_) if is_number(host.rsplit('.').next().unwrap_or_default()) => Err(Forbidden::Disguised),
        Err(_) if host.contains(['%', '\\']) => Err(Forbidden::NotAUrl),
        Err(_) => Ok(()),
    }
}

/// Whether resolvers take a name that ends so for an IPv4 address.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit()),
    }
}

/// Whether an address is link-local or a metadata service, also where IPv6 carries an IPv4 address.
pub fn is_forbidden(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ADDRESSES.contains(&ip),
        IpAddr::V6(ip) => is_forbidden_v6(ip),
    }
}

fn is_forbidden_v6(ip: Ipv6Addr) -> bool {
    let inside = |high: u16, low: u16| is_forbidden(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into());
    match ip.segments() {
        // Amazon's services, and Google's.
        [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => true,
        // IPv4: compatible and mapped, translated, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0 | 0xffff, a, b] | [0, 0, 0, 0, 0xffff, 0, a, b] => inside(a, b),
        [0x0064, 0xff9b, 0 | 1, _, _, _, a, b] | [0x2002, a, b, ..] => inside(a, b),
        _ => ip.is_unicast_link_local(),
    }
}

/// Complains about every URL of `keyweir.yaml` that leads to such a place. What is no URL, others complain about.
pub(crate) fn check(raw: &raw::Config, at: &At<'_>) {
    let allowed = raw.server.admin.allow_link_local;
    let check = |url: &str, at: &At<'_>| match judge(url, allowed) {
        Err(why @ (Forbidden::Disguised | Forbidden::LinkLocal)) => at.error(why.to_string()),
        Err(Forbidden::NotAUrl) | Ok(()) => {}
    };
    let check_secret = |url: &Secret, at: &At<'_>| {
        if let Secret::Text(url) = url {
            check(url, at);
        }
    };
    for (name, pool) in &raw.pools.0 {
        let pools = at.field("pools");
        let (at, targets_at) = (pools.field(name), pools.field(name));
        let targets = targets_at.field("targets");
        for (index, target) in pool.targets.iter().enumerate() {
            match target {
                TargetEntry::Url(url) => check(url, &targets.index(index)),
                TargetEntry::Full(full) => check(&full.url, &targets.index(index).field("url")),
            }
        }
        pool.egress.iter().enumerate().for_each(|(index, url)| check_secret(url, &at.field("egress").index(index)));
        pool.egress_check.url.iter().for_each(|url| check(url, &at.field("egress_check").field("url")));
    }
    let notify = at.field("notify");
    raw.notify.iter().enumerate().for_each(|(index, to)| check_secret(&to.url, &notify.index(index).field("url")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_services_are_refused_in_every_spelling() {
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "http://169.254.169.254.:80/",
            "https://169.254.0.1:8443/v1",
            "http://user:pass@169.254.169.254/",
            "http://api.openai.com:443@169.254.169.254/",
            "socks5://user:pass@169.254.169.254:1080",
            "socks5h://metadata.google.internal:1080",
            "http://METADATA.google.internal./computeMetadata/v1",
            "http://100.100.100.200/",
            "http://168.63.129.16/",
            "http://[fe80::1]/",
            "http://[febf::1]:8080/",
            "http://[fd00:ec2::254]/",
            "http://[fd20:ce::254]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://[::169.254.169.254]/",
            "http://[64:ff9b::169.254.169.254]/",
            "http://[2002:a9fe:a9fe::1]/",
        ] {
            assert_eq!(judge(url, false), Err(Forbidden::LinkLocal), "{url}");
            assert_eq!(judge(url, true), Ok(()), "{url}");
        }
        for url in [
            "http://2852039166/",
            "http://0xA9FEA9FE/",
            "http://0xa9.0xfe.0xa9.0xfe/",
            "http://0251.0376.0251.0376/",
            "http://169.254.43518/",
            "http://169.16689662/",
            "http://0x.0x.0/",
            "http://127.1/",
            "http://0177.0.0.1/",
        ] {
            assert_eq!(judge(url, true), Err(Forbidden::Disguised), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_of_ours_is_refused() {
        for url in [
            "",
            "169.254.169.254",
            "//169.254.169.254/",
            "file:///etc/passwd",
            "gopher://a/",
            "http://",
            "http:///v1",
            "http://a.example\\@169.254.169.254/",
            "http://169.254.169.254\\@a.example/",
            "http://１６９.254.169.254/",
            "http://169%2e254.169.254/",
        ] {
            assert!(judge(url, true).is_err(), "{url}");
        }
    }

    #[test]
    fn everything_else_is_allowed() {
        for url in [
            "https://api.openai.com/v1",
            "http://127.0.0.1:11434/v1",
            "http://localhost:8000",
            "http://[::1]:8000",
            "http://10.1.2.3/",
            "http://192.168.1.2/",
            "http://[fd00::1]/",
            "socks5h://user:pass@proxy.internal:1080",
            "https://metadata.example.com/",
            "https://169.254.169.254.example.com/",
            "https://xn--fiq228c.example/0x",
        ] {
            assert_eq!(judge(url, false), Ok(()), "{url}");
        }
    }
}

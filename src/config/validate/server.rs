//! `server:` and `log:`

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::clients::is_local;
use super::operators::Operators;
use super::{Context, secret, tls};
use crate::config::model::{
    AccessLog, Address, Admin, Cors, Limits, Listen, Log, LogFormat, Metrics, Proxy, Server, Shutdown,
};
use crate::config::problem::At;
use crate::config::raw::server as raw;
use crate::config::units::{Size, Time};

const DNS_PORT: u16 = 53;

pub(crate) fn server(raw: &raw::Server, at: &At<'_>, context: &Context<'_>, operators: Operators) -> Option<Server> {
    let proxy_at = at.field("proxy");
    let listen_at = proxy_at.field("listen");
    let (admin_at, metrics_at) = (at.field("admin"), at.field("metrics"));
    let mut taken: Vec<(Address, &str)> = Vec::new();
    let mut bind = |owner, raw: &raw::Listen, at: &At<'_>| -> Option<Listen> {
        let listen = listen(raw, at, context)?;
        if let Some((_, other)) = taken.iter().find(|(other, _)| collide(other, &listen.address)) {
            at.error(format!("{other} has this address already; write another"));
        }
        taken.push((listen.address.clone(), owner));
        Some(listen)
    };
    let mut bind_proxy = |(index, raw)| bind("server.proxy", raw, &listen_at.index(index));
    let listen: Vec<Listen> = raw.proxy.listen.as_slice().iter().enumerate().filter_map(&mut bind_proxy).collect();
    if raw.proxy.listen.as_slice().is_empty() {
        listen_at.error("must name at least one address, e.g. [\"127.0.0.1:8080\"]");
    }
    let admin = bind("server.admin", &raw.admin.listen, &admin_at.field("listen"));
    let metrics = bind("server.metrics", &raw.metrics.listen, &metrics_at.field("listen"));
    let admin = admin.map(|listen| self::admin(&raw.admin, listen, &admin_at, operators));
    let metrics_token =
        raw.metrics.token.as_ref().and_then(|t| secret::optional_token(t, &metrics_at.field("token"), context));
    let proxy = Proxy {
        listen,
        status_endpoints: raw.proxy.status_endpoints,
        cors: cors(&raw.proxy.cors, &proxy_at.field("cors")),
        trusted_proxies: networks(&raw.proxy.trusted_proxies, &proxy_at.field("trusted_proxies")),
    };
    Some(Server {
        proxy,
        dns: name_servers(&raw.dns, &at.field("dns")),
        threads: threads(raw.threads),
        limits: limits(&raw.limits, &at.field("limits")),
        shutdown: Shutdown { delay: raw.shutdown.delay.0, grace: raw.shutdown.grace.0 },
        admin: admin?,
        metrics: Metrics { listen: metrics?, token: metrics_token },
    })
}

fn name_servers(raw: &[String], at: &At<'_>) -> Vec<SocketAddr> {
    let read = |(index, text): (usize, &String)| {
        let address = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::from((ip, DNS_PORT))));
        address.map_err(|_| at.index(index).error("not a name server's address; write IP or IP:PORT")).ok()
    };
    raw.iter().enumerate().filter_map(read).collect()
}

fn admin(raw: &raw::Admin, listen: Listen, at: &At<'_>, operators: Operators) -> Admin {
    let Operators { token, users } = operators;
    if !is_local(&listen.address) {
        if token.is_none() {
            at.error("an admin listener that others reach needs a configured token; set token, or listen on 127.0.0.1");
        }
        if listen.tls.is_none() && !raw.plaintext {
            at.error("an admin listener that others reach needs TLS ({address, tls}) or plaintext: true");
        }
    }
    for (index, host) in raw.hosts.iter().enumerate() {
        if host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
            at.field("hosts").index(index).error("not a host name; write it without scheme and port");
        }
    }
    let hosts = raw.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
    Admin { listen, token, users, hosts, plaintext: raw.plaintext, allow_link_local: raw.allow_link_local }
}

fn listen(raw: &raw::Listen, at: &At<'_>, context: &Context<'_>) -> Option<Listen> {
    match raw {
        raw::Listen::Address(text) => Some(Listen { address: address(text, at)?, tls: None }),
        raw::Listen::Full(full) => {
            let address = address(&full.address, &at.field("address"));
            let tls = full.tls.as_ref().map(|raw| tls::tls(raw, &at.field("tls"), context));
            let (address, tls) = (address?, tls.map_or(Some(None), |tls| tls.map(Some))?);
            Some(Listen { address, tls })
        }
    }
}

fn address(text: &str, at: &At<'_>) -> Option<Address> {
    if let Some(path) = text.strip_prefix("unix:") {
        // sun_path holds 108 bytes, the last of them 0.
        if path.is_empty() || path.len() > 107 {
            at.error("a unix socket's path has 1 to 107 bytes");
            return None;
        }
        return Some(Address::Unix(PathBuf::from(path)));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) => Some(Address::Tcp(address)),
        Err(_) => {
            at.error("not an address; write IP:PORT, e.g. 127.0.0.1:8080 or [::1]:8080, or unix:PATH");
            None
        }
    }
}

/// Whether two listeners cannot both be bound. Port 0 is a fresh one each time.
fn collide(a: &Address, b: &Address) -> bool {
    match (a, b) {
        (Address::Tcp(a), Address::Tcp(b)) => {
            let covers = |a: &SocketAddr, b: &SocketAddr| a.ip().is_unspecified() && a.is_ipv4() == b.is_ipv4();
            a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || covers(a, b) || covers(b, a))
        }
        (a, b) => a == b,
    }
}

fn cors(raw: &raw::Cors, at: &At<'_>) -> Cors {
    let at = at.field("origins");
    match raw.origins.as_slice() {
        [] => Cors::Off,
        [all] if all == "*" => Cors::Any,
        origins => {
            for (index, origin) in origins.iter().enumerate() {
                if !is_origin(origin) {
                    at.index(index).error("not an origin; write e.g. https://chat.example.com, or [\"*\"] alone");
                }
            }
            Cors::List(origins.to_vec())
        }
    }
}

fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
    })
}

fn networks(raw: &[String], at: &At<'_>) -> Vec<IpNet> {
    let read = |(index, text): (usize, &String)| {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map_err(|_| at.index(index).error("not a network; write e.g. 10.0.0.0/8 or 192.0.2.7")).ok()
    };
    raw.iter().enumerate().filter_map(read).collect()
}

fn threads(raw: raw::Threads) -> usize {
    match raw {
        raw::Threads::Word(raw::Auto::Auto) => std::thread::available_parallelism().map_or(1, usize::from),
        raw::Threads::Count(count) => count as usize,
    }
}

fn limits(raw: &raw::Limits, at: &At<'_>) -> Limits {
    let buffer_at = at.field("buffer");
    // Lowering `body` alone is enough to lower both.
    let buffer = if buffer_at.node().is_none() { Size(raw.buffer.0.min(raw.body.0)) } else { raw.buffer };
    if buffer.0 > raw.body.0 {
        buffer_at.error(format!("larger than body ({}); lower it or raise body", raw.body));
    }
    if raw.headers.0 < 1024 || raw.headers.0 > 1024 * 1024 {
        at.field("headers").error("must be from 1KiB to 1MiB");
    }
    Limits {
        buffer: bytes(buffer, &buffer_at),
        body: bytes(raw.body, &at.field("body")),
        headers: bytes(raw.headers, &at.field("headers")),
        header_timeout: positive(raw.header_timeout, &at.field("header_timeout")),
        body_timeout: positive(raw.body_timeout, &at.field("body_timeout")),
        keepalive: positive(raw.keepalive, &at.field("keepalive")),
        connections: raw.connections as usize,
        connections_per_ip: raw.connections_per_ip as usize,
        in_flight: raw.in_flight as usize,
        min_send_rate: raw.min_send_rate as usize,
    }
}

fn bytes(size: Size, at: &At<'_>) -> usize {
    // Beyond this no machine holds it, and sums of sizes stay far from overflow.
    if size.0 > 1 << 40 {
        at.error("too large; at most 1TiB");
    }
    usize::try_from(size.0).unwrap_or(usize::MAX)
}

/// A deadline that can be met.
pub(crate) fn positive(time: Time, at: &At<'_>) -> Duration {
    if time.0.is_zero() {
        at.error("must be longer than 0s");
    }
    time.0
}

pub(crate) fn log(raw: &raw::Log, at: &At<'_>, context: &Context<'_>) -> Log {
    if raw.access.is_empty() {
        at.field("access").error("write stdout, off or a file's path");
    }
    Log {
        level: match raw.level {
            raw::Level::Off => log::LevelFilter::Off,
            raw::Level::Error => log::LevelFilter::Error,
            raw::Level::Warn => log::LevelFilter::Warn,
            raw::Level::Info => log::LevelFilter::Info,
            raw::Level::Debug => log::LevelFilter::Debug,
            raw::Level::Trace => log::LevelFilter::Trace,
        },
        format: match raw.format {
            raw::Format::Json => LogFormat::Json,
            raw::Format::Text => LogFormat::Text,
        },
        access: match raw.access.as_str() {
            "stdout" => AccessLog::Stdout,
            "off" => AccessLog::Off,
            path => AccessLog::File(context.path(path)),
        },
    }
}

//! `clients:`

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::time::SystemTime;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::operators::Operators;
use super::{Context, known_pool, models, prices, secret};
use crate::config::additions::AddedToken;
use crate::config::model::{Address, ClientLimits, ClientToken, Clients, Server};
use crate::config::problem::At;
use crate::config::raw::{self as file, clients as raw};
use crate::config::secret::TokenDigest;
use crate::config::tree::Position;

/// Tokens with distinct names and texts, none of them an operator's.
pub(crate) fn clients(
    file: &file::Config,
    at: &At<'_>,
    context: &Context<'_>,
    operators: &Operators,
    added: &[AddedToken],
) -> Clients {
    let at = at.field("tokens");
    let raw = &file.clients;
    let mut names = HashSet::new();
    let mut digests: HashMap<_, usize> = HashMap::new();
    let mut tokens = Vec::with_capacity(raw.tokens.len() + added.len());
    for (index, token) in raw.tokens.iter().enumerate() {
        let at = at.index(index);
        if !names.insert(token.name.as_str()) {
            at.field("name").error("another token has this name; names are unique");
        }
        let settings = settings(token, &at, file);
        let here = at.field("token");
        let text = secret::resolve(&token.token, &here, context);
        let Some(text) = text.and_then(|text| secret::token(text, &here)) else { continue };
        if let Some(first) = digests.insert(text.digest(), index) {
            here.error(format!("the same token as clients.tokens[{first}]; each client needs its own"));
        }
        match operators.owner(&text) {
            Some("admin") => here.error("the same as the admin token; a client must not be an administrator"),
            Some(user) => here.error(format!("the same as the token of server.admin.users' {user}; make another")),
            None => {}
        }
        tokens.push(ClientToken { digest: text.digest(), ..settings });
    }
    for token in added {
        let name = token.settings.name.as_str();
        let at = at.named(name, Position::STORED);
        if !names.insert(name) {
            at.warn("was added at run time, and the file has a token of this name too; the file's holds");
        } else if !digests.contains_key(&token.digest) {
            tokens.push(ClientToken { digest: token.digest, ..settings(&token.settings, &at, file) });
        }
    }
    Clients { anonymous: raw.anonymous, tokens }
}

/// What a token may do; its digest is for the caller to fill in.
fn settings(token: &raw::Token, at: &At<'_>, file: &file::Config) -> ClientToken {
    if token.name.is_empty() || token.name.chars().any(char::is_control) {
        at.field("name").error("must not be empty or contain control characters");
    }
    let (pools, models) = scope(token, at, file);
    let expires = expires(token.expires.as_deref(), &at.field("expires"));
    ClientToken {
        name: token.name.clone(),
        digest: TokenDigest::of(b""),
        reveal_key: token.reveal_key,
        pools,
        models,
        limits: limits(token, at),
        expires,
    }
}

/// The pools and the models a token may use.
fn scope(token: &raw::Token, at: &At<'_>, file: &file::Config) -> (Vec<String>, Vec<String>) {
    for (index, pool) in token.pools.iter().enumerate() {
        let pools = at.field("pools");
        let at = pools.index(index);
        // A pool may go after a token for it was added; the token then opens nothing there.
        if at.position() != Position::STORED {
            known_pool(pool, file, &at);
        }
    }
    models::globs(&token.models, &at.field("models"));
    (token.pools.clone(), token.models.clone())
}

fn limits(token: &raw::Token, at: &At<'_>) -> ClientLimits {
    let number = |limit: Option<NonZeroU64>| limit.map(NonZeroU64::get);
    ClientLimits {
        rpm: number(token.rpm),
        tpm: number(token.tpm),
        rpd: number(token.rpd),
        concurrency: number(token.concurrency),
        budget: prices::budget(token.budget.as_ref(), &at.field("budget")),
    }
}

/// A day begins at midnight UTC.
fn expires(text: Option<&str>, at: &At<'_>) -> Option<SystemTime> {
    let text = text?;
    let day = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok();
    // A time without an offset would also be read as a date, the time dropped.
    let is_day = text.len() == "2027-01-01".len();
    let moment = if is_day { day().map(|day: Zoned| day.timestamp()) } else { text.parse::<Timestamp>().ok() };
    match moment {
        None => at.error("not a date; write e.g. 2027-01-01 or 2027-01-01T12:00:00+08:00"),
        Some(moment) if moment <= Timestamp::now() => at.warn("is past: this token is refused"),
        Some(_) => {}
    }
    moment.map(SystemTime::from)
}

/// Serving strangers is a decision to be made twice.
pub(crate) fn anonymous(raw: &raw::Clients, at: &At<'_>, server: Option<&Server>) {
    let open = server.is_some_and(|server| server.proxy.listen.iter().any(|listen| !is_local(&listen.address)));
    if raw.anonymous && open && !raw.insecure {
        at.field("anonymous")
            .error("would let everyone who reaches the port use the keys; listen on 127.0.0.1, or add insecure: true");
    }
}

/// Whether only this machine reaches the address.
pub(crate) fn is_local(address: &Address) -> bool {
    match address {
        Address::Tcp(address) => address.ip().to_canonical().is_loopback(),
        Address::Unix(_) => true,
    }
}

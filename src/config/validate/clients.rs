//! `clients:`

use std::collections::{HashMap, HashSet};

use super::{Context, secret};
use crate::config::model::{Address, ClientToken, Clients, Server};
use crate::config::problem::At;
use crate::config::raw::clients as raw;
use crate::config::secret::Secret;

/// Tokens with distinct names and texts, none of them the admin token.
pub(crate) fn clients(raw: &raw::Clients, at: &At<'_>, context: &Context<'_>, admin: Option<&Secret>) -> Clients {
    let at = at.field("tokens");
    let mut names = HashSet::new();
    let mut digests: HashMap<_, usize> = HashMap::new();
    let mut tokens = Vec::with_capacity(raw.tokens.len());
    for (index, token) in raw.tokens.iter().enumerate() {
        let at = at.index(index);
        if !names.insert(token.name.as_str()) {
            at.field("name").error("another token has this name; names are unique");
        }
        if token.name.is_empty() || token.name.chars().any(char::is_control) {
            at.field("name").error("must not be empty or contain control characters");
        }
        let here = at.field("token");
        let text = secret::resolve(&token.token, &here, context);
        let Some(text) = text.and_then(|text| secret::token(text, &here)) else { continue };
        if let Some(first) = digests.insert(text.digest(), index) {
            here.error(format!("the same token as clients.tokens[{first}]; each client needs its own"));
        }
        if admin.is_some_and(|admin| admin.digest() == text.digest()) {
            here.error("the same as the admin token; a client must not be an administrator");
        }
        tokens.push(ClientToken { name: token.name.clone(), token: text, reveal_key: token.reveal_key });
    }
    Clients { anonymous: raw.anonymous, tokens }
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

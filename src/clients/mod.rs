//! Who may use the keys, and how much: client tokens, their scopes and limits.
//!
//! A [`Client`] is what the configuration says of a token; its account is what was used of it, kept by the token's name
//! over reloads. Nothing here does I/O or reads a clock.

mod limits;
mod spending;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use globset::GlobSet;
use parking_lot::Mutex;

pub use limits::{Admitted, Limit, Refusal, Used};
pub use spending::{Spent, begin};

use crate::config::models::globs;
use crate::config::{ClientToken, TokenDigest};
use crate::keypool;
use crate::telemetry::TokenSnapshot;
use limits::Account;

/// Every token in effect.
#[derive(Default)]
pub struct Clients {
    /// In the order of the configuration.
    list: Vec<Arc<Client>>,
    by_digest: HashMap<TokenDigest, Arc<Client>>,
    accounts: Arc<Accounts>,
}

/// What was used, by the token's name. Outlives reloads, and what was spent also the token: one of the same name that
/// comes later does not begin anew.
#[derive(Default)]
struct Accounts(Mutex<HashMap<String, Arc<Account>>>);

impl Accounts {
    fn of(&self, name: &str) -> Arc<Account> {
        self.0.lock().entry(name.to_owned()).or_default().clone()
    }

    /// Forgets accounts of tokens that are gone and spent nothing.
    fn tidy(&self, known: &[Arc<Client>]) {
        let is_known = |name: &str| known.iter().any(|client| client.name() == name);
        self.0.lock().retain(|name, account| is_known(name) || account.spends());
    }
}

/// Whoever holds a client token.
pub struct Client {
    token: ClientToken,
    models: GlobSet,
    account: Arc<Account>,
}

impl Clients {
    /// These tokens; those that were there `before` under the same name keep what was counted of them.
    pub fn new<'a>(tokens: impl IntoIterator<Item = &'a ClientToken>, before: Option<&Self>) -> Self {
        let accounts = before.map(|before| before.accounts.clone()).unwrap_or_default();
        let mut clients = Self { accounts, ..Self::default() };
        for token in tokens {
            let account = clients.accounts.of(&token.name);
            let client = Arc::new(Client { models: globs(&token.models), token: token.clone(), account });
            clients.by_digest.insert(token.digest, client.clone());
            clients.list.push(client);
        }
        clients.accounts.tidy(&clients.list);
        clients
    }

    /// The holder of this token.
    pub fn find(&self, token: &[u8]) -> Option<&Arc<Client>> {
        self.by_digest.get(&TokenDigest::of(token))
    }

    /// At least so much was spent by the token of that name, before this process or in it.
    pub fn has_spent(&self, name: &str, before: Spent, now: SystemTime) {
        self.accounts.of(name).has_spent(before, now);
    }

    /// What operators may see of every token.
    pub fn snapshots(&self, now: SystemTime) -> Vec<TokenSnapshot> {
        self.list.iter().map(|client| client.snapshot(now)).collect()
    }
}

impl Client {
    /// Shown in logs.
    pub fn name(&self) -> &str {
        &self.token.name
    }

    /// It is told which key served it.
    pub fn reveals_key(&self) -> bool {
        self.token.reveal_key
    }

    /// Its time is over.
    pub fn is_expired(&self, now: impl FnOnce() -> SystemTime) -> bool {
        self.token.expires.is_some_and(|end| end <= now())
    }

    /// The pools it may use; none = all.
    pub fn pools(&self) -> &[String] {
        &self.token.pools
    }

    /// It may use this pool.
    pub fn may_use_pool(&self, pool: &str) -> bool {
        self.pools().is_empty() || self.pools().iter().any(|name| name == pool)
    }

    /// Only some models are open to it.
    pub fn has_model_scope(&self) -> bool {
        !self.token.models.is_empty()
    }

    /// It may use this model.
    pub fn may_use_model(&self, model: &str) -> bool {
        !self.has_model_scope() || self.models.is_match(model)
    }

    fn snapshot(&self, now: SystemTime) -> TokenSnapshot {
        let ClientToken { name, digest: _, reveal_key, pools, models, limits, expires } = &self.token;
        let usage = &self.account.usage;
        TokenSnapshot {
            name: name.clone(),
            reveal_key: *reveal_key,
            pools: pools.clone(),
            models: models.clone(),
            limits: *limits,
            expires: *expires,
            is_expired: self.is_expired(|| now),
            in_flight: usage.in_flight(),
            requests: usage.requests(),
            refused: usage.refused(),
            tokens_in: usage.tokens().prompt,
            tokens_out: usage.tokens().completion,
            spent: self.account.spent(now),
            last_used: usage.last_used().map(keypool::wall_time),
        }
    }
}

#[cfg(test)]
mod tests;

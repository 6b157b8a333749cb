//! What differs between two configurations: keys come and go at once, a few settings wait for a restart.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::reload::PoolChange;
use crate::config::{Config, KeyId, Listen};
use crate::keypool::Entry;

/// Which keys each pool has, sorted.
#[derive(Debug, Default)]
pub(super) struct KeyIds {
    /// In the order of the configuration.
    names: Vec<String>,
    ids: BTreeMap<String, Vec<KeyId>>,
}

impl KeyIds {
    pub(super) fn of(pools: &[Arc<Entry>]) -> Self {
        let names: Vec<String> = pools.iter().map(|entry| entry.config.name.clone()).collect();
        let sorted = pools.iter().map(|entry| {
            let mut ids: Vec<KeyId> = entry.pool.keys().iter().map(|key| key.id).collect();
            ids.sort_unstable();
            ids
        });
        Self { ids: names.iter().cloned().zip(sorted).collect(), names }
    }

    fn pool(&self, name: &str) -> &[KeyId] {
        self.ids.get(name).map_or(&[], Vec::as_slice)
    }

    /// The keys there are now and were not before.
    pub(super) fn added_since(&self, before: &Self) -> HashSet<KeyId> {
        let known: HashSet<&KeyId> = before.ids.values().flatten().collect();
        self.ids.values().flatten().filter(|id| !known.contains(id)).copied().collect()
    }

    /// Whether any key came or went.
    pub(super) fn differ_from(&self, before: &Self) -> bool {
        self.ids != before.ids
    }

    /// A pool that is still there and had keys, but has none now: more likely a truncated file than an intention.
    pub(super) fn emptied_since(&self, before: &Self) -> Option<&str> {
        let emptied = |name: &&String| self.pool(name).is_empty() && !before.pool(name).is_empty();
        self.names.iter().find(emptied).map(String::as_str)
    }

    /// The pools there are, then those that are gone.
    pub(super) fn changes(&self, before: &Self) -> Vec<PoolChange> {
        let gone = before.names.iter().filter(|name| !self.ids.contains_key(*name));
        let change = |name: &String| {
            let (old, new) = (before.pool(name), self.pool(name));
            let added = new.iter().filter(|id| old.binary_search(id).is_err()).count();
            PoolChange { name: name.clone(), keys: new.len(), added, removed: old.len() + added - new.len() }
        };
        self.names.iter().chain(gone).map(change).collect()
    }
}

/// Settings that differ from those the process was started with and take effect only at a restart.
pub(super) fn restart_required(started: &Config, now: &Config) -> Vec<String> {
    let (store, new_store) = (&started.store, &now.store);
    let (started, now) = (&started.server, &now.server);
    let (limits, new_limits) = (&started.limits, &now.limits);
    // Pingora copies these bounds for connections on which TLS negotiated HTTP/2.
    let is_tls = started.proxy.listen.iter().any(|listen| listen.tls.is_some());
    let changed = [
        ("server.proxy.listen", !same(&started.proxy.listen, &now.proxy.listen)),
        ("server.admin.listen", !same([&started.admin.listen], [&now.admin.listen])),
        ("server.metrics.listen", !same([&started.metrics.listen], [&now.metrics.listen])),
        ("server.threads", started.threads != now.threads),
        ("store.url", store.url.expose() != new_store.url.expose()),
        ("server.limits.headers (HTTP/2 over TLS)", is_tls && limits.headers != new_limits.headers),
        ("server.limits.keepalive (HTTP/2 over TLS)", is_tls && limits.keepalive != new_limits.keepalive),
    ];
    changed.into_iter().filter(|(_, is_changed)| *is_changed).map(|(name, _)| name.to_owned()).collect()
}

/// Certificates may differ, since they are re-read; whether there is one may not.
fn same<'a>(before: impl IntoIterator<Item = &'a Listen>, after: impl IntoIterator<Item = &'a Listen>) -> bool {
    let socket = |listen: &'a Listen| (&listen.address, listen.tls.is_some());
    before.into_iter().map(socket).eq(after.into_iter().map(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(pools: &[(&str, &[&str])]) -> KeyIds {
        let sorted = |(pool, keys): &(&str, &[&str])| {
            let mut ids: Vec<KeyId> = keys.iter().map(|key| KeyId::of(pool, key)).collect();
            ids.sort_unstable();
            ((*pool).to_owned(), ids)
        };
        KeyIds {
            names: pools.iter().map(|(pool, _)| (*pool).to_owned()).collect(),
            ids: pools.iter().map(sorted).collect(),
        }
    }

    fn change(name: &str, keys: usize, added: usize, removed: usize) -> PoolChange {
        PoolChange { name: name.into(), keys, added, removed }
    }

    #[test]
    fn keys_that_come_and_go_are_counted_for_each_pool() {
        let before = ids(&[("b", &["k1", "k2"]), ("gone", &["k1"]), ("a", &[])]);
        let after = ids(&[("b", &["k2", "k3", "k4"]), ("a", &[]), ("new", &["k1"])]);
        let expected = [change("b", 3, 2, 1), change("a", 0, 0, 0), change("new", 1, 1, 0), change("gone", 0, 0, 1)];
        assert_eq!(after.changes(&before), expected);
    }

    #[test]
    fn a_pool_is_emptied_only_if_it_had_keys_and_is_still_there() {
        let before = ids(&[("a", &["k"]), ("b", &[]), ("c", &["k"])]);
        assert_eq!(ids(&[("a", &["k"]), ("b", &[])]).emptied_since(&before), None);
        assert_eq!(ids(&[("b", &[]), ("a", &[]), ("c", &["k"])]).emptied_since(&before), Some("a"));
    }
}

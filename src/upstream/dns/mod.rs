//! Host names and the addresses they stand for, kept fresh behind the requests.
//!
//! A dial reads what is known and never waits for a name server, but for the very first answer. Whoever holds a `Host`
//! keeps it fresh; one that nobody holds is forgotten.
//!
//! Invariant: an answer is replaced by a newer one only. While name servers fail, the last good one holds.

mod lookup;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use once_cell::sync::Lazy;
use parking_lot::{Mutex, RwLock};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use thiserror::Error;
use tokio::sync::watch;

use lookup::{Found, Lookup, Resolver};

use crate::config::{Server, destination};

/// An answer holds at least and at most so long, whatever its TTL says: no flood of queries, no address for good.
const FRESH_AT_LEAST: Duration = Duration::from_secs(5);
const FRESH_AT_MOST: Duration = Duration::from_secs(300);
/// A failed lookup is repeated after this time; until then it is the answer, where no better one is known.
const AGAIN_AFTER: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_secs(1);

/// Why a host has no address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{host} does not resolve: {reason}")]
pub(super) struct Unresolved {
    host: Arc<str>,
    reason: Arc<str>,
}

/// What is known of one host.
#[derive(Debug, Clone)]
struct Known {
    /// In the order in which they are tried; the last good answer.
    addresses: Arc<[IpAddr]>,
    /// Why the last lookup failed, if it did.
    failure: Option<Arc<str>>,
    /// When to ask again; `None` = never.
    due: Option<Instant>,
}

impl Known {
    fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }
}

/// A host whose addresses are kept fresh as long as somebody holds this.
#[derive(Debug)]
pub(super) struct Host {
    name: Arc<str>,
    known: watch::Sender<Known>,
    is_asked: AtomicBool,
}

/// All hosts in use, and how they are looked up.
pub(super) struct Dns {
    lookup: RwLock<Arc<dyn Lookup>>,
    hosts: Mutex<HashMap<Arc<str>, Arc<Host>>>,
    /// Whether answers may be addresses that [`destination`] forbids.
    allow_link_local: AtomicBool,
}

/// One in a process, as the system's own resolver is.
pub(super) static DNS: Lazy<Dns> = Lazy::new(|| Dns::new(Arc::new(Resolver::new(&[]))));

/// From now on asks the name servers of `server`, and lets hosts stand for link-local addresses if it says so.
pub fn configure(server: &Server) {
    *DNS.lookup.write() = Arc::new(Resolver::new(&server.dns));
    DNS.allow_link_local.store(server.admin.allow_link_local, Relaxed);
}

impl Dns {
    fn new(lookup: Arc<dyn Lookup>) -> Self {
        Self { lookup: RwLock::new(lookup), hosts: Mutex::default(), allow_link_local: AtomicBool::new(false) }
    }

    /// A host by its name, or by its address.
    pub(super) fn host(&self, name: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock();
        if let Some(known) = hosts.get(name) {
            return known.clone();
        }
        let host = Arc::new(Host::new(name));
        hosts.insert(host.name.clone(), host.clone());
        host
    }

    /// Its addresses, at least one.
    ///
    /// # Errors
    /// If it does not resolve, or only to addresses where nothing may be sent. What was answered once is kept, so that
    /// the first is about hosts that never did.
    pub(super) async fn addresses(&self, host: &Arc<Host>) -> Result<Arc<[IpAddr]>, Unresolved> {
        let mut news = host.known.subscribe();
        loop {
            let known = news.borrow_and_update().clone();
            let is_due = known.is_due();
            if is_due {
                self.ask(host);
            }
            if !known.addresses.is_empty() {
                return self.allowed(host, known.addresses);
            }
            match known.failure {
                Some(reason) if !is_due => return Err(Unresolved { host: host.name.clone(), reason }),
                // The sender lives in the host, which is held here.
                _ => drop(news.changed().await),
            }
        }
    }

    /// Those of the addresses that may be connected to: whoever owns a name decides what it resolves to.
    fn allowed(&self, host: &Host, addresses: Arc<[IpAddr]>) -> Result<Arc<[IpAddr]>, Unresolved> {
        let is_allowed = |ip: &IpAddr| !destination::is_forbidden(*ip);
        if self.allow_link_local.load(Relaxed) || addresses.iter().all(is_allowed) {
            return Ok(addresses);
        }
        let allowed: Arc<[IpAddr]> = addresses.iter().copied().filter(is_allowed).collect();
        match allowed.is_empty() {
            false => Ok(allowed),
            true => Err(Unresolved {
                host: host.name.clone(),
                reason: destination::Forbidden::LinkLocal.to_string().into(),
            }),
        }
    }

    /// Looks a host up beside the caller, unless that is under way.
    fn ask(&self, host: &Arc<Host>) {
        let Some(asked) = Asked::begin(host) else { return };
        let lookup = self.lookup.read().clone();
        let allows_all = self.allow_link_local.load(Relaxed);
        tokio::spawn(async move {
            let found = lookup.lookup(&asked.0.name).await;
            if let (Ok(found), false) = (&found, allows_all) {
                warn_of_forbidden(&asked.0.name, &found.addresses);
            }
            asked.0.learn(found);
        });
    }

    /// Looks up what is due and forgets what nobody holds.
    fn keep_fresh(&self) {
        let held: Vec<_> = {
            let mut hosts = self.hosts.lock();
            hosts.retain(|_, host| Arc::strong_count(host) > 1);
            hosts.values().cloned().collect()
        };
        held.iter().filter(|host| host.known.borrow().is_due()).for_each(|host| self.ask(host));
    }
}

fn warn_of_forbidden(host: &str, addresses: &[IpAddr]) {
    if addresses.iter().any(|ip| destination::is_forbidden(*ip)) {
        let reason = destination::Forbidden::LinkLocal.to_string();
        log::warn!(host, reason; "The host resolves to an address that is not connected to.");
    }
}

impl Host {
    /// As it was configured.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn new(name: &str) -> Self {
        let literal: Option<IpAddr> = name.parse().ok();
        let known = Known {
            addresses: literal.into_iter().collect(),
            failure: None,
            due: literal.is_none().then(Instant::now),
        };
        Self { name: name.into(), known: watch::Sender::new(known), is_asked: AtomicBool::new(false) }
    }

    fn learn(&self, found: Result<Found, String>) {
        let host = &*self.name;
        let now = Instant::now();
        self.known.send_modify(|known| match found {
            Ok(Found { addresses, ttl }) if !addresses.is_empty() => {
                if known.failure.take().is_some() {
                    log::info!(host; "The host resolves again.");
                }
                known.addresses = addresses.into();
                known.due = Some(now + ttl.clamp(FRESH_AT_LEAST, FRESH_AT_MOST));
            }
            other => {
                let reason = other.err().unwrap_or_else(|| "it has no address".to_owned());
                if known.failure.is_none() {
                    let is_kept = !known.addresses.is_empty();
                    log::warn!(host, reason = reason.as_str(), is_kept; "The host does not resolve.");
                }
                known.failure = Some(reason.into());
                known.due = Some(now + AGAIN_AFTER);
            }
        });
    }
}

/// The right to look a host up; given back also if the lookup's task is dropped with its runtime.
struct Asked(Arc<Host>);

impl Asked {
    fn begin(host: &Arc<Host>) -> Option<Self> {
        (!host.is_asked.swap(true, AcqRel)).then(|| Self(host.clone()))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.is_asked.swap(false, AcqRel);
    }
}

/// Keeps all hosts fresh, as a Pingora background service.
pub struct Refresher;

#[async_trait]
impl BackgroundService for Refresher {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            DNS.keep_fresh();
            tokio::select! {
                _ = shutdown.changed() => return,
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;

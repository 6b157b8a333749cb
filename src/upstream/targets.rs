//! The base URLs of a pool: which is asked next, and how each does.
//!
//! `pingora-load-balancing` shares the requests out by weight among those that are ready. What is checked on schedule
//! makes a target ready or not there; what requests meet is kept in a breaker for each. Health outlives reloads.
//!
//! Invariant: some target is always asked. Where none seems healthy, health is not asked for: it may be the checks that fail.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use pingora::protocols::l4::socket::SocketAddr;
use pingora_load_balancing::discovery::Static;
use pingora_load_balancing::selection::RoundRobin;
use pingora_load_balancing::{Backend, Backends, LoadBalancer};

use super::breaker::{Breaker, Change};
use super::target::{Target, TargetError};
use crate::config;
use crate::keypool::wall_time;
use crate::pool::Millis;
use crate::telemetry::TargetSnapshot;

/// Checks that fail in a row before a target counts as down.
const FAILED_CHECKS: u32 = 2;
/// One that failed its last check is checked at least so often.
const RECHECK: Duration = Duration::from_secs(5);
/// Turns taken in search of a target: some pass by the same one twice. With the one it takes to notice, a prime, so that
/// a search in vain does not begin with the same target every time.
const TURNS: usize = 60;
/// What a target does not have is remembered so long, and so many names.
const LACKS_FOR: Duration = Duration::from_secs(300);
const LACKS_MOST: usize = 64;

/// How a target does.
#[derive(Debug, Default)]
pub(super) struct Health {
    breaker: Breaker,
    checks: Mutex<Checks>,
    /// Some model is known not to be there.
    lacks_some: AtomicBool,
    /// By model: until when.
    lacks: Mutex<HashMap<String, Millis>>,
}

#[derive(Debug, Default)]
struct Checks {
    /// In a row.
    failures: u32,
    error: Option<String>,
    checked: Option<Millis>,
}

impl Health {
    fn lacks(&self, model: &str, now: Millis) -> bool {
        self.lacks_some.load(Relaxed) && self.lacks.lock().get(model).is_some_and(|until| *until > now)
    }

    fn passes_checks(&self) -> bool {
        self.checks.lock().failures < FAILED_CHECKS
    }
}

/// What a target is wanted for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The model asked for; empty if none was.
    pub model: &'a str,
    /// Those that failed this request already.
    pub avoided: &'a [Arc<Target>],
    /// The present.
    pub now: Millis,
}

/// All targets of a pool.
pub struct Targets {
    pool: Arc<str>,
    list: Vec<Arc<Target>>,
    checks: Vec<config::Health>,
    /// Where there is something to balance.
    balancer: Option<LoadBalancer<RoundRobin>>,
}

impl Targets {
    /// Prepares the targets of a pool. Those that are in `before` too keep their health.
    ///
    /// # Errors
    /// If one can't be used.
    pub fn new(pool: &config::Pool, before: Option<&Self>) -> Result<Self, TargetError> {
        let known = |name: &str| before.and_then(|before| before.list.iter().find(|target| &*target.name == name));
        let make = |config: &config::Target| {
            let authority = config.authority();
            let is_unique = pool.targets.iter().filter(|other| other.authority() == authority).count() == 1;
            let name = if is_unique { authority } else { config.url() };
            let health = known(&name).map(|known| known.health.clone()).unwrap_or_default();
            Target::new(config, pool.timeouts.connect).map(|target| Arc::new(target.known_as(&name, health)))
        };
        let list: Vec<_> = pool.targets.iter().map(make).collect::<Result<_, _>>()?;
        let balancer = if list.len() > 1 { Some(balancer(&pool.targets)?) } else { None };
        let checks = pool.targets.iter().map(|target| target.health.clone()).collect();
        let targets = Self { pool: pool.name.as_str().into(), list, checks, balancer };
        (0..targets.list.len()).for_each(|index| targets.apply_checks(index));
        Ok(targets)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// A pool always has one; this says whether that is so.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.list.iter()
    }

    /// The one of this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Target>> {
        self.list.iter().find(|target| &*target.name == name)
    }

    /// The next target in turn, whatever it has.
    pub fn any(&self, now: Millis) -> Option<&Arc<Target>> {
        self.next(&Wanted { model: "", avoided: &[], now })
    }

    /// The next target in turn: rather one that is healthy, that did not fail this request, and that has what is wanted.
    pub fn next(&self, wanted: &Wanted<'_>) -> Option<&Arc<Target>> {
        let Some(balancer) = &self.balancer else { return self.list.first() };
        let (unhealthy, lacking, avoided) = (Cell::new(None), Cell::new(None), Cell::new(None));
        let accepts = |backend: &Backend, is_ready| {
            let Some(target) = self.of(backend) else { return false };
            let second_best = if wanted.avoided.iter().any(|avoided| avoided.name == target.name) {
                &avoided
            } else if target.health.lacks(wanted.model, wanted.now) {
                &lacking
            } else if is_ready && target.health.breaker.admits(wanted.now) {
                return true;
            } else {
                &unhealthy
            };
            second_best.set(second_best.get().or(Some(target)));
            false
        };
        match balancer.select_with(b"", TURNS, accepts) {
            Some(backend) => self.of(&backend),
            None => unhealthy.get().or(lacking.get()).or(avoided.get()),
        }
    }

    /// Another one than those that failed this request.
    pub fn has_other(&self, avoided: &[Arc<Target>]) -> bool {
        self.list.iter().any(|target| avoided.iter().all(|avoided| avoided.name != target.name))
    }

    fn of(&self, backend: &Backend) -> Option<&Arc<Target>> {
        match &backend.addr {
            SocketAddr::Inet(address) => self.list.get(usize::from(address.port())),
            SocketAddr::Unix(_) => None,
        }
    }

    /// A target answered an attempt that began at `since`.
    pub fn answered(&self, target: &Target, since: Millis) {
        if target.health.breaker.succeeded(since) == Some(Change::Closed) {
            let (pool, target) = (&*self.pool, &*target.name);
            log::info!(pool, target; "A target answers again.");
        }
    }

    /// An attempt that began at `since` failed, for a reason that may be the target's.
    pub fn failed(&self, target: &Target, since: Millis, now: Millis) {
        if target.health.breaker.failed(since, now) == Some(Change::Opened) {
            let (pool, target) = (&*self.pool, &*target.name);
            log::warn!(pool, target; "A target fails; others are asked where there are any.");
        }
    }

    /// Another target served what this one does not know.
    pub fn lacks(&self, target: &Target, model: &str, now: Millis) {
        let mut lacks = target.health.lacks.lock();
        lacks.retain(|_, until| *until > now);
        if !model.is_empty() && lacks.len() < LACKS_MOST {
            lacks.insert(model.to_owned(), now.after(LACKS_FOR));
        }
        target.health.lacks_some.store(!lacks.is_empty(), Relaxed);
    }

    /// The targets to be checked now, each with its place and what is asked for. One alone is checked only where a path
    /// is configured: nothing could be done about it.
    pub fn due(&self, now: Millis) -> impl Iterator<Item = (usize, &Arc<Target>, Option<&str>)> {
        let has_others = self.balancer.is_some();
        let all = self.list.iter().zip(&self.checks).enumerate();
        all.filter(move |(_, (target, check))| {
            let last = target.health.checks.lock();
            let pause = if last.failures > 0 { check.every.min(RECHECK) } else { check.every };
            (has_others || check.path.is_some()) && last.checked.is_none_or(|checked| checked.after(pause) <= now)
        })
        .map(|(index, (target, check))| (index, target, check.path.as_deref()))
    }

    /// Notes that a target is being checked.
    pub fn checking(&self, index: usize, now: Millis) {
        if let Some(target) = self.list.get(index) {
            target.health.checks.lock().checked = Some(now);
        }
    }

    /// What a check found: why it failed, if it did.
    pub fn checked(&self, index: usize, error: Option<String>) {
        let Some(target) = self.list.get(index) else { return };
        let passed_before = target.health.passes_checks();
        {
            let mut checks = target.health.checks.lock();
            checks.failures = if error.is_some() { checks.failures.saturating_add(1) } else { 0 };
            checks.error = error;
        }
        let (pool, name) = (&*self.pool, &*target.name);
        match (passed_before, target.health.passes_checks()) {
            (true, false) => {
                let reason = target.health.checks.lock().error.clone().unwrap_or_default();
                log::warn!(pool, target = name, reason = reason.as_str(); "A target fails its checks.");
            }
            (false, true) => log::info!(pool, target = name; "A target passes its checks again."),
            _ => {}
        }
        self.apply_checks(index);
    }

    fn apply_checks(&self, index: usize) {
        let (Some(balancer), Some(target)) = (&self.balancer, self.list.get(index)) else { return };
        let backends = balancer.backends();
        let is_meant = |backend: &&Backend| self.of(backend).is_some_and(|other| Arc::ptr_eq(other, target));
        if let Some(backend) = backends.get_backend().iter().find(is_meant) {
            backends.set_enable(backend, target.health.passes_checks());
        }
    }

    /// How each does.
    pub fn snapshot(&self) -> Vec<TargetSnapshot> {
        let snapshot = |target: &Arc<Target>| {
            let checks = target.health.checks.lock();
            TargetSnapshot {
                name: target.name.clone(),
                is_up: checks.failures < FAILED_CHECKS && target.health.breaker.is_closed(),
                error: checks.error.clone(),
                checked: checks.checked.map(wall_time),
            }
        };
        self.list.iter().map(snapshot).collect()
    }
}

fn balancer(targets: &[config::Target]) -> Result<LoadBalancer<RoundRobin>, TargetError> {
    let backends = targets.iter().enumerate().map(|(index, target)| backend(index, target.weight));
    let balancer =
        LoadBalancer::from_backends(Backends::new(Static::new(backends.collect::<Result<BTreeSet<_>, _>>()?)));
    match balancer.update().now_or_never() {
        Some(Ok(())) => Ok(balancer),
        _ => Err(TargetError::TooMany),
    }
}

/// The balancer knows a target by its index, written as a port: addresses are resolved when dialling.
fn backend(index: usize, weight: usize) -> Result<Backend, TargetError> {
    let port = u16::try_from(index).map_err(|_| TargetError::TooMany)?;
    let address = std::net::SocketAddr::from(([0, 0, 0, 0], port));
    Backend::new_with_weight(&address.to_string(), weight).map_err(|_| TargetError::TooMany)
}

#[cfg(test)]
mod tests;

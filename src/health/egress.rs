//! Checks of proxies: a page is fetched through each, the pool's own target unless another one is configured.
//!
//! Invariant: a target that is down puts no proxy out of use. What may be either's fault counts against the proxy only
//! if a witness gets through at the same time: another proxy, or nobody at all where keys may leave directly.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use thiserror::Error;
use tokio::task::JoinHandle;

use super::{every, said};
use crate::config::egress::BadEgress;
use crate::config::{self, OnFailure};
use crate::keypool::{self, Certainty, Egress, Entry, KeyPool};
use crate::upstream::dial::is_egress_fault;
use crate::upstream::target::TargetError;
use crate::upstream::{Connector, Inquiry, Target};

/// How often is looked for what is due.
const TICK: Duration = Duration::from_millis(250);
/// Checks of one pool at once.
const AT_ONCE: usize = 16;

/// Why a test can't be made.
#[derive(Debug, Error)]
pub enum TestError {
    /// There is no such pool.
    #[error("there is no pool {0:?}")]
    Pool(String),
    /// Neither the name of one of the pool's proxies nor a proxy's URL.
    #[error("the pool has no egress of this name, and it is {0}")]
    Egress(#[from] BadEgress),
    /// The page to be fetched can't be asked for.
    #[error(transparent)]
    Target(#[from] TargetError),
}

/// What one check found.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The proxy.
    pub egress: Arc<str>,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Why the check failed, if it did.
    pub error: Option<String>,
    /// How sure it is that this is the proxy's fault.
    certainty: Certainty,
    /// How long it took.
    pub took: Duration,
}

/// Checks proxies.
pub struct Checker {
    connector: Connector,
    keypool: Arc<KeyPool>,
}

/// What is fetched through a pool's proxies.
struct Page {
    target: Target,
    path: String,
    /// The pool's target refuses whoever has no key: any answer shows that the way is open.
    accepts_any: bool,
    limit: Duration,
}

impl Page {
    fn of(pool: &config::Pool) -> Result<Self, TargetError> {
        let check = &pool.egress_check;
        let limit = check.timeout;
        match (&check.url, pool.targets.first()) {
            (Some(url), _) => {
                let target = Target::new(url, limit)?;
                Ok(Self { path: url.path.clone(), target, accepts_any: false, limit })
            }
            (None, Some(first)) => {
                let target = Target::new(first, limit)?;
                Ok(Self { path: format!("{}/models", first.path), target, accepts_any: true, limit })
            }
            (None, None) => Err(TargetError::None),
        }
    }
}

impl Checker {
    /// A checker of the proxies of these pools.
    pub fn new(connector: Connector, keypool: Arc<KeyPool>) -> Self {
        Self { connector, keypool }
    }

    /// Tests one proxy of a pool by its name, one that the pool does not have by its URL, or all the pool has. Those of
    /// the pool are judged by it as by any check.
    ///
    /// # Errors
    /// If there is no such pool or proxy.
    pub async fn test(&self, pool: &str, egress: Option<&str>) -> Result<Vec<Finding>, TestError> {
        let entries = self.keypool.entries();
        let entry = entries.iter().find(|entry| entry.config.name == pool);
        let entry = entry.ok_or_else(|| TestError::Pool(pool.to_owned()))?;
        let page = Page::of(&entry.config)?;
        let known = |name: &str| entry.egresses().list().iter().find(|egress| &**egress.name() == name).cloned();
        let egresses = match egress {
            None => entry.egresses().list().to_vec(),
            Some(name) => match known(name) {
                Some(known) => vec![known],
                None => {
                    let stranger = Arc::new(Egress::on_trial(config::Egress::parse(name)?));
                    return Ok(vec![self.check(&page, Some(&stranger)).await]);
                }
            },
        };
        Ok(self.round(entry, &page, &egresses).await)
    }

    /// Checks some proxies of a pool, and acts on what is found.
    async fn round(&self, entry: &Entry, page: &Page, egresses: &[Arc<Egress>]) -> Vec<Finding> {
        let checks: Vec<_> = egresses.iter().map(|egress| self.check(page, Some(egress))).collect();
        let found: Vec<_> = stream::iter(checks).buffered(AT_ONCE).collect().await;
        for (egress, finding) in egresses.iter().zip(&found) {
            match (&finding.error, finding.certainty) {
                (None, _) => egress.proved(finding.took),
                (Some(reason), Certainty::Doubtful) if self.is_confirmed(entry, page, egress).await => {
                    egress.failed(Certainty::Certain, reason, keypool::now());
                    egress.disproved();
                }
                // What is certain was noted where it was dialled.
                (Some(_), _) => egress.disproved(),
            }
        }
        entry.apply_egresses(keypool::now());
        found
    }

    /// Somebody else gets through, and the proxy still does not.
    async fn is_confirmed(&self, entry: &Entry, page: &Page, egress: &Arc<Egress>) -> bool {
        let is_other = |other: &&Arc<Egress>| !other.is_down() && !Arc::ptr_eq(other, egress);
        let witness = entry.egresses().list().iter().find(is_other);
        let may_be_direct = entry.config.egress_check.on_failure == OnFailure::Direct;
        let has_witness = match witness {
            None if !may_be_direct => false,
            witness => self.check(page, witness).await.error.is_none(),
        };
        has_witness && self.check(page, Some(egress)).await.error.is_some()
    }

    async fn check(&self, page: &Page, egress: Option<&Arc<Egress>>) -> Finding {
        let started = Instant::now();
        let inquiry = Inquiry::page(&page.path, page.limit);
        let answer = self.connector.ask(&page.target, egress, &inquiry).await.map(|reply| reply.status);
        let name = egress.map_or_else(|| "direct".into(), |egress| egress.name().clone());
        let finding = |status, error, certainty| Finding {
            egress: name.clone(),
            status,
            error,
            certainty,
            took: started.elapsed(),
        };
        match answer {
            Ok(status) if !page.accepts_any && !(200..400).contains(&status) => {
                finding(Some(status), Some(format!("the page is answered with {status}")), Certainty::Doubtful)
            }
            Ok(status) => finding(Some(status), None, Certainty::Doubtful),
            Err(error) => {
                let certainty = if is_egress_fault(&error) { Certainty::Certain } else { Certainty::Doubtful };
                finding(None, Some(said(&error)), certainty)
            }
        }
    }

    /// Starts the checks that are due, one round per pool at a time.
    fn start_due(self: &Arc<Self>, running: &mut HashMap<String, JoinHandle<()>>) {
        for entry in self.keypool.entries().iter() {
            let name = &entry.config.name;
            let due = due(entry);
            if due.is_empty() || running.get(name).is_some_and(|round| !round.is_finished()) {
                continue;
            }
            let (checker, entry) = (self.clone(), entry.clone());
            let round = async move {
                match Page::of(&entry.config) {
                    Ok(page) => drop(checker.round(&entry, &page, &due).await),
                    Err(error) => log::warn!(pool = entry.config.name.as_str(); "Egresses are not checked: {error}"),
                }
            };
            running.insert(name.clone(), tokio::spawn(round));
        }
    }
}

fn due(entry: &Entry) -> Vec<Arc<Egress>> {
    let (now, every) = (keypool::now(), entry.config.egress_check.every);
    let is_due = |egress: &&Arc<Egress>| {
        let pause = if egress.is_down() { every.min(keypool::RECHECK) } else { every };
        egress.checked().is_none_or(|checked| checked.after(pause) <= now)
    };
    entry.egresses().list().iter().filter(is_due).cloned().collect()
}

/// Checks on schedule, as a Pingora background service.
pub struct Schedule(pub Arc<Checker>);

#[async_trait]
impl BackgroundService for Schedule {
    async fn start(&self, shutdown: ShutdownWatch) {
        let mut running = HashMap::new();
        every(TICK, shutdown, || self.0.start_due(&mut running)).await;
    }
}

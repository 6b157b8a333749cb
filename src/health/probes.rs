//! The background service that probes keys when it is their turn, and tries disabled ones again by the pool's schedule.
//!
//! Invariant: at most one probe of a pool begins in a tick, so that however much there is to do, no provider is stormed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::every;
use super::prober::{Asked, Prober, Tested, hold};
use super::reactivation::Plan;
use crate::config::Reactivate;
use crate::keypool::{self, Entry, Why};
use crate::manage::Manager;
use crate::pool::Millis;
use crate::store::Run;
use crate::verdict::Fault;

/// How often is looked for what is due; a pool's probes begin at most so often.
const TICK: Duration = Duration::from_millis(100);
/// Keys that return in one go.
const AT_ONCE: u32 = 256;

/// Probes the keys of all pools.
pub struct Probes {
    prober: Arc<Prober>,
    manager: Arc<Manager>,
}

impl Probes {
    /// Probes by `prober`; what must outlast the process is kept by `manager`.
    pub fn new(prober: Arc<Prober>, manager: Arc<Manager>) -> Self {
        Self { prober, manager }
    }

    fn tick(&self, plans: &mut HashMap<String, Plan>, kept: &[Run]) {
        let pools = self.prober.pools();
        plans.retain(|name, _| pools.iter().any(|pool| pool.entry.config.name == *name));
        for asked in pools.into_iter().filter(|asked| asked.entry.config.enabled) {
            self.reactivate(&asked.entry, plans, kept);
            let (entry, now) = (&asked.entry, keypool::now());
            let turn = entry.round.lock().take(&entry.pool, &entry.config.probe, fastrand::f64(), now);
            if let Some((key, why)) = turn {
                tokio::spawn(probe(self.prober.clone(), asked, key, why));
            }
        }
    }

    /// Tries all disabled keys of a pool again, if it is time.
    fn reactivate(&self, entry: &Arc<Entry>, plans: &mut HashMap<String, Plan>, kept: &[Run]) {
        let (pool, now) = (entry.config.name.as_str(), Timestamp::now());
        let Some(wanted) = &entry.config.reactivate else {
            if plans.remove(pool).is_some() {
                entry.round.lock().set_reactivation(None);
            }
            return;
        };
        if plans.get(pool).is_none_or(|plan| !plan.is_of(&wanted.schedule)) {
            let kept = kept.iter().find(|run| run.pool == pool);
            let plan = Plan::new(&wanted.schedule, kept, now);
            self.keep(plan.run(pool));
            plans.insert(pool.to_owned(), plan);
        }
        let Some(plan) = plans.get_mut(pool) else { return };
        if plan.take(now) {
            self.keep(plan.run(pool));
            begin(entry, wanted);
        }
        entry.round.lock().set_reactivation(plan.next().map(|next| moment(next, now)));
    }

    /// Keeps when a schedule was followed last.
    fn keep(&self, run: Run) {
        let manager = self.manager.clone();
        tokio::spawn(async move {
            if let Err(error) = manager.store().note_run(run).await {
                log::warn!(error:%; "When keys were reactivated last can't be kept; a restart may do it again.");
            }
        });
    }
}

#[async_trait]
impl BackgroundService for Probes {
    async fn start(&self, shutdown: ShutdownWatch) {
        let kept = self.manager.store().last_runs().await.unwrap_or_default();
        let mut plans = HashMap::new();
        every(TICK, shutdown, || self.tick(&mut plans, &kept)).await;
    }
}

fn begin(entry: &Arc<Entry>, wanted: &Reactivate) {
    let pool = entry.config.name.as_str();
    let schedule = wanted.schedule.to_string();
    log::info!(pool, schedule = schedule.as_str(), probe = wanted.probe; "Keys that rules disabled are tried again.");
    if wanted.probe {
        entry.round.lock().reactivate();
    } else {
        tokio::spawn(bring_back(entry.clone()));
    }
}

/// Uses all keys again that rules disabled.
async fn bring_back(entry: Arc<Entry>) {
    for key in 0..entry.pool.keys().len() as u32 {
        if entry.pool.is_refused(key) {
            entry.pool.reactivate(key, keypool::now());
        }
        if key % AT_ONCE == 0 {
            tokio::task::yield_now().await;
        }
    }
}

fn moment(at: Timestamp, now: Timestamp) -> Millis {
    keypool::now().after(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

/// Gives a pool's probe its place back, however it ended.
struct UnderWay<'e>(&'e Entry);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.round.lock().done();
    }
}

async fn probe(prober: Arc<Prober>, asked: Asked, key: u32, why: Why) {
    let entry = &asked.entry;
    let _under_way = UnderWay(entry);
    if why == Why::Round && !prober.is_worth_it(&asked, key).await {
        return;
    }
    let tested = prober.test(&asked, key).await;
    let now = keypool::now();
    if is_unanswered(&tested) {
        entry.round.lock().hold(now.after(hold(entry)));
    }
    let says_nothing = is_unanswered(&tested) || tested.examined.blame.fault == Fault::Egress;
    if says_nothing && why != Why::Round {
        entry.pool.repeat_recheck(key, now);
    }
}

/// It may be the provider's own trouble.
fn is_unanswered(tested: &Tested) -> bool {
    matches!(tested.examined.blame.fault, Fault::Target | Fault::Unknown)
}

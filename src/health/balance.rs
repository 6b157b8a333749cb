//! What keys have left: asked of their providers on schedule, and when somebody wants to see it.
//!
//! Invariant: whatever is answered here is never a fault of the key. A provider may refuse this question to a key that it
//! serves, or not know it at all; what a 401 means, traffic and probes find out. Only a balance that was told, and is less
//! than the pool's minimum, makes a key rest.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use futures::{StreamExt, stream};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::ask::{Question, ask};
use super::every;
use crate::keypool::{ANSWERED_WITHIN, Entry, Told, now};
use crate::pool::Millis;
use crate::proxy::Edge;
use crate::upstream::{Connector, Reply, Target, Targets};
use crate::verdict::balance::Balance as Call;

/// How often is looked for what is due.
const TICK: Duration = Duration::from_millis(100);
/// Questions to one pool's provider at once: on schedule, and while somebody waits.
const AT_ONCE: usize = 4;
const AT_ONCE_AWAITED: usize = 8;
/// Keys looked at in a tick.
const LOOKED_AT: usize = 4096;
/// A pool with nothing due is looked at again after this time at the latest: keys come, and settings change.
const IDLE: Duration = Duration::from_secs(1);
/// Most that is read of an answer (bytes).
const MOST: usize = 64 * 1024;
/// Somebody waits so long at most; the keys that are left are asked on schedule.
const AWAITED: Duration = Duration::from_secs(20);

/// Asks for balances.
pub struct Balances {
    connector: Connector,
    edge: Arc<ArcSwap<Edge>>,
}

impl Balances {
    /// Asks for those of the keys that `edge` holds at the time.
    pub fn new(connector: Connector, edge: Arc<ArcSwap<Edge>>) -> Self {
        Self { connector, edge }
    }

    /// Asks for the balances of all keys of a pool, as far as there is time while somebody waits.
    pub async fn refresh(&self, pool: &str) {
        let found = {
            let edge = self.edge.load();
            let pool = edge.targets_of(pool).filter(|(entry, _)| entry.tells_balances());
            pool.map(|(entry, targets)| (entry.clone(), targets.clone()))
        };
        let Some((entry, targets)) = found else { return };
        let round = async {
            let balances = entry.balances();
            let _alone = balances.refresh.lock().await;
            balances.try_again();
            let keys = (0..).zip(entry.pool.keys()).filter(|(_, key)| !key.is_out());
            let keys = stream::iter(keys).for_each_concurrent(AT_ONCE_AWAITED, async |(index, key)| {
                if !balances.is_silent(now()) && !balances.is_new(key.id, now()) {
                    find_out(&self.connector, &entry, &targets, index).await;
                }
            });
            keys.await;
        };
        if timeout(AWAITED, round).await.is_err() {
            log::debug!(pool; "Not all keys' balances were told in time.");
        }
    }
}

/// Asks for one key's balance and takes in what that brings.
async fn find_out(connector: &Connector, entry: &Entry, targets: &Targets, index: u32) {
    let Some(key) = entry.pool.key(index) else { return };
    entry.balances().asking(key.id, now());
    let Some(target) = targets.any(now()) else { return };
    let told = told(connector, entry, target, index).await;
    entry.learn_balance(index, &told, now());
}

async fn told(connector: &Connector, entry: &Entry, target: &Arc<Target>, index: u32) -> Told {
    let Some(call) = &entry.config.provider.balance else { return Told::Unsupported };
    let question = Question::get(call.url.as_str(), MOST);
    match timeout(ANSWERED_WITHIN, ask(connector, entry, target, Some(index), &question)).await {
        Ok(Ok(reply)) => understood(call, target, &reply),
        Ok(Err(_)) => Told::Nothing("unreachable"),
        Err(_) => Told::Nothing("timeout"),
    }
}

fn understood(call: &Call, target: &Target, reply: &Reply) -> Told {
    let host = target.authority.split(':').next().unwrap_or_default();
    match reply.status {
        200..300 => call.read(&reply.body, host).map_or(Told::Nothing("not_understood"), Told::Amounts),
        404 | 410 => Told::Unsupported,
        401 | 403 => Told::Refused,
        429 => Told::Nothing("rate_limited"),
        500.. => Told::Nothing("server_error"),
        _ => Told::Nothing("not_understood"),
    }
}

// === the schedule ===

/// Where a pool's questions are.
struct Lap {
    /// The key that is looked at next.
    cursor: usize,
    /// Nothing is asked before.
    next: Millis,
    /// When the first key that was passed over in this lap is due.
    first_due: Millis,
    /// A key was asked in this lap.
    is_busy: bool,
    turns: Arc<Semaphore>,
}

impl Default for Lap {
    fn default() -> Self {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Self { cursor: 0, next: Millis(0), first_due: Millis(u64::MAX), is_busy: false, turns }
    }
}

impl Lap {
    /// The next key that is due, if one is, and if it is time to ask.
    fn next(&mut self, entry: &Entry, every: Duration, now: Millis) -> Option<u32> {
        if now < self.next || entry.balances().is_silent(now) {
            return None;
        }
        for _ in 0..LOOKED_AT {
            let Some(key) = entry.pool.keys().get(self.cursor) else {
                let is_over = !std::mem::take(&mut self.is_busy);
                self.cursor = 0;
                let first_due = std::mem::replace(&mut self.first_due, Millis(u64::MAX));
                if is_over {
                    self.next = first_due.min(now.after(IDLE));
                    return None;
                }
                continue;
            };
            let index = self.cursor as u32;
            self.cursor += 1;
            if key.is_out() {
                continue;
            }
            let due = entry.balances().due(key.id, every);
            if due <= now {
                self.is_busy = true;
                self.next = now.after(entry.balance_pace());
                return Some(index);
            }
            self.first_due = self.first_due.min(due);
        }
        None
    }
}

impl Balances {
    fn start_due(&self, laps: &mut HashMap<String, Lap>) {
        let now = now();
        for (entry, targets) in self.edge.load().targets() {
            let Some(every) = entry.config.balance.every.filter(|_| entry.tells_balances()) else { continue };
            let lap = laps.entry(entry.config.name.clone()).or_default();
            let Ok(turn) = lap.turns.clone().try_acquire_owned() else { continue };
            let Some(index) = lap.next(entry, every, now) else { continue };
            let (connector, entry, targets) = (self.connector.clone(), entry.clone(), targets.clone());
            tokio::spawn(async move {
                find_out(&connector, &entry, &targets, index).await;
                drop(turn);
            });
        }
    }
}

/// Asks on schedule, as a Pingora background service.
pub struct BalanceChecks(pub Arc<Balances>);

#[async_trait]
impl BackgroundService for BalanceChecks {
    async fn start(&self, shutdown: ShutdownWatch) {
        let mut laps = HashMap::new();
        every(TICK, shutdown, || self.0.start_due(&mut laps)).await;
    }
}

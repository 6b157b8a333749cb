//! One key asked whether it works, and what becomes of it by the answer.
//!
//! An answer marks a key as one to a client's request would. Invariants: a provider that does not answer, or that refuses
//! every key it is asked about, marks none; and what an operator switched off is not touched.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;

use super::probe::{Examined, NoWay, Outcome, Way};
use crate::config::KeyId;
use crate::keypool::{self, Entry};
use crate::pool::{Event, Place};
use crate::proxy::Edge;
use crate::upstream::{Connector, Target, Targets};
use crate::verdict::Fault;

/// What tells of a pool's keys is found out anew after this time.
const KNOWN_FOR: Duration = Duration::from_secs(3600);
/// A key that was accepted so lately shows that the provider does not refuse all.
const WITNESS: Duration = Duration::from_secs(60);
/// No probes for so long, at most, while a provider is in trouble.
const HOLD: Duration = Duration::from_secs(30);

/// What became of a key by a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "ProbeEffect")]
pub enum Effect {
    /// It is as it was.
    None,
    /// It was disabled, and is used again.
    Returned,
    /// It rests.
    Rested,
    /// It is disabled.
    Disabled,
}

impl Effect {
    /// All, in their order.
    pub const ALL: [Self; 4] = [Self::None, Self::Returned, Self::Rested, Self::Disabled];

    /// As a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Returned => "returned",
            Self::Rested => "rested",
            Self::Disabled => "disabled",
        }
    }
}

/// What a probe showed and did.
#[derive(Debug, Clone)]
pub struct Tested {
    /// What it showed.
    pub examined: Examined,
    /// What it did.
    pub effect: Effect,
}

/// A pool with the targets its keys are asked at.
#[derive(Clone)]
pub struct Asked {
    /// The pool.
    pub entry: Arc<Entry>,
    /// Its targets.
    pub targets: Arc<Targets>,
}

/// How the keys of one pool are asked.
struct Known {
    entry: Weak<Entry>,
    since: Instant,
    way: Arc<Way>,
}

type Slot = Arc<tokio::sync::Mutex<Option<Known>>>;

/// Asks keys.
pub struct Prober {
    connector: Connector,
    edge: Arc<ArcSwap<Edge>>,
    ways: Mutex<HashMap<String, Slot>>,
}

impl Prober {
    /// Asks keys of whatever pools `edge` holds at the time.
    pub fn new(connector: Connector, edge: Arc<ArcSwap<Edge>>) -> Self {
        Self { connector, edge, ways: Mutex::default() }
    }

    /// All pools.
    pub fn pools(&self) -> Vec<Asked> {
        let edge = self.edge.load();
        edge.targets().map(|(entry, targets)| Asked { entry: entry.clone(), targets: targets.clone() }).collect()
    }

    /// How many keys of a pool may be asked at once.
    pub fn concurrency(&self, pool: &str) -> usize {
        let edge = self.edge.load();
        edge.targets_of(pool).map_or(1, |(entry, _)| entry.config.probe.concurrency)
    }

    /// Asks one key, wherever it is; `None` if there is none of this id.
    pub async fn test_by_id(&self, id: KeyId) -> Option<Tested> {
        let (asked, key) = {
            let edge = self.edge.load();
            let find = |(entry, targets): (&Arc<Entry>, &Arc<Targets>)| {
                let key = entry.place(id)?;
                Some((Asked { entry: entry.clone(), targets: targets.clone() }, key))
            };
            edge.targets().find_map(find)?
        };
        Some(self.test(&asked, key).await)
    }

    /// Whether a key in use shall be asked: not if that costs money and the key did not fail.
    pub(super) async fn is_worth_it(&self, asked: &Asked, key: u32) -> bool {
        let Some(target) = asked.targets.any(keypool::now()) else { return true };
        let is_billed = self.way(&asked.entry, target).await.is_ok_and(|way| way.is_billed());
        !is_billed || asked.entry.pool.has_failed(key)
    }

    /// Asks one key of a pool, and acts on the answer.
    pub async fn test(&self, asked: &Asked, key: u32) -> Tested {
        let entry = &asked.entry;
        let (examined, effect) = match self.ask(asked, key).await {
            Ok((examined, effect)) => (examined, effect),
            Err(no_way) => (Examined::none(&no_way), Effect::None),
        };
        entry.metrics.probed(examined.outcome.as_str());
        if let (Some(rule), false) = (&examined.rule, examined.outcome == Outcome::Valid) {
            entry.metrics.rule_matched(rule, "enforce");
        }
        let (pool, name) = (entry.config.name.as_str(), entry.pool.key(key).map_or("", |key| &*key.name));
        log::debug!(
            pool, key = name, result = examined.outcome.as_str(), reason = examined.reason.as_str(),
            status = examined.status, rule = examined.rule.as_deref(), milliseconds = examined.took.as_millis() as u64;
            "A key was probed."
        );
        if effect == Effect::Returned {
            log::info!(pool, key = name; "A key that was disabled works again.");
        }
        Tested { examined, effect }
    }

    async fn ask(&self, asked: &Asked, key: u32) -> Result<(Examined, Effect), NoWay> {
        let entry = &asked.entry;
        let target = asked.targets.any(keypool::now()).ok_or_else(NoWay::without_target)?.clone();
        let way = self.way(entry, &target).await?;
        let examined = way.examine(&self.connector, entry, &target, key).await;
        let place = Place { target: &target.name, model: way.model() };
        let is_off = entry.pool.key(key).is_none_or(|key| key.is_off() || key.is_disabled_by_operator());
        let is_news = examined.outcome == Outcome::Dead && !entry.pool.is_refused(key) && !is_off;
        let effect = if is_off || (is_news && !self.is_believed(asked, &way, &target, key).await) {
            Effect::None
        } else {
            settle(entry, key, &place, &examined)
        };
        Ok((examined, effect))
    }

    /// What to ask the pool's keys, found out when it is not known.
    async fn way(&self, entry: &Arc<Entry>, target: &Arc<Target>) -> Result<Arc<Way>, NoWay> {
        let slot = self.ways.lock().entry(entry.config.name.clone()).or_default().clone();
        // Whoever comes meanwhile waits: one call tells all.
        let mut known = slot.lock().await;
        let is_same = |known: &&Known| {
            let is_fresh = known.since.elapsed() < KNOWN_FOR;
            is_fresh && std::ptr::eq(known.entry.as_ptr(), Arc::as_ptr(entry))
        };
        if let Some(known) = known.as_ref().filter(is_same) {
            return Ok(known.way.clone());
        }
        let way = Arc::new(Way::find(&self.connector, entry, target).await?);
        entry.round.lock().set_billed(way.is_billed());
        *known = Some(Known { entry: Arc::downgrade(entry), since: Instant::now(), way: way.clone() });
        Ok(way)
    }

    /// Whether a key is dead that the provider refuses: others are not refused, or there are too few to tell. One that
    /// refuses three keys and accepts none has a problem of its own.
    async fn is_believed(&self, asked: &Asked, way: &Way, target: &Arc<Target>, key: u32) -> bool {
        let (entry, now) = (&asked.entry, keypool::now());
        if let Some(accepts) = entry.round.lock().accepts_keys(now, WITNESS) {
            return accepts;
        }
        let third = entry.pool.keys().len() as u32 / 3;
        let mut witnesses = Vec::new();
        for start in [key + third.max(1), key + 2 * third.max(1)] {
            // Keys that stand side by side often die together.
            let mut from = start % entry.pool.keys().len().max(1) as u32;
            for _ in 0..=witnesses.len() + 1 {
                let Some(witness) = entry.pool.ready_from(from, now) else { break };
                if witness != key && !witnesses.contains(&witness) {
                    witnesses.push(witness);
                    break;
                }
                from = (witness + 1) % entry.pool.keys().len().max(1) as u32;
            }
        }
        let mut refused = 0;
        for witness in &witnesses {
            match way.examine(&self.connector, entry, target, *witness).await.outcome {
                Outcome::Valid | Outcome::Limited => {
                    entry.round.lock().accepted(now);
                    return true;
                }
                Outcome::Dead => refused += 1,
                Outcome::Unknown => return false,
            }
        }
        if refused > 1 {
            let mut round = entry.round.lock();
            round.refused(now);
            round.hold(now.after(hold(entry)));
            let pool = entry.config.name.as_str();
            log::warn!(pool; "The provider refuses every key that is probed. None is disabled: check the provider and the pool's target.");
        }
        refused < 2
    }
}

/// How long a pool's probes wait for a provider that is in trouble.
pub(super) fn hold(entry: &Entry) -> Duration {
    entry.config.probe.every.unwrap_or(HOLD).min(HOLD)
}

/// Acts on what a probe showed.
fn settle(entry: &Entry, key: u32, place: &Place<'_>, examined: &Examined) -> Effect {
    let (pool, now) = (&entry.pool, keypool::now());
    if matches!(examined.outcome, Outcome::Valid | Outcome::Limited) {
        entry.round.lock().accepted(now);
    }
    match examined.blame.fault {
        Fault::None => {
            if !place.model.is_empty() {
                // It did what requests ask for.
                pool.succeed(key, place);
            }
            if pool.vouch(key, now) { Effect::Returned } else { Effect::None }
        }
        Fault::Key(scope, mark) | Fault::Refused(scope, mark)
            if matches!(examined.outcome, Outcome::Dead | Outcome::Limited) =>
        {
            // Whoever limits a key knows it.
            let is_limit = examined.outcome == Outcome::Limited && scope != crate::pool::Scope::Egress;
            let is_back = is_limit && pool.vouch(key, now);
            if pool.is_refused(key) {
                return Effect::None;
            }
            let egress = entry.egresses().of(key, now).cloned();
            let event = entry.mark(key, (scope, mark), egress.as_deref(), place, now);
            entry.announce(key, event);
            match event {
                Some(Event::Disabled(_)) => Effect::Disabled,
                Some(_) => Effect::Rested,
                None if is_back => Effect::Returned,
                None => Effect::None,
            }
        }
        Fault::Egress => {
            entry.apply_egresses(now);
            Effect::None
        }
        _ => Effect::None,
    }
}

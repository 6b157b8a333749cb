//! How a pool comes into being, and how one takes another's place at a reload.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::board::Board;
use super::budget::Budget;
use super::circuit::Circuits;
use super::group::{Bond, Group, Groups};
use super::model::ModelBoard;
use super::quota::{Calendar, Quota};
use super::rest::FULL;
use super::restriction::Restrictions;
use super::selection::{RoundRobin, Strategy};
use super::{Heir, Key, Ledger, Millis, Pool, Rules, Seed, Tier, Transitions};
use crate::config::KeyId;

impl Pool {
    /// Prepares a pool of these keys; round robin starts at `start_index` of each tier. Keys, accounts and egresses that
    /// are in `before` too share their state with it. It hands out keys once it is [opened](Self::open).
    pub fn new(mut seeds: Vec<Seed>, rules: Rules, start_index: usize, before: Option<&Self>) -> Self {
        seeds.sort_by_key(|seed| seed.priority);
        let restrictions = Restrictions::new(&seeds);
        let known: HashMap<KeyId, &Key> =
            before.iter().flat_map(|pool| pool.keys.iter().map(|key| (key.id, key))).collect();
        let known_groups: HashMap<(Bond, &str), &Group> =
            before.iter().flat_map(|pool| &pool.groups).map(|group| ((group.bond, &*group.name), group)).collect();
        let mut groups = Groups::default();
        let keys: Box<[Key]> = (0..)
            .zip(seeds)
            .map(|(place, seed)| {
                let mut join = |bond, name: &Option<Arc<str>>| {
                    let name = name.as_ref()?;
                    Some(groups.join(bond, name, place, known_groups.get(&(bond, &**name)).copied()))
                };
                let before = known.get(&seed.id);
                let (account, egress) = (join(Bond::Account, &seed.account), join(Bond::Egress, &seed.egress));
                let quota = seed.limits.map(|limits| {
                    let own = || before.and_then(|key| key.quota.as_ref()).map(|quota| quota.tally.clone());
                    let tally = account.map_or_else(own, |account| groups.tally(account)).unwrap_or_default();
                    Box::new(Quota { limits: *limits, tally })
                });
                Key {
                    account,
                    egress,
                    quota,
                    state: before.map(|key| key.state.clone()).unwrap_or_default(),
                    id: seed.id,
                    name: seed.name,
                    priority: seed.priority,
                    is_off: seed.is_off,
                }
            })
            .collect();
        Self {
            groups: groups.into_list(),
            tiers: tiers(&keys, start_index),
            start_index,
            rules,
            board: Board::new(keys.len()),
            models: ArcSwap::default(),
            restrictions,
            circuits: Circuits::default(),
            calendar: Calendar::default(),
            budget: before.map_or_else(|| Arc::new(Budget::new()), |pool| pool.budget.clone()),
            transitions: before.map_or_else(Arc::<Transitions>::default, |pool| pool.transitions.clone()),
            ledger: Mutex::new(Ledger::default()),
            heir: OnceLock::new(),
            keys,
        }
    }

    /// Opens the pool. With `before` it takes that pool's place: marks of requests that began there are put on here.
    pub fn open(self: &Arc<Self>, before: Option<&Self>, now: Millis) {
        let mut old = before.map(|pool| (pool, pool.ledger.lock()));
        let mut ledger = self.ledger.lock();
        if let Some((before, old)) = &mut old {
            let moved = self.places_of(before);
            let carried = |model: &Arc<ModelBoard>| {
                let name = model.model()?;
                Some(Arc::new(model.carry_over(name, self.keys.len(), self.restrictions.closed_to(name), &moved)))
            };
            self.models.store(Arc::new(before.models.load().iter().filter_map(carried).collect()));
            self.circuits.take_over(&before.circuits, &moved);
            self.go_on_with_turns(before, &moved);
            ledger.take_over_changes(old, &moved);
            ledger.refusals = std::mem::take(&mut old.refusals).moved(&moved);
            before.heir.get_or_init(|| Heir { pool: self.clone(), moved });
        }
        self.enter_all(&mut ledger, now);
    }

    pub(super) fn enter_all(&self, ledger: &mut Ledger, now: Millis) {
        ledger.disabled = self.keys.iter().filter(|key| key.is_out()).count();
        ledger.rechecks = self.planned_rechecks(now);
        ledger.full = self.keys.iter().filter(|key| key.state.limit.load(Relaxed) == FULL).count();
        for (index, _) in (0..).zip(&self.keys) {
            self.weigh_one(ledger, index, now);
            self.enter(index, now);
        }
    }

    /// Each tier goes on behind the key that was picked last there, or behind the nearest before it that is still here:
    /// turns that began anew at each change would always meet the same keys.
    fn go_on_with_turns(&self, before: &Self, moved: &[Option<u32>]) {
        if self.start_index != before.start_index {
            return;
        }
        for tier in &self.tiers {
            let Some(old) = before.tiers.iter().find(|old| old.priority == tier.priority) else { continue };
            let last = old.strategy.last();
            if !old.range.contains(&last) {
                continue;
            }
            let here = |index: usize| {
                let index = (*moved.get(index)?)? as usize;
                tier.range.contains(&index).then_some(index)
            };
            if let Some(index) = (old.range.start..=last).rev().find_map(here) {
                tier.strategy.go_on_behind(index);
            }
        }
    }

    /// Where the keys of another pool are in this one.
    fn places_of(&self, before: &Self) -> Box<[Option<u32>]> {
        let places: HashMap<KeyId, u32> = self.keys.iter().map(|key| key.id).zip(0..).collect();
        before.keys.iter().map(|key| places.get(&key.id).copied()).collect()
    }
}

fn tiers(keys: &[Key], start_index: usize) -> Box<[Tier]> {
    let mut start = 0;
    let tier = |tier: &[Key]| {
        let priority = tier.first().map_or(0, |key| key.priority);
        let range = start..start + tier.len();
        start = range.end;
        let strategy: Box<dyn Strategy> = Box::new(RoundRobin::starting_at(range.start + start_index % tier.len()));
        Tier { priority, range, strategy }
    };
    keys.chunk_by(|a, b| a.priority == b.priority).map(tier).collect()
}

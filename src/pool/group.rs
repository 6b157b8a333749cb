//! Keys that rest together: those of an account, those of an egress.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use super::quota::Tally;
use super::rest::Rest;

/// What keys have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Bond {
    Account,
    Egress,
}

/// One account or egress. What is shared outlives reloads.
pub(super) struct Group {
    pub(super) bond: Bond,
    pub(super) name: Arc<str>,
    pub(super) rest: Arc<Rest>,
    /// Of an egress: answers came through it since a key behind it was limited last.
    pub(super) is_served: Arc<AtomicBool>,
    /// Of an account whose keys have limits: what was used of them.
    pub(super) tally: OnceLock<Arc<Tally>>,
    /// Places of its keys in the pool.
    pub(super) members: Vec<u32>,
}

/// Collects the groups of a pool that is being built.
#[derive(Default)]
pub(super) struct Groups {
    list: Vec<Group>,
    places: HashMap<(Bond, Arc<str>), u32>,
}

impl Groups {
    /// Enters a key into the group of that name; returns the group's place. `before` is the group it was until now.
    pub(super) fn join(&mut self, bond: Bond, name: &Arc<str>, key: u32, before: Option<&Group>) -> u32 {
        let place = *self.places.entry((bond, name.clone())).or_insert_with(|| {
            let (rest, is_served, tally) = before
                .map(|group| (group.rest.clone(), group.is_served.clone(), group.tally.clone()))
                .unwrap_or_default();
            self.list.push(Group { bond, name: name.clone(), rest, is_served, tally, members: Vec::new() });
            self.list.len() as u32 - 1
        });
        if let Some(group) = self.list.get_mut(place as usize) {
            group.members.push(key);
        }
        place
    }

    /// What was used of the limits of the group at that place.
    pub(super) fn tally(&self, place: u32) -> Option<Arc<Tally>> {
        Some(self.list.get(place as usize)?.tally.get_or_init(Arc::default).clone())
    }

    pub(super) fn into_list(self) -> Box<[Group]> {
        self.list.into()
    }
}

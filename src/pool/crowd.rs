//! Limits of many accounts behind one egress: then it is the egress's address that is limited.
//!
//! A provider may count requests by address and say so in the words of an account's limit. Each account behind the
//! address would be asked and rest in turn. If one after the other is limited and none is served in between, the egress
//! rests until the first of them is back, and keys behind others are used.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::group::Group;
use super::{Key, Millis};

const WINDOW: Duration = Duration::from_secs(60);
/// So many accounts at least, and more than half of those behind the egress, or [`MANY`].
const FEWEST: usize = 3;
/// So many in a row are no chance, however many there are.
const MANY: usize = 16;

/// By place of the egress: who was limited lately, with nobody served since.
#[derive(Default)]
pub(super) struct Crowds(HashMap<u32, Vec<Limited>>);

struct Limited {
    who: Payer,
    at: Millis,
    until: Millis,
}

/// Whom a limit is on: keys of one account are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Payer {
    Account(u32),
    Key(u32),
}

impl Payer {
    fn of(index: u32, key: &Key) -> Self {
        key.account.map_or(Self::Key(index), Self::Account)
    }
}

impl Crowds {
    /// Notes that a key was limited until then; gives the time for which its egress should rest, if it is to blame.
    pub(super) fn note(
        &mut self,
        index: u32,
        until: Millis,
        egress: (u32, &Group),
        keys: &[Key],
        now: Millis,
    ) -> Option<Duration> {
        let (place, group) = egress;
        let who = Payer::of(index, keys.get(index as usize)?);
        let crowd = self.0.entry(place).or_default();
        if group.is_served.swap(false, Relaxed) {
            crowd.clear();
        }
        crowd.retain(|other| other.who != who && other.at.after(WINDOW) > now);
        crowd.push(Limited { who, at: now, until });
        let is_crowd = crowd.len() >= MANY || (crowd.len() >= FEWEST && !has_payers(group, keys, crowd.len() * 2));
        let first = crowd.iter().map(|limited| limited.until).min().filter(|_| is_crowd)?;
        Some(now.until(first))
    }
}

/// So many accounts behind the egress are in use.
fn has_payers(egress: &Group, keys: &[Key], number: usize) -> bool {
    let in_use = |&index: &u32| keys.get(index as usize).filter(|key| !key.is_out()).map(|key| Payer::of(index, key));
    let mut seen = HashSet::new();
    egress.members.iter().filter_map(in_use).any(|payer| seen.insert(payer) && seen.len() >= number)
}

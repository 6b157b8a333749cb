//! Many keys refused at once: then the provider has a problem, not the keys.
//!
//! A gateway that loses its key database answers 401 to everybody. If more than half of the keys in use, and at least
//! three, are refused within a minute, they rest instead of being disabled, those already disabled too.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::Millis;

const WINDOW: Duration = Duration::from_secs(60);
const FEWEST: usize = 3;

/// Keys refused lately, by target.
#[derive(Default)]
pub(super) struct Refusals(Vec<(Box<str>, Recent)>);

#[derive(Default)]
struct Recent {
    /// In the order of their refusals, each once.
    order: VecDeque<(Millis, u32)>,
    keys: HashSet<u32>,
    is_mass: bool,
}

impl Recent {
    fn note(&mut self, index: u32, now: Millis) {
        while let Some(&(at, key)) = self.order.front()
            && at.after(WINDOW) <= now
        {
            self.order.pop_front();
            self.keys.remove(&key);
        }
        if self.keys.insert(index) {
            self.order.push_back((now, index));
        }
    }
}

/// What one more refusal means.
pub(super) enum Meaning {
    /// The key is dead.
    Lone,
    /// The target is to blame. Begins with all the keys refused before it that no rest has saved yet.
    Mass { before: Vec<u32>, is_first: bool, keys: usize },
}

impl Refusals {
    /// Notes that a key was refused, which is one of `enabled` keys still in use.
    pub(super) fn note(
        &mut self,
        target: &str,
        index: u32,
        enabled: usize,
        is_disabled: impl Fn(u32) -> bool,
        now: Millis,
    ) -> Meaning {
        let recent = self.of(target);
        recent.note(index, now);
        let refused = recent.keys.len();
        if refused < FEWEST || refused * 2 <= enabled {
            recent.is_mass = false;
            return Meaning::Lone;
        }
        let before: Vec<u32> = recent.keys.iter().copied().filter(|&key| is_disabled(key)).collect();
        if refused * 2 <= enabled + before.len() {
            recent.is_mass = false;
            return Meaning::Lone;
        }
        let is_first = !std::mem::replace(&mut recent.is_mass, true);
        Meaning::Mass { before, is_first, keys: refused }
    }

    /// Follows the keys to their places in the pool that takes over.
    pub(super) fn moved(mut self, moved: &[Option<u32>]) -> Self {
        for (_, recent) in &mut self.0 {
            recent.order =
                recent.order.iter().filter_map(|&(at, key)| Some((at, (*moved.get(key as usize)?)?))).collect();
            recent.keys = recent.order.iter().map(|&(_, key)| key).collect();
        }
        self
    }

    fn of(&mut self, target: &str) -> &mut Recent {
        let place = self.0.iter().position(|(name, _)| &**name == target).unwrap_or_else(|| {
            self.0.push((target.into(), Recent::default()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }
}

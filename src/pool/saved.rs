//! Marks as they are kept beyond this process: taken from the pool as they change, given back when it starts.
//!
//! Deadlines are moments of the pool's own clock here as everywhere; whoever keeps them makes wall time of them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::model::{self, ModelBoard};
use super::rest::{NEVER, Rest};
use super::{Bond, Ledger, Millis, Pool, Reason};
use crate::config::KeyId;

/// What a mark is on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A key.
    Key(KeyId),
    /// A key, for failures that may prove not to be its fault.
    Suspicion(KeyId),
    /// A key, for one model.
    Model(KeyId, Arc<str>),
    /// An account, by name.
    Account(Arc<str>),
    /// An egress, by name.
    Egress(Arc<str>),
}

/// A mark as it is at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// What it is on.
    pub subject: Subject,
    /// When the rest ends, perhaps in the past; `None` = disabled.
    pub until: Option<Millis>,
    /// Why; `None` where there is no mark any more.
    pub reason: Option<Reason>,
    /// Rests since the last success.
    pub in_a_row: u8,
    /// Switched off by an operator: keys only.
    pub is_disabled: bool,
    /// When a rule disabled the key (milliseconds of the pool's clock; negative = before the process started).
    pub since: Option<i64>,
}

/// Something whose mark changed, by its place in the pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Changed {
    Key(u32),
    Suspicion(u32),
    Model(u32, Arc<str>),
    Group(u32),
}

impl Pool {
    /// The marks that changed since they were taken last.
    pub fn take_changes(&self) -> Vec<Saved> {
        let mut ledger = self.ledger.lock();
        let changed = std::mem::take(&mut ledger.changed);
        changed.iter().filter_map(|changed| self.saved(changed)).collect()
    }

    /// Puts marks back that were kept. Those of things that are not in this pool are passed over.
    pub fn restore(&self, marks: &[Saved], now: Millis) {
        let mut ledger = self.ledger.lock();
        let places: std::collections::HashMap<KeyId, u32> = self.keys.iter().map(|key| key.id).zip(0..).collect();
        for mark in marks {
            match &mark.subject {
                Subject::Key(id) => {
                    if let Some(key) = places.get(id).and_then(|&index| self.key(index)) {
                        key.state.own.restore(mark);
                        match mark.since {
                            Some(since) if key.state.own.is_disabled() => key.state.recheck.resume(since, now),
                            _ => key.state.recheck.forget(),
                        }
                        key.state.is_disabled.store(mark.is_disabled, Relaxed);
                    }
                }
                Subject::Suspicion(id) => {
                    if let Some(key) = places.get(id).and_then(|&index| self.key(index)) {
                        key.state.suspicion.restore(mark);
                    }
                }
                Subject::Model(id, model) => {
                    let is_live = mark.until.is_none_or(|until| until > now);
                    if let (Some(&index), true) = (places.get(id), is_live) {
                        self.model_board(model, now).restore(index, mark);
                    }
                }
                Subject::Account(name) => self.restore_group(Bond::Account, name, mark),
                Subject::Egress(name) => self.restore_group(Bond::Egress, name, mark),
            }
        }
        self.enter_all(&mut ledger, now);
    }

    fn restore_group(&self, bond: Bond, name: &str, mark: &Saved) {
        if let Some(group) = self.groups.iter().find(|group| group.bond == bond && &*group.name == name) {
            group.rest.restore(mark);
        }
    }

    fn saved(&self, changed: &Changed) -> Option<Saved> {
        let id = |index: u32| self.key(index).map(|key| key.id);
        match changed {
            &Changed::Key(index) => {
                let state = &self.key(index)?.state;
                let is_disabled = state.is_disabled.load(Relaxed);
                let since = state.own.is_disabled().then(|| state.recheck.since());
                Some(Saved { is_disabled, since, ..state.own.saved(Subject::Key(id(index)?)) })
            }
            &Changed::Suspicion(index) => Some(self.key(index)?.state.suspicion.saved(Subject::Suspicion(id(index)?))),
            Changed::Model(index, name) => {
                let models = self.models.load();
                let board: &ModelBoard = model::find(&models, name)?;
                Some(board.mark(*index)?.saved(Subject::Model(id(*index)?, name.clone())))
            }
            &Changed::Group(place) => {
                let group = self.groups.get(place as usize)?;
                let name = group.name.clone();
                Some(group.rest.saved(match group.bond {
                    Bond::Account => Subject::Account(name),
                    Bond::Egress => Subject::Egress(name),
                }))
            }
        }
    }
}

impl Ledger {
    /// The changes of the pool before, at their new places. Those of keys that are gone, and of groups, which are numbered
    /// anew, stay there to be taken.
    pub(super) fn take_over_changes(&mut self, before: &mut Self, moved: &[Option<u32>]) {
        let place = |index: u32| moved.get(index as usize).copied().flatten();
        before.changed.retain(|changed| {
            let at_new_place = match changed {
                &Changed::Key(index) => place(index).map(Changed::Key),
                &Changed::Suspicion(index) => place(index).map(Changed::Suspicion),
                Changed::Model(index, model) => place(*index).map(|index| Changed::Model(index, model.clone())),
                Changed::Group(_) => None,
            };
            let is_left = at_new_place.is_none();
            self.changed.extend(at_new_place);
            is_left
        });
    }
}

impl Rest {
    fn saved(&self, subject: Subject) -> Saved {
        let until = self.until();
        let until = (until != NEVER).then_some(Millis(until));
        Saved { subject, until, reason: self.reason(), in_a_row: self.in_a_row(), is_disabled: false, since: None }
    }

    pub(super) fn restore(&self, mark: &Saved) {
        let until = mark.until.map_or(NEVER, |until| until.0.min(NEVER - 1));
        self.set(until, mark.reason, mark.in_a_row);
    }
}

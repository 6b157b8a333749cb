//! Marks between the pools, which know moments of their own clock, and the store, which knows wall time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::Manager;
use super::keys::now_ms;
use crate::config::KeyId;
use crate::keypool::{Action, Entry, now};
use crate::pool::{Millis, Reason, Saved, Standing, Subject};
use crate::store::{self, Mark, StoreError, StoredMark};

/// Who set a mark.
const OPERATOR: &str = "operator";
const RULE: &str = "rule";

/// A change of a mark, as the store takes it.
pub(super) type MarkChange = (KeyId, store::Subject, Option<Mark>);

/// What an operator's action leaves of a key's own marks. `is_off`: it is disabled by an operator now.
pub(super) fn after(key: KeyId, action: Action, is_off: bool) -> Vec<MarkChange> {
    let operator = || Mark {
        until: None,
        reason: Reason::Operator.as_str().into(),
        by: OPERATOR.into(),
        rests: 0,
        evidence: String::new(),
        since: now_ms(),
    };
    let own = match action {
        Action::Disable => Some(operator()),
        Action::Reset if is_off => Some(operator()),
        Action::Enable | Action::Reset => None,
    };
    let suspicion = (action != Action::Disable).then_some((key, store::Subject::Suspicion, None));
    std::iter::once((key, store::Subject::Own, own)).chain(suspicion).collect()
}

/// What an account's mark is kept under: no key can have this id, for no key has a space.
fn account_id(pool: &str, account: &str) -> KeyId {
    KeyId::of(pool, &format!("account {account}"))
}

/// Unix milliseconds of a moment.
pub(super) fn wall(moment: Millis, now: Millis) -> i64 {
    let ahead = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let wall = now_ms();
    if moment > now { wall.saturating_add(ahead(now.until(moment))) } else { wall - ahead(moment.until(now)) }
}

/// The moment of a wall time; what is past is only past.
pub(super) fn moment(wall: i64, now: Millis) -> Millis {
    match u64::try_from(wall.saturating_sub(now_ms())) {
        Ok(ahead) => now.after(Duration::from_millis(ahead)),
        Err(_) => now,
    }
}

/// A pool's change as the store takes it; `None` for what is not kept.
pub(super) fn to_store(pool: &str, saved: Saved, now: Millis) -> Option<MarkChange> {
    let (key, subject) = match saved.subject {
        Subject::Key(key) => (key, store::Subject::Own),
        Subject::Suspicion(key) => (key, store::Subject::Suspicion),
        Subject::Model(key, model) => (key, store::Subject::Model((&*model).into())),
        Subject::Account(name) => (account_id(pool, &name), store::Subject::Account((&*name).into())),
        // An egress is tried again anyway.
        Subject::Egress(_) => return None,
    };
    let mark = (saved.reason.is_some() || saved.is_disabled).then(|| Mark {
        until: saved.until.map(|until| wall(until, now)),
        reason: saved.reason.map_or("", Reason::as_str).into(),
        by: if saved.is_disabled { OPERATOR } else { RULE }.into(),
        rests: saved.in_a_row.into(),
        evidence: String::new(),
        since: saved.since.map_or_else(now_ms, |since| now_ms() - (now.signed() - since)),
    });
    Some((key, subject, mark))
}

/// A mark of the store as the pool takes it.
fn to_pool(stored: &StoredMark, now: Millis) -> Option<Saved> {
    let subject = match &stored.subject {
        store::Subject::Own => Subject::Key(stored.key),
        store::Subject::Suspicion => Subject::Suspicion(stored.key),
        store::Subject::Model(model) => Subject::Model(stored.key, Arc::from(&**model)),
        store::Subject::Account(name) => Subject::Account(Arc::from(&**name)),
    };
    let mark = &stored.mark;
    let is_disabled = mark.by == OPERATOR;
    let reason = Reason::ALL.into_iter().find(|reason| reason.as_str() == mark.reason && *reason != Reason::Operator);
    // Switched off by an operator, and nothing else: no mark of its own.
    let until = match (reason, mark.until) {
        (None, _) => Some(now),
        (Some(_), until) => until.map(|until| moment(until, now)),
    };
    (reason.is_some() || is_disabled).then_some(Saved {
        subject,
        until,
        reason,
        in_a_row: u8::try_from(mark.rests).unwrap_or(u8::MAX),
        is_disabled,
        since: Some(now.signed() - now_ms().saturating_sub(mark.since)),
    })
}

impl Manager {
    /// Gives the pools the marks the store has kept.
    pub(super) fn restore_marks(&self) {
        self.give_back(Self::wait(self.store.marks()));
    }

    /// Gives keys that just came the marks the store has kept of them, and tells the store which keys there are.
    pub(super) fn welcome(&self, added: &HashSet<KeyId>) {
        if added.is_empty() {
            return;
        }
        let mut wanted = added.clone();
        for entry in self.live.keypool.entries().iter() {
            let of_added = entry.specs().iter().filter(|spec| added.contains(&spec.id));
            let accounts = of_added.filter_map(|spec| spec.account.as_deref());
            wanted.extend(accounts.map(|account| account_id(&entry.config.name, account)));
        }
        self.give_back(Self::wait(self.store.marks_of(wanted)));
    }

    fn give_back(&self, marks: Result<Vec<StoredMark>, StoreError>) {
        let marks = match marks {
            Ok(marks) => marks,
            Err(error) => return log::warn!(error:%; "Marks can't be read; keys begin without."),
        };
        let mut by_key: HashMap<KeyId, Vec<&StoredMark>> = HashMap::new();
        for mark in &marks {
            by_key.entry(mark.key).or_default().push(mark);
        }
        if by_key.is_empty() {
            return;
        }
        for entry in self.live.keypool.entries().iter() {
            restore(entry, &by_key);
        }
    }

    /// The keys there are, and what stands for accounts.
    pub(super) fn known_keys(&self) -> HashSet<KeyId> {
        let mut known = HashSet::new();
        for entry in self.live.keypool.entries().iter() {
            for spec in entry.specs() {
                known.insert(spec.id);
                known.extend(spec.account.iter().map(|account| account_id(&entry.config.name, account)));
            }
        }
        known
    }
}

/// Keys that got a mark meanwhile keep that.
fn restore(entry: &Entry, by_key: &HashMap<KeyId, Vec<&StoredMark>>) {
    let now = now();
    let mut marks = Vec::new();
    let mut accounts = HashSet::new();
    for (index, spec) in (0..).zip(entry.specs()) {
        if let Some(known) = by_key.get(&spec.id)
            && matches!(entry.pool.worst_standing(index, now), Standing::Ready)
        {
            marks.extend(known.iter().filter_map(|mark| to_pool(mark, now)));
        }
        if let Some(account) = spec.account.as_deref()
            && accounts.insert(account)
        {
            let known = by_key.get(&account_id(&entry.config.name, account));
            marks.extend(known.into_iter().flatten().filter_map(|mark| to_pool(mark, now)));
        }
    }
    if !marks.is_empty() {
        entry.pool.restore(&marks, now);
    }
}

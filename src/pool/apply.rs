//! What an attempt's outcome does to the pool. Everything here runs on failures only, but [`Pool::served`] and
//! [`Pool::succeed`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::model::{self, ModelBoard, Owner};
use super::refusal::Meaning;
use super::saved::Changed;
use super::{Event, Ledger, Mark, Millis, Place, Pool, Reason, Rules, Scope};

/// Why a rest begins, and how long it is.
struct Cause {
    reason: Reason,
    stated: Option<Duration>,
    rules: Rules,
}

impl Rules {
    /// The rules for a rest that is guessed by whoever knows the provider.
    fn escalating(self, first: Duration, most: Duration) -> Self {
        Self { cooldown: first, max_cooldown: most.min(self.max_cooldown).max(first), ..self }
    }
}

impl Pool {
    /// An answer to a request with that key began: others are served there, and by its egress.
    pub fn served(&self, index: u32, place: &Place<'_>) {
        self.newest().circuits.served(place);
        let egress = self.key(index).and_then(|key| self.group(key.egress));
        // As below: a store only where needed.
        if let Some(egress) = egress.filter(|egress| !egress.is_served.load(Relaxed)) {
            egress.is_served.store(true, Relaxed);
        }
    }

    /// An answer that had begun broke off.
    pub fn broke(&self, place: &Place<'_>) {
        self.newest().circuits.broke(place);
    }

    /// An answer came to its end: whatever was held against the key is forgotten.
    pub fn succeed(&self, index: u32, place: &Place<'_>) {
        if let Some(heir) = self.heir.get() {
            return heir.place(index).map_or((), |index| heir.pool.succeed(index, place));
        }
        let Some(key) = self.key(index) else { return };
        key.state.own.forgive();
        key.state.suspicion.forgive();
        if let Some(account) = self.group(key.account) {
            account.rest.forgive();
        }
        if let Some(mark) = model::find(&self.models.load(), place.model).and_then(|model| model.mark(index)) {
            mark.forgive();
        }
        // Stores only where needed: a success must not dirty the cache line of a healthy key.
        if key.state.strikes.load(Relaxed) != 0 {
            key.state.strikes.store(0, Relaxed);
        }
        if key.state.refusals.load(Relaxed) != 0 {
            key.state.refusals.store(0, Relaxed);
        }
        if key.state.runs.load(Relaxed) != 0 {
            self.in_charge(index, |pool, _, index| {
                if pool.circuits.end_run(index, place) {
                    pool.end_run(index);
                }
            });
        }
    }

    /// Puts a mark on a key, or on what it belongs to.
    pub fn mark(&self, index: u32, scope: Scope, mark: Mark, place: &Place<'_>, now: Millis) -> Option<Event> {
        self.in_charge(index, |pool, ledger, index| {
            let (reason, stated, rules) = match mark {
                Mark::Disable(reason) if scope == Scope::Key && pool.rules.permanent => {
                    return pool.refuse(ledger, index, reason, place, now);
                }
                Mark::Escalate { reason, disable_on: Some(limit), .. }
                    if scope == Scope::Key && pool.rules.permanent && pool.is_last_refusal(index, limit, now) =>
                {
                    return pool.refuse(ledger, index, reason, place, now);
                }
                Mark::Disable(reason) => (reason, Some(pool.rules.max_cooldown), pool.rules),
                Mark::Cool { reason, stated } => (reason, stated, pool.rules),
                Mark::Escalate { reason, first, most, .. } => (reason, None, pool.rules.escalating(first, most)),
            };
            let event = pool.rest(ledger, index, scope, &Cause { reason, stated, rules }, place, now);
            match reason {
                Reason::RateLimited if scope != Scope::Egress => pool.limited(ledger, index, place, now).or(event),
                _ => event,
            }
        })?
    }

    /// Others are asked first for so long: what the key, or its account, has left of a limit is nothing.
    pub fn defer(&self, index: u32, scope: Scope, time: Duration, place: &Place<'_>, now: Millis) {
        self.in_charge(index, |pool, _, index| {
            let Some(key) = pool.key(index) else { return };
            let account = pool.group(key.account).filter(|_| matches!(scope, Scope::Account | Scope::AccountModel));
            let members = account.map_or(std::slice::from_ref(&index), |account| &account.members);
            let is_of_model = matches!(scope, Scope::Model | Scope::AccountModel) && !place.model.is_empty();
            if is_of_model {
                let model = pool.model_board(place.model, now);
                members.iter().for_each(|&member| model.defer(member, time, now));
            } else {
                account.map_or(&key.state.own, |account| &account.rest).defer(time, now);
            }
            members.iter().for_each(|&member| pool.enter(member, now));
        });
    }

    /// A failure whose cause is not known: noted against the circuit. Takes back suspicions that it shows to be wrong.
    /// True if whoever is asked there fails.
    pub fn fault(&self, index: u32, place: &Place<'_>, now: Millis) -> bool {
        let is_down = self.in_charge(index, |pool, ledger, index| {
            let finding = pool.circuits.fault(index, place, pool.keys.len(), now);
            if finding.is_new
                && let Some(key) = pool.key(index)
            {
                key.state.runs.fetch_add(1, Relaxed);
            }
            for (index, is_blamed) in finding.refunds {
                pool.end_run(index);
                if let Some(key) = pool.key(index).filter(|_| is_blamed) {
                    key.state.suspicion.lift();
                    ledger.changed.insert(Changed::Suspicion(index));
                    pool.enter(index, now);
                }
            }
            finding.is_down
        });
        is_down.unwrap_or(false)
    }

    /// Holds that failure against the key, whose attempt began `since`; it rests once its run can't be chance.
    pub fn blame(&self, index: u32, place: &Place<'_>, since: Millis, now: Millis) -> Option<Event> {
        self.in_charge(index, |pool, ledger, index| {
            let is_fault = pool.circuits.blame(index, place, since, pool.rules.threshold, now);
            if is_fault { pool.rest(ledger, index, Scope::Key, &pool.cause(Reason::Failing), place, now) } else { None }
        })?
    }

    /// Counts a failure against the key whatever its cause; it rests at the threshold.
    pub fn strike(&self, index: u32, place: &Place<'_>, now: Millis) -> Option<Event> {
        self.in_charge(index, |pool, ledger, index| {
            let key = pool.key(index)?;
            let strikes = key.state.strikes.fetch_add(1, Relaxed) + 1;
            let is_enough = strikes >= pool.rules.threshold;
            if is_enough {
                pool.rest(ledger, index, Scope::Key, &pool.cause(Reason::Failing), place, now)
            } else {
                None
            }
        })?
    }

    /// Runs `change` with the lock of the pool that has the key now: this one, or the one that took its place.
    pub(super) fn in_charge<T>(&self, index: u32, change: impl FnOnce(&Self, &mut Ledger, u32) -> T) -> Option<T> {
        let mut ledger = self.ledger.lock();
        let Some(heir) = self.heir.get() else { return Some(change(self, &mut ledger, index)) };
        drop(ledger);
        heir.pool.in_charge(heir.place(index)?, change)
    }

    /// The pool that holds the keys now: this one, or the last that took its place.
    pub fn newest(&self) -> &Self {
        self.heir.get().map_or(self, |heir| heir.pool.newest())
    }

    /// A provider's word that a key is dead: believed, unless too many keys are "dead" at once.
    fn refuse(&self, ledger: &mut Ledger, index: u32, reason: Reason, place: &Place<'_>, now: Millis) -> Option<Event> {
        let key = self.key(index).filter(|key| !key.is_out())?;
        let enabled = self.keys.len() - ledger.disabled;
        let is_disabled = |index| self.key(index).is_some_and(|key| key.state.own.is_disabled());
        let meaning = ledger.refusals.note(place.target, index, enabled, is_disabled, now);
        let Meaning::Mass { before, is_first, keys } = meaning else {
            key.state.own.disable(reason);
            ledger.changed.insert(Changed::Key(index));
            ledger.disabled += 1;
            self.plan_recheck(ledger, index, now);
            count(&self.transitions.disablements, reason);
            self.enter(index, now);
            return Some(Event::Disabled(reason));
        };
        for index in before {
            let Some(saved) = self.key(index) else { continue };
            ledger.disabled -= usize::from(!saved.is_switched_off());
            saved.state.own.lift();
            saved.state.recheck.forget();
            self.rest(ledger, index, Scope::Key, &self.cause(reason), place, now);
        }
        let event = self.rest(ledger, index, Scope::Key, &self.cause(reason), place, now);
        if is_first { Some(Event::MassRefusal { keys }) } else { event }
    }

    /// Counts a refusal of uncertain meaning; true if it is the so-many-th in a row. Those of requests that were under way
    /// when a rest began are one.
    fn is_last_refusal(&self, index: u32, limit: u32, now: Millis) -> bool {
        let Some(key) = self.key(index).filter(|key| key.state.own.is_over(now)) else { return false };
        key.state.refusals.fetch_add(1, Relaxed) + 1 >= limit
    }

    /// A key is limited now: perhaps its egress is.
    fn limited(&self, ledger: &mut Ledger, index: u32, place: &Place<'_>, now: Millis) -> Option<Event> {
        let egress = self.key(index)?.egress?;
        let group = self.group(Some(egress))?;
        let models = self.models.load();
        let of_model = model::find(&models, place.model).map_or(0, |model| model.until(index));
        let until = Millis(self.blocked_until(index, None).max(of_model));
        let rest = ledger.crowds.note(index, until, (egress, group), &self.keys, now)?.min(self.rules.max_cooldown);
        let was_ready = group.rest.begin(Reason::RateLimited, Some(rest), &self.rules, now);
        group.members.iter().for_each(|&member| self.enter(member, now));
        ledger.changed.insert(Changed::Group(egress));
        was_ready.then_some(Event::EgressLimited(rest))
    }

    /// A rest as long as the pool's own rules say.
    fn cause(&self, reason: Reason) -> Cause {
        Cause { reason, stated: None, rules: self.rules }
    }

    fn rest(
        &self,
        ledger: &mut Ledger,
        index: u32,
        scope: Scope,
        cause: &Cause,
        place: &Place<'_>,
        now: Millis,
    ) -> Option<Event> {
        let key = self.key(index)?;
        let group = match scope {
            Scope::Account | Scope::AccountModel => key.account,
            Scope::Egress => key.egress,
            Scope::Key | Scope::Model => None,
        };
        let group = group.and_then(|place| Some((place, self.group(Some(place))?)));
        let is_of_model = matches!(scope, Scope::Model | Scope::AccountModel) && !place.model.is_empty();
        let (changed, begun) = if is_of_model {
            let members = group.map_or(std::slice::from_ref(&index), |(_, group)| &group.members);
            let (name, model) = (Arc::<str>::from(place.model), self.model_board(place.model, now));
            let mut begun = None;
            for &member in members {
                let was_ready = model.rest(member, cause.reason, cause.stated, &cause.rules, now);
                model.board.enter(member, self.deadlines(member, Some(&model)), now);
                ledger.changed.insert(Changed::Model(member, name.clone()));
                begun = begun.or_else(|| (was_ready && member == index).then(|| model.until(member)));
            }
            (Changed::Model(index, name), begun)
        } else if let Some((place, group)) = group {
            let begun = group.rest.begin(cause.reason, cause.stated, &cause.rules, now);
            group.members.iter().for_each(|&member| self.enter(member, now));
            (Changed::Group(place), begun.then(|| group.rest.until()))
        } else {
            let was_ready = key.state.until() <= now.0;
            let (rest, changed) = match cause.reason {
                Reason::Failing => (&key.state.suspicion, Changed::Suspicion(index)),
                _ => (&key.state.own, Changed::Key(index)),
            };
            rest.begin(cause.reason, cause.stated, &cause.rules, now);
            self.enter(index, now);
            (changed, was_ready.then(|| key.state.until()))
        };
        ledger.changed.insert(changed);
        let until = begun?;
        count(&self.transitions.rests, cause.reason);
        Some(Event::Rested(cause.reason, now.until(Millis(until))))
    }

    /// The board of a model or a class, made if it has none. Callers hold the ledger.
    pub(super) fn board_of(&self, owner: Owner, now: Millis) -> Arc<ModelBoard> {
        let models = self.models.load();
        if let Some(known) = models.iter().find(|board| board.owner == owner) {
            return known.clone();
        }
        let closed = match &owner {
            Owner::Model(model) => self.restrictions.closed_to(model),
            Owner::Class(class) => self.restrictions.closed(class),
        };
        let made = Arc::new(ModelBoard::new(owner, self.keys.len(), closed));
        (0..).zip(&self.keys).for_each(|(index, _)| made.board.enter(index, self.deadlines(index, Some(&made)), now));
        self.models.store(Arc::new(model::with(&models, made.clone())));
        made
    }

    /// The board of a model of which a key rests.
    pub(super) fn model_board(&self, model: &str, now: Millis) -> Arc<ModelBoard> {
        self.board_of(Owner::Model(model.into()), now)
    }
}

pub(super) fn count(counters: &[AtomicU64], reason: Reason) {
    if let Some(counter) = counters.get(reason as usize - 1) {
        counter.fetch_add(1, Relaxed);
    }
}

//! What the pool should be, written as plainly as can be: keys have names instead of places, every question is answered
//! by looking at all of them, and nothing is shared with the pool's code but its vocabulary.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use super::circuits::Circuit;

/// Never by itself.
pub(super) const NEVER: u64 = u64::MAX;
const DAY: Duration = Duration::from_secs(86_400);
const TEN_MINUTES: u64 = 600_000;
const MINUTE: u64 = 60_000;

/// The number of a key in the simulation.
pub(super) type Number = usize;

/// A rest and how often in a row there was one.
#[derive(Debug, Default, Clone)]
pub(super) struct Nap {
    pub(super) until: u64,
    pub(super) deferred: u64,
    in_a_row: u32,
}

impl Nap {
    fn begin(&mut self, stated: Option<Duration>, rules: &Rules, now: Millis) -> bool {
        let was_ready = self.until <= now.0;
        self.in_a_row += u32::from(was_ready);
        let doubled = |times: u32| (0..times).fold(rules.cooldown, |rest, _| (rest * 2).min(rules.max_cooldown));
        let unstated = || doubled(self.in_a_row.saturating_sub(1)).min(rules.max_cooldown);
        // The longest time that is believed.
        let rest = stated.unwrap_or_else(unstated).min(40 * DAY);
        self.until = self.until.max(now.0 + rest.as_millis() as u64);
        was_ready
    }

    fn defer(&mut self, time: Duration, now: Millis) {
        self.deferred = self.deferred.max(now.0 + time.min(40 * DAY).as_millis() as u64);
    }

    fn take_back(&mut self) {
        *self = Self { until: 0, in_a_row: self.in_a_row.saturating_sub(1), ..*self };
    }
}

#[derive(Debug, Default, Clone)]
pub(super) struct Subject {
    /// Told apart from a key of the same name that was removed before.
    pub(super) incarnation: u64,
    pub(super) priority: u32,
    pub(super) is_off: bool,
    /// By an operator.
    pub(super) is_disabled: bool,
    pub(super) account: Option<u8>,
    pub(super) egress: Option<u8>,
    /// The models it is for; none = all.
    pub(super) models: &'static [&'static str],
    pub(super) certain: Nap,
    pub(super) suspicion: Nap,
    pub(super) strikes: u32,
    pub(super) refusals: u32,
}

/// Who was limited behind an egress: an account or a key, when, and until when.
struct Limited {
    who: (Option<u8>, Option<Number>),
    at: u64,
    until: u64,
}

impl Subject {
    fn payer(&self, number: Number) -> (Option<u8>, Option<Number>) {
        (self.account, self.account.is_none().then_some(number))
    }

    fn is_switched_off(&self) -> bool {
        self.is_off || self.is_disabled
    }

    fn own_until(&self) -> u64 {
        self.certain.until.max(self.suspicion.until)
    }
}

/// Rests for one model.
#[derive(Default)]
struct Naps {
    of: BTreeMap<Number, Nap>,
    last_end: u64,
}

pub(super) struct Reference {
    pub(super) rules: Rules,
    pub(super) keys: BTreeMap<Number, Subject>,
    accounts: BTreeMap<u8, Nap>,
    egresses: BTreeMap<u8, Nap>,
    /// By egress: limits with nobody served in between.
    crowds: BTreeMap<u8, Vec<Limited>>,
    models: BTreeMap<String, Naps>,
    circuits: BTreeMap<(String, String), Circuit>,
    /// By target: who was refused first when within the last minute, and whether that was found to be the target's fault.
    refused: BTreeMap<String, (BTreeMap<Number, u64>, bool)>,
    pub(super) rests: BTreeMap<&'static str, u64>,
    pub(super) disablements: BTreeMap<&'static str, u64>,
}

impl Reference {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            keys: BTreeMap::new(),
            accounts: BTreeMap::new(),
            egresses: BTreeMap::new(),
            crowds: BTreeMap::new(),
            models: BTreeMap::new(),
            circuits: BTreeMap::new(),
            refused: BTreeMap::new(),
            rests: BTreeMap::new(),
            disablements: BTreeMap::new(),
        }
    }

    /// Until when a key may not be used for a model.
    pub(super) fn until(&self, number: Number, model: &str) -> u64 {
        let models = self.keys[&number].models;
        let is_for_it = model.is_empty() || models.is_empty() || models.contains(&model) || models.contains(&"*");
        if is_for_it { self.rests_until(number, model) } else { NEVER }
    }

    fn rests_until(&self, number: Number, model: &str) -> u64 {
        let key = &self.keys[&number];
        let account = key.account.and_then(|name| self.accounts.get(&name)).map_or(0, |nap| nap.until);
        let egress = key.egress.and_then(|name| self.egresses.get(&name)).map_or(0, |nap| nap.until);
        let model = self.models.get(model).and_then(|naps| naps.of.get(&number)).map_or(0, |nap| nap.until);
        if key.is_switched_off() { NEVER } else { key.own_until().max(account).max(egress).max(model) }
    }

    /// Until when others are asked first.
    pub(super) fn deferred(&self, number: Number, model: &str) -> u64 {
        let key = &self.keys[&number];
        let account = key.account.and_then(|name| self.accounts.get(&name)).map_or(0, |nap| nap.deferred);
        let model = self.models.get(model).and_then(|naps| naps.of.get(&number)).map_or(0, |nap| nap.deferred);
        key.certain.deferred.max(account).max(model)
    }

    /// The keys that may be used for a model.
    pub(super) fn ready<'a>(&'a self, model: &'a str, now: Millis) -> impl Iterator<Item = Number> + 'a {
        self.keys.keys().copied().filter(move |&number| self.until(number, model) <= now.0)
    }

    /// The keys that time will bring back.
    pub(super) fn resting(&self, now: Millis) -> impl Iterator<Item = Number> + '_ {
        self.keys.keys().copied().filter(move |&number| (now.0 + 1..NEVER).contains(&self.until(number, "")))
    }

    /// Why none is handed out.
    pub(super) fn exhausted(&self, model: &str, now: Millis) -> Exhausted {
        let first = self.keys.keys().map(|&number| self.until(number, model)).filter(|&until| until != NEVER).min();
        first.map_or(Exhausted::NoneUsable, |at| Exhausted::Cooling(Duration::from_millis(at - now.0)))
    }

    pub(super) fn mark(
        &mut self,
        number: Number,
        scope: Scope,
        mark: Mark,
        place: &Place<'_>,
        now: Millis,
    ) -> Option<Event> {
        let may_disable = scope == Scope::Key && self.rules.permanent;
        let key = self.keys.get_mut(&number).unwrap();
        let (reason, event) = match mark {
            Mark::Disable(reason) if may_disable => return self.refuse(number, reason, place, now),
            Mark::Disable(reason) => {
                (reason, self.rest(number, scope, reason, Some(self.rules.max_cooldown), place, now))
            }
            Mark::Cool { reason, stated } => (reason, self.rest(number, scope, reason, stated, place, now)),
            Mark::Escalate { reason, first, most, disable_on } => {
                if let Some(limit) = disable_on.filter(|_| may_disable && key.certain.until <= now.0) {
                    key.refusals += 1;
                    if key.refusals >= limit {
                        return self.refuse(number, reason, place, now);
                    }
                }
                let own = self.rules;
                self.rules.cooldown = first;
                self.rules.max_cooldown = most.min(own.max_cooldown).max(first);
                let event = self.rest(number, scope, reason, None, place, now);
                self.rules = own;
                (reason, event)
            }
        };
        let is_limit = reason == Reason::RateLimited && scope != Scope::Egress;
        if is_limit { self.limited(number, place, now).or(event) } else { event }
    }

    /// One account after the other is limited behind an egress.
    fn limited(&mut self, number: Number, place: &Place<'_>, now: Millis) -> Option<Event> {
        let egress = self.keys[&number].egress?;
        let (who, until) = (self.keys[&number].payer(number), self.rests_until(number, place.model));
        let crowd = self.crowds.entry(egress).or_default();
        crowd.retain(|other| other.who != who && other.at + MINUTE > now.0);
        crowd.push(Limited { who, at: now.0, until });
        let (limited, first) = (crowd.len(), crowd.iter().map(|limited| limited.until).min()?);
        let in_use = |key: &Subject| key.egress == Some(egress) && !key.is_switched_off() && key.certain.until != NEVER;
        let behind: BTreeSet<_> =
            self.keys.iter().filter(|(_, key)| in_use(key)).map(|(number, key)| key.payer(*number)).collect();
        if limited < 16 && (limited < 3 || limited * 2 <= behind.len()) {
            return None;
        }
        let rest = Duration::from_millis(first.saturating_sub(now.0)).min(self.rules.max_cooldown);
        let was_ready = self.egresses.entry(egress).or_default().begin(Some(rest), &self.rules, now);
        was_ready.then_some(Event::EgressLimited(rest))
    }

    /// Somebody is served through an egress.
    pub(super) fn served_through(&mut self, egress: u8) {
        self.crowds.remove(&egress);
    }

    pub(super) fn defer(&mut self, number: Number, scope: Scope, time: Duration, place: &Place<'_>, now: Millis) {
        let account = self.keys[&number].account;
        let is_of_model = matches!(scope, Scope::Model | Scope::AccountModel) && !place.model.is_empty();
        let is_of_account = matches!(scope, Scope::Account | Scope::AccountModel) && account.is_some();
        let is_meant =
            |(other, key): &(&Number, &Subject)| **other == number || (is_of_account && key.account == account);
        let members: Vec<_> = self.keys.iter().filter(is_meant).map(|(number, _)| *number).collect();
        match (is_of_model, account.filter(|_| is_of_account)) {
            (true, _) => {
                let naps = self.models.entry(place.model.into()).or_default();
                for member in members {
                    let nap = naps.of.entry(member).or_default();
                    nap.defer(time, now);
                    naps.last_end = naps.last_end.max(nap.deferred);
                }
            }
            (false, Some(account)) => self.accounts.entry(account).or_default().defer(time, now),
            (false, None) => self.keys.get_mut(&number).unwrap().certain.defer(time, now),
        }
    }

    fn rest(
        &mut self,
        number: Number,
        scope: Scope,
        reason: Reason,
        stated: Option<Duration>,
        place: &Place<'_>,
        now: Millis,
    ) -> Option<Event> {
        let account = self.keys[&number].account;
        let scope = match (scope, account) {
            (Scope::AccountModel, _) if place.model.is_empty() => Scope::Account,
            (Scope::AccountModel, None) => Scope::Model,
            _ => scope,
        };
        if scope == Scope::AccountModel {
            let siblings = self.keys.iter().filter(|(other, key)| key.account == account && **other != number);
            for sibling in siblings.map(|(other, _)| *other).collect::<Vec<_>>() {
                let naps = self.models.entry(place.model.into()).or_default();
                let nap = naps.of.entry(sibling).or_default();
                nap.begin(stated, &self.rules, now);
                naps.last_end = naps.last_end.max(nap.until);
            }
        }
        let key = self.keys.get_mut(&number).unwrap();
        let (was_ready, until) = match (scope, key.account, key.egress) {
            (Scope::Account, Some(name), _) => {
                let nap = self.accounts.entry(name).or_default();
                (nap.begin(stated, &self.rules, now), nap.until)
            }
            (Scope::Egress, _, Some(name)) => {
                let nap = self.egresses.entry(name).or_default();
                (nap.begin(stated, &self.rules, now), nap.until)
            }
            (Scope::Model | Scope::AccountModel, ..) if !place.model.is_empty() => {
                let naps = self.models.entry(place.model.into()).or_default();
                let nap = naps.of.entry(number).or_default();
                let was_ready = nap.begin(stated, &self.rules, now);
                naps.last_end = naps.last_end.max(nap.until);
                (was_ready, nap.until)
            }
            _ => {
                let was_ready = key.own_until() <= now.0;
                let nap = if reason == Reason::Failing { &mut key.suspicion } else { &mut key.certain };
                nap.begin(stated, &self.rules, now);
                (was_ready, key.own_until())
            }
        };
        *self.rests.entry(reason.as_str()).or_default() += u64::from(was_ready);
        was_ready.then(|| Event::Rested(reason, Duration::from_millis(until - now.0)))
    }

    fn refuse(&mut self, number: Number, reason: Reason, place: &Place<'_>, now: Millis) -> Option<Event> {
        let is_in_use = |key: &Subject| !key.is_switched_off() && key.certain.until != NEVER;
        if !is_in_use(&self.keys[&number]) {
            return None;
        }
        let in_use = self.keys.values().filter(|key| is_in_use(key)).count();
        let (refused, is_mass) = self.refused.entry(place.target.into()).or_default();
        refused.retain(|_, at| *at + MINUTE > now.0);
        refused.entry(number).or_insert(now.0);
        let dead: Vec<_> = refused.keys().copied().filter(|other| self.keys[other].certain.until == NEVER).collect();
        let keys = refused.len();
        if keys < 3 || keys * 2 <= in_use + dead.len() {
            *is_mass = false;
            self.keys.get_mut(&number).unwrap().certain.until = NEVER;
            *self.disablements.entry(reason.as_str()).or_default() += 1;
            return Some(Event::Disabled(reason));
        }
        let is_first = !std::mem::replace(is_mass, true);
        for saved in dead {
            self.keys.get_mut(&saved).unwrap().certain.take_back();
            self.rest(saved, Scope::Key, reason, None, place, now);
        }
        let event = self.rest(number, Scope::Key, reason, None, place, now);
        if is_first { Some(Event::MassRefusal { keys }) } else { event }
    }

    pub(super) fn fault(&mut self, number: Number, place: &Place<'_>, now: Millis) -> bool {
        let circuit = self.circuits.entry((place.target.into(), place.model.into())).or_default();
        let taken_back = circuit.fault(number, self.keys.len(), now);
        for number in taken_back.iter().flatten() {
            self.keys.get_mut(number).unwrap().suspicion.take_back();
        }
        taken_back.is_some()
    }

    pub(super) fn blame(&mut self, number: Number, place: &Place<'_>, since: Millis, now: Millis) -> Option<Event> {
        let threshold = self.rules.threshold;
        let is_fault = self.circuit(place).is_some_and(|circuit| circuit.blame(number, since, threshold, now));
        if is_fault { self.rest(number, Scope::Key, Reason::Failing, None, place, now) } else { None }
    }

    pub(super) fn strike(&mut self, number: Number, place: &Place<'_>, now: Millis) -> Option<Event> {
        let key = self.keys.get_mut(&number).unwrap();
        key.strikes += 1;
        let is_enough = key.strikes >= self.rules.threshold;
        if is_enough { self.rest(number, Scope::Key, Reason::Failing, None, place, now) } else { None }
    }

    pub(super) fn served(&mut self, place: &Place<'_>) {
        if let Some(circuit) = self.circuit(place) {
            circuit.served += 1;
        }
    }

    pub(super) fn broke(&mut self, place: &Place<'_>) {
        if let Some(circuit) = self.circuit(place) {
            circuit.served = circuit.served.saturating_sub(1);
        }
    }

    pub(super) fn succeed(&mut self, number: Number, place: &Place<'_>) {
        if let Some(circuit) = self.circuit(place) {
            circuit.runs.remove(&number);
        }
        let key = self.keys.get_mut(&number).unwrap();
        (key.strikes, key.refusals) = (0, 0);
        let account = key.account.and_then(|name| self.accounts.get_mut(&name));
        let model = self.models.get_mut(place.model).and_then(|naps| naps.of.get_mut(&number));
        for nap in [Some(&mut key.certain), Some(&mut key.suspicion), account, model].into_iter().flatten() {
            nap.in_a_row = 0;
        }
    }

    pub(super) fn reset(&mut self, number: Number) {
        let key = self.keys.get_mut(&number).unwrap();
        (key.certain, key.suspicion, key.strikes, key.refusals) = Default::default();
        for naps in self.models.values_mut() {
            naps.of.remove(&number);
        }
    }

    pub(super) fn enable(&mut self, number: Number) {
        self.reset(number);
        self.keys.get_mut(&number).unwrap().is_disabled = false;
    }

    pub(super) fn disable(&mut self, number: Number) {
        self.keys.get_mut(&number).unwrap().is_disabled = true;
    }

    pub(super) fn tidy(&mut self, now: Millis) {
        self.models.retain(|_, naps| naps.last_end + TEN_MINUTES > now.0);
        self.circuits.retain(|_, circuit| circuit.last + TEN_MINUTES > now.0);
    }

    /// Other keys take the place of these. One that stays keeps what it earned; one that comes anew has nothing.
    pub(super) fn reload(&mut self, keys: BTreeMap<Number, Subject>) {
        self.keys = keys;
        self.crowds.clear();
        let is_known = |number: &Number| self.keys.contains_key(number);
        self.models.values_mut().for_each(|naps| naps.of.retain(|number, _| is_known(number)));
        self.refused.values_mut().for_each(|(refused, _)| refused.retain(|number, _| is_known(number)));
        self.circuits.values_mut().for_each(|circuit| circuit.keep(&is_known));
        let accounts: BTreeSet<_> = self.keys.values().filter_map(|key| key.account).collect();
        let egresses: BTreeSet<_> = self.keys.values().filter_map(|key| key.egress).collect();
        self.accounts.retain(|name, _| accounts.contains(name));
        self.egresses.retain(|name, _| egresses.contains(name));
    }

    fn circuit(&mut self, place: &Place<'_>) -> Option<&mut Circuit> {
        self.circuits.get_mut(&(place.target.into(), place.model.into()))
    }
}

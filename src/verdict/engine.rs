//! From an answer to a verdict: the first rule that matches decides.
//!
//! Lists of rules are asked in turn ([`Layer`]): the pool's own, the guards, the pack's, everybody's. Nothing here runs on
//! a success.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::layer::Layer;
use super::normalise::{Answer, Found, Normalised};
use super::pack::Pack;
use super::reset::{self, Rest};
use super::rule::{Action, Flaw, Retry, Rule, RuleText, Scope};
use crate::pool::Reason;

/// What an answer means, and what becomes of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The rule that said so.
    pub rule: Arc<str>,
    /// What becomes of the key.
    pub key: Action,
    /// What the verdict is about.
    pub scope: Scope,
    /// The rule says so; otherwise a limit holds for the whole account, if the key's is known.
    pub is_scope_stated: bool,
    /// For how long; `None` where nothing rests.
    pub until: Option<Rest>,
    /// Who is asked next.
    pub retry: Retry,
    /// Why, for metrics.
    pub reason: Reason,
    /// Another key's answer can't change it.
    pub is_certain: bool,
    /// The so-many-th in a row, with no success in between, disables the key.
    pub disable_on: Option<u32>,
}

/// The verdict, and what goes with it.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// What holds.
    pub verdict: Verdict,
    /// What the pool's own rules would have said, if they are only tried.
    pub shadow: Option<Verdict>,
    /// What was read.
    pub answer: Normalised,
}

/// Rules ready for use: a pool's own before its pack's before everybody's.
pub struct Engine {
    pack: Arc<Pack>,
    own: Layer,
    /// As they were written.
    own_texts: Vec<RuleText>,
    /// The pool's own are only tried.
    is_shadow: bool,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({}, {} rules of its own)", self.pack.name, self.own.len())
    }
}

impl Engine {
    /// The rules of a pack, behind those of a pool's own.
    ///
    /// # Errors
    /// Every mistake in the pool's own rules, with the rule's place in the list.
    pub fn new(pack: Arc<Pack>, own: &[RuleText], is_shadow: bool) -> Result<Self, Vec<(usize, Flaw)>> {
        Ok(Self { pack, own: Layer::new(own, own.len())?, own_texts: own.to_vec(), is_shadow })
    }

    /// The rules of a pack alone.
    pub fn of_pack(pack: &Arc<Pack>) -> Self {
        Self { pack: pack.clone(), own: Layer::default(), own_texts: Vec::new(), is_shadow: false }
    }

    /// The same with more rules before all others; one with the id of a pool's own takes its place.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn with(&self, more: &[RuleText]) -> Result<Self, Vec<(usize, Flaw)>> {
        let is_replaced = |rule: &&RuleText| more.iter().any(|other| other.id == rule.id);
        let kept = self.own_texts.iter().filter(|rule| !is_replaced(rule) && !self.is_shadow);
        let own: Vec<_> = more.iter().chain(kept).cloned().collect();
        Self::new(self.pack.clone(), &own, false)
    }

    /// The pack's name.
    pub fn provider(&self) -> &str {
        &self.pack.name
    }

    /// The pack.
    pub fn pack(&self) -> &Arc<Pack> {
        &self.pack
    }

    /// Judges an answer. `now` is the wall clock.
    pub fn judge(&self, answer: &Answer<'_>, now: Timestamp) -> Judgement {
        let read = Normalised::of(answer);
        let verdict = match read.found {
            Found::Success => Some(verdict_without_rule("success", Retry::None)),
            Found::Nothing => Some(verdict_without_rule("empty", Retry::OtherTarget)),
            Found::Error => None,
        };
        if let Some(verdict) = verdict {
            return Judgement { verdict, shadow: None, answer: read };
        }
        let verdict_of = |rule: &Rule| self.verdict(rule, &read, answer, now);
        let own = self.own.find(&read, answer).map(verdict_of);
        let (own, shadow) = if self.is_shadow { (None, own) } else { (own, None) };
        let common = || self.pack.layers().find_map(|layer| layer.find(&read, answer)).map(verdict_of);
        let none = || verdict_without_rule("unknown", Retry::None);
        let verdict = own.or_else(common).unwrap_or_else(none);
        Judgement { verdict, shadow, answer: read }
    }

    fn verdict(&self, rule: &Rule, read: &Normalised, answer: &Answer<'_>, now: Timestamp) -> Verdict {
        let rests = matches!(rule.key, Action::Cooldown | Action::CooldownModel);
        let rest = || {
            let zone = rule.timing.zone.as_ref().unwrap_or(&self.pack.zone);
            reset::rest(&rule.timing, zone, &read.fields, answer.headers, self.pack.limits(), now)
        };
        Verdict {
            rule: rule.id.clone(),
            key: rule.key,
            scope: rule.scope.unwrap_or_default(),
            is_scope_stated: rule.scope.is_some(),
            until: rests.then(rest),
            retry: if read.is_late { Retry::None } else { rule.retry },
            reason: rule.reason,
            is_certain: rule.certain,
            disable_on: rule.disable_on,
        }
    }
}

fn verdict_without_rule(name: &str, retry: Retry) -> Verdict {
    Verdict {
        rule: name.into(),
        key: Action::Keep,
        scope: Scope::Key,
        is_scope_stated: true,
        until: None,
        retry,
        reason: Reason::Failing,
        is_certain: true,
        disable_on: None,
    }
}

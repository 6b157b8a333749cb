//! From an answer to a verdict: the first rule that matches decides.
//!
//! All patterns over one field are one [`RegexSet`], compiled once per pool, so an answer is read once per field however
//! many rules there are. Nothing here runs on a success.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use regex::{RegexSet, RegexSetBuilder};

use super::fields::Fields;
use super::normalise::{Answer, Found, Normalised};
use super::pack::{self, Pack};
use super::reset::{self, Rest};
use super::rule::{Action, Flaw, Hits, PATTERN_BYTES, Patterns, Retry, Rule, RuleText, Scope};
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
    pack: &'static Pack,
    rules: Vec<Rule>,
    /// So many of them are the pool's own.
    own: usize,
    /// The pool's own are only tried.
    is_shadow: bool,
    code: RegexSet,
    kind: RegexSet,
    message: RegexSet,
    detail: RegexSet,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({}, {} rules)", self.pack.name, self.rules.len())
    }
}

impl Engine {
    /// The rules of a pack, behind those of a pool's own.
    ///
    /// # Errors
    /// Every mistake in the pool's own rules, with the rule's place in the list.
    pub fn new(pack: &'static Pack, own: &[RuleText], is_shadow: bool) -> Result<Self, Vec<(usize, Flaw)>> {
        let lists =
            [own, &pack::generic().guards, &pack.rules, if pack.is_generic() { &[] } else { &pack::generic().rules }];
        let mut patterns = Patterns::default();
        let mut rules = Vec::new();
        let mut flaws = Vec::new();
        for (place, text) in lists.into_iter().flatten().enumerate() {
            // Embedded packs are checked by a test.
            match text.compile(&pack.zone, place < own.len(), &mut patterns) {
                Ok(rule) => rules.push(rule),
                Err(found) => flaws.extend(found.into_iter().map(|flaw| (place, flaw))),
            }
        }
        for (place, text) in own.iter().enumerate() {
            if own.iter().take(place).any(|other| other.id == text.id) {
                flaws.push((place, Flaw { path: vec!["id".into()], message: "used by an earlier rule".into() }));
            }
        }
        if !flaws.is_empty() {
            return Err(flaws);
        }
        let too_much = |_| {
            let message = "these rules are too large together; write fewer repetitions".into();
            vec![(0, Flaw { path: Vec::new(), message })]
        };
        Ok(Self {
            pack,
            rules,
            own: own.len(),
            is_shadow,
            code: set(&patterns.code).map_err(too_much)?,
            kind: set(&patterns.kind).map_err(too_much)?,
            message: set(&patterns.message).map_err(too_much)?,
            detail: set(&patterns.detail).map_err(too_much)?,
        })
    }

    /// The rules of a pack alone, the same ones for everybody.
    #[expect(clippy::panic, reason = "the packs are part of the program, and a test compiles each")]
    pub fn of_pack(pack: &'static Pack) -> Arc<Self> {
        let compile = || match Self::new(pack, &[], false) {
            Ok(engine) => Arc::new(engine),
            Err(flaws) => panic!("pack {}: {flaws:?}", pack.name),
        };
        pack.engine.get_or_init(compile).clone()
    }

    /// The pack's name.
    pub fn provider(&self) -> &'static str {
        self.pack.name
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
        let hits = self.hits(&read.fields);
        let matching = |rules: &[Rule]| {
            let rule = rules.iter().find(|rule| rule.matches(&read, answer.headers, answer.model, &hits))?;
            Some(self.verdict(rule, &read, answer, now))
        };
        let (own, common) = self.rules.split_at(self.own.min(self.rules.len()));
        let own = matching(own);
        let (own, shadow) = if self.is_shadow { (None, own) } else { (own, None) };
        let none = || verdict_without_rule("unknown", Retry::None);
        let verdict = own.or_else(|| matching(common)).unwrap_or_else(none);
        Judgement { verdict, shadow, answer: read }
    }

    fn hits(&self, fields: &Fields) -> Hits {
        let mut detail = vec![false; self.detail.len()];
        for place in fields.details.iter().flat_map(|text| self.detail.matches(text)) {
            if let Some(hit) = detail.get_mut(place) {
                *hit = true;
            }
        }
        Hits {
            code: self.code.matches(&fields.code),
            kind: self.kind.matches(&fields.kind),
            message: self.message.matches(&fields.message),
            detail,
        }
    }

    fn verdict(&self, rule: &Rule, read: &Normalised, answer: &Answer<'_>, now: Timestamp) -> Verdict {
        let rests = matches!(rule.key, Action::Cooldown | Action::CooldownModel);
        let limits = self.pack.limit_headers();
        Verdict {
            rule: rule.id.clone(),
            key: rule.key,
            scope: rule.scope,
            until: rests.then(|| reset::rest(&rule.timing, &read.fields, answer.headers, limits, now)),
            retry: if read.is_late { Retry::None } else { rule.retry },
            reason: rule.reason,
            is_certain: rule.certain,
            disable_on: rule.disable_on,
        }
    }
}

fn set(patterns: &[String]) -> Result<RegexSet, regex::Error> {
    let size = PATTERN_BYTES * 32;
    RegexSetBuilder::new(patterns).case_insensitive(true).size_limit(size).dfa_size_limit(size).build()
}

fn verdict_without_rule(name: &str, retry: Retry) -> Verdict {
    Verdict {
        rule: name.into(),
        key: Action::Keep,
        scope: Scope::Key,
        until: None,
        retry,
        reason: Reason::Failing,
        is_certain: true,
        disable_on: None,
    }
}

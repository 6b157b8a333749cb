//! A list of rules ready for use: a pool's own, those of a pack, or those all providers share.
//!
//! Each list is compiled once and shared by all who use it. An answer's fields are scanned when a rule first asks for
//! them, so an answer that is judged by its code costs nothing for its long message.

use std::cell::OnceCell;

use super::fields::Fields;
use super::matcher::{Candidates, Matcher};
use super::normalise::{Answer, Normalised};
use super::rule::{Flaw, Patterns, Rule, RuleText};

/// Rules, the first that matches decides.
#[derive(Debug, Default)]
pub(super) struct Layer {
    rules: Vec<Rule>,
    code: Matcher,
    kind: Matcher,
    message: Matcher,
    detail: Matcher,
}

/// One answer's fields against a layer's patterns.
pub(super) struct Scan<'a> {
    layer: &'a Layer,
    fields: &'a Fields,
    code: OnceCell<Candidates>,
    kind: OnceCell<Candidates>,
    message: OnceCell<Candidates>,
    detail: OnceCell<Candidates>,
}

impl Layer {
    /// The first `checked` of the rules may hold mistakes; the others are part of the program, and a test compiles each.
    ///
    /// # Errors
    /// Every mistake, with the rule's place in the list.
    pub(super) fn new(texts: &[RuleText], checked: usize) -> Result<Self, Vec<(usize, Flaw)>> {
        let mut patterns = Patterns::default();
        let mut rules = Vec::with_capacity(texts.len());
        let mut flaws = Vec::new();
        for (place, text) in texts.iter().enumerate() {
            match text.compile(place < checked, &mut patterns) {
                Ok(rule) => rules.push(rule),
                Err(found) => flaws.extend(found.into_iter().map(|flaw| (place, flaw))),
            }
            if texts.iter().take(place).any(|other| other.id == text.id) {
                flaws.push((place, Flaw { path: vec!["id".into()], message: "used by an earlier rule".into() }));
            }
        }
        if !flaws.is_empty() {
            return Err(flaws);
        }
        let matcher = |patterns: Vec<String>| {
            let message = "these rules are too large together; write fewer patterns";
            Matcher::new(patterns).map_err(|_| vec![(0, Flaw { path: Vec::new(), message: message.into() })])
        };
        Ok(Self {
            rules,
            code: matcher(patterns.code)?,
            kind: matcher(patterns.kind)?,
            message: matcher(patterns.message)?,
            detail: matcher(patterns.detail)?,
        })
    }

    /// The rule that decides, if one here does.
    pub(super) fn find(&self, read: &Normalised, answer: &Answer<'_>) -> Option<&Rule> {
        let scan = Scan {
            layer: self,
            fields: &read.fields,
            code: OnceCell::new(),
            kind: OnceCell::new(),
            message: OnceCell::new(),
            detail: OnceCell::new(),
        };
        self.rules.iter().find(|rule| rule.matches(read, answer.headers, answer.model, &scan))
    }

    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }
}

impl Scan<'_> {
    pub(super) fn code(&self, place: usize) -> bool {
        let (matcher, text) = (&self.layer.code, self.fields.code.as_str());
        matcher.matches(place, text, self.code.get_or_init(|| matcher.candidates([text])))
    }

    pub(super) fn kind(&self, place: usize) -> bool {
        let (matcher, text) = (&self.layer.kind, self.fields.kind.as_str());
        matcher.matches(place, text, self.kind.get_or_init(|| matcher.candidates([text])))
    }

    pub(super) fn message(&self, place: usize) -> bool {
        let (matcher, text) = (&self.layer.message, self.fields.message.as_str());
        matcher.matches(place, text, self.message.get_or_init(|| matcher.candidates([text])))
    }

    pub(super) fn detail(&self, place: usize) -> bool {
        let (matcher, texts) = (&self.layer.detail, &self.fields.details);
        let candidates = self.detail.get_or_init(|| matcher.candidates(texts.iter().map(String::as_str)));
        texts.iter().any(|text| matcher.matches(place, text, candidates))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::pack::PACKS;

    #[test]
    fn every_rule_of_every_pack_compiles() {
        for pack in PACKS.iter() {
            for rules in [&pack.guards, &pack.rules] {
                let flaws = Layer::new(rules, rules.len()).err().unwrap_or_default();
                assert!(flaws.is_empty(), "{}: {flaws:?}", pack.name);
            }
        }
    }
}

//! Many patterns over one field of an answer, of which few are ever run.
//!
//! Most patterns can only match where one of a few words stands. One scan for all of those words (Aho-Corasick) tells
//! which patterns are worth running; of these only the ones whose rule comes into question are. A pattern that names no
//! such words is always run. Words are compared without regard to ASCII case, as patterns are.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};

/// A pattern larger than this, compiled, is a mistake.
pub(super) const PATTERN_BYTES: usize = 1 << 20;
/// A pattern that needs one of more words than this is run at once.
const WORDS: usize = 256;
/// Shorter words are everywhere.
const WORD: usize = 3;

/// The patterns of one field.
#[derive(Debug, Default)]
pub(super) struct Matcher {
    patterns: Vec<Pattern>,
    words: Option<AhoCorasick>,
    /// By word: the patterns that need it or another.
    needed_by: Vec<Vec<usize>>,
    /// Patterns that need no word.
    always: Vec<usize>,
}

/// A pattern, compiled when it is run first: most never are.
#[derive(Debug)]
struct Pattern {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

/// The patterns that may match a text.
#[derive(Debug)]
pub(super) struct Candidates(Vec<bool>);

impl Candidates {
    fn add(&mut self, places: &[usize]) {
        for place in places {
            if let Some(is_candidate) = self.0.get_mut(*place) {
                *is_candidate = true;
            }
        }
    }
}

impl Matcher {
    /// Of patterns that compile.
    ///
    /// # Errors
    /// Their words are too many.
    pub(super) fn new(patterns: Vec<String>) -> Result<Self, aho_corasick::BuildError> {
        let mut needed_by: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut always = Vec::new();
        for (place, pattern) in patterns.iter().enumerate() {
            match words(pattern) {
                Some(words) => words.into_iter().for_each(|word| needed_by.entry(word).or_default().push(place)),
                None => always.push(place),
            }
        }
        let build =
            |words| AhoCorasick::builder().ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA)).build(words);
        let words = if needed_by.is_empty() { None } else { Some(build(needed_by.keys())?) };
        let patterns = patterns.into_iter().map(|text| Pattern { text, compiled: OnceLock::new() }).collect();
        Ok(Self { patterns, words, needed_by: needed_by.into_values().collect(), always })
    }

    /// Which patterns are worth running over one of these texts.
    pub(super) fn candidates<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Candidates {
        let mut found = Candidates(vec![false; self.patterns.len()]);
        found.add(&self.always);
        let Some(words) = &self.words else { return found };
        for hit in texts.into_iter().flat_map(|text| words.find_overlapping_iter(text)) {
            found.add(self.needed_by.get(hit.pattern().as_usize()).map_or(&[], Vec::as_slice));
        }
        found
    }

    /// Whether a candidate matches a text.
    pub(super) fn matches(&self, place: usize, text: &str, candidates: &Candidates) -> bool {
        let is_match = |pattern: &Pattern| {
            let compiled = pattern.compiled.get_or_init(|| compile(&pattern.text).ok());
            compiled.as_ref().is_some_and(|pattern| pattern.is_match(text))
        };
        candidates.0.get(place) == Some(&true) && self.patterns.get(place).is_some_and(is_match)
    }
}

/// The compiled pattern, which ignores case.
pub(super) fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).case_insensitive(true).size_limit(PATTERN_BYTES).build()
}

/// Words of which one stands in whatever the pattern matches; `None` = it can do without.
fn words(pattern: &str) -> Option<Vec<String>> {
    let words = needed(&regex_syntax::parse(pattern).ok()?)?;
    // The scan knows no case but ASCII's.
    let is_caseless = |word: &String| word.chars().all(|c| c.is_ascii() || c.to_lowercase().eq(c.to_uppercase()));
    let words: Option<Vec<String>> = words.into_iter().map(|word| String::from_utf8(word).ok()).collect();
    words.filter(|words| words.len() <= WORDS && words.iter().all(is_caseless))
}

fn needed(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(vec![literal.0.to_vec()]).filter(|_| literal.0.len() >= WORD),
        HirKind::Capture(group) => needed(&group.sub),
        HirKind::Repetition(repeated) if repeated.min > 0 => needed(&repeated.sub),
        HirKind::Concat(parts) => {
            let shortest = |words: &Vec<Vec<u8>>| words.iter().map(Vec::len).min();
            parts.iter().filter_map(needed).max_by_key(shortest)
        }
        HirKind::Alternation(choices) => {
            let words: Option<Vec<_>> = choices.iter().map(needed).collect();
            words.map(|words| words.concat())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(pattern: &str) -> Option<Vec<String>> {
        let mut words = words(pattern)?;
        words.sort();
        Some(words)
    }

    #[test]
    fn a_pattern_needs_the_longest_words_it_cannot_do_without() {
        let of = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            sorted("^(?:invalid_api_key|account_deactivated)$"),
            of(&["account_deactivated", "invalid_api_key"])
        );
        assert_eq!(sorted("^.{0,60}(daily|per[ _-]?day).{0,60}quota"), of(&["quota"]));
        assert_eq!(sorted("余额不足|欠费"), of(&["余额不足", "欠费"]));
        assert_eq!(sorted("(overloaded)+"), of(&["overloaded"]));
        for anything in [".*", "a|overloaded", "(overloaded)?", "[a-z]{3,}", "(?i)overloaded", "clé expirée"] {
            assert_eq!(sorted(anything), None, "{anything}");
        }
    }

    #[test]
    fn candidates_are_those_whose_words_occur_and_those_without() {
        let matcher = Matcher::new(["rate.?limit", "over(load|capacity)", "^.{3}$"].map(str::to_owned).into()).unwrap();
        let matching = |text: &str| {
            let candidates = matcher.candidates([text]);
            (0..3).filter(|&place| matcher.matches(place, text, &candidates)).collect::<Vec<_>>()
        };
        assert_eq!(matching("RATE-Limit by OVERLOAD"), [0, 1]);
        assert_eq!(matching("abc"), [2]);
        assert_eq!(matching("limit"), [0; 0]);
        assert_eq!(matching(""), [0; 0]);
    }
}

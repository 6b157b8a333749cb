//! A verdict rule: as it is written in packs and configurations, and ready to be matched.
//!
//! What is written is data and nothing else, so that it has a JSON Schema and every mistake in it has a place. Only a
//! rule that compiled can reach an engine.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use jiff::tz::TimeZone;
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::layer::Scan;
use super::matcher;
use super::normalise::Normalised;
use super::reset::Source;
use crate::config::raw::{Named, Time};
use crate::pool::Reason;

/// What becomes of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words of the contract; docs would turn into noise in the schema")]
pub enum Action {
    Keep,
    Cooldown,
    CooldownModel,
    Disable,
}

/// What the verdict is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words of the contract; docs would turn into noise in the schema")]
pub enum Scope {
    #[default]
    Key,
    Model,
    Account,
    Target,
    Egress,
}

/// Who might answer better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words of the contract; docs would turn into noise in the schema")]
pub enum Retry {
    None,
    OtherKey,
    OtherTarget,
}

/// Why a key rests, as metrics and the console show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    RateLimited,
    Exhausted,
    Unauthorized,
    Forbidden,
}

impl From<Why> for Reason {
    fn from(why: Why) -> Self {
        match why {
            Why::RateLimited => Self::RateLimited,
            Why::Exhausted => Self::Exhausted,
            Why::Unauthorized => Self::Unauthorized,
            Why::Forbidden => Self::Forbidden,
        }
    }
}

/// A status, or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Status {
    /// This one.
    Number(u16),
    /// All of a class, or none at all.
    Class(Class),
}

/// Several statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Class {
    #[serde(rename = "3xx")]
    Redirect,
    #[serde(rename = "4xx")]
    Client,
    #[serde(rename = "5xx")]
    Server,
    #[serde(rename = "in-band")]
    InBand,
}

impl Status {
    /// `None` = an error inside a 2xx that names no status of its own.
    fn admits(self, status: Option<u16>) -> bool {
        match (self, status) {
            (Self::Number(own), Some(status)) => own == status,
            (Self::Class(Class::InBand), None) => true,
            (Self::Class(class), Some(status)) => match class {
                Class::Redirect => (300..400).contains(&status),
                Class::Client => (400..500).contains(&status),
                Class::Server => (500..600).contains(&status),
                Class::InBand => false,
            },
            (_, None) => false,
        }
    }
}

/// What an answer must look like; every field given must match. Patterns are regular expressions that ignore case.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Condition {
    /// Matches the whole error code.
    pub code: Option<String>,
    /// Matches the whole error type (or Google's `status`).
    pub r#type: Option<String>,
    /// Is found in the error message. A 400's message may quote the prompt: begin with `^` there.
    pub message: Option<String>,
    /// Matches one whole `name=value` of the error's other fields, e.g. `reason=API_KEY_INVALID`.
    pub detail: Option<String>,
    /// Each is found in the header of that name.
    pub headers: Named<String>,
    /// Matches the whole name of the model asked for.
    pub model: Option<String>,
    /// The body is a web page instead of an API's answer.
    pub html: Option<bool>,
}

/// One rule. The first that matches decides.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleText {
    /// Shown in verdicts, metrics and logs; unique in its list.
    pub id: String,
    /// What it means, for people.
    #[serde(default)]
    pub meaning: String,
    /// Statuses it applies to: numbers, `4xx`, `5xx`, `in-band` (an error inside a 200 that names no status). Default: all.
    #[serde(default)]
    pub status: Vec<Status>,
    /// One of these must match. Default: the status decides alone.
    #[serde(default)]
    pub when: Vec<Condition>,
    /// What becomes of the key.
    pub key: Action,
    /// What the verdict is about. Default: the key; of a limit also the other keys of its account, if one is given.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// Who is asked next.
    pub retry: Retry,
    /// Why, as metrics show it. Default: `unauthorized` for `disable`, else `rate_limited`.
    #[serde(default)]
    pub reason: Option<Why>,
    /// `false`: only if another key is not answered the same.
    #[serde(default = "yes")]
    pub certain: bool,
    /// Where the end of the rest is looked for, in this order.
    #[serde(default)]
    pub until: Vec<Source>,
    /// The rest where none is stated.
    #[serde(default)]
    pub rest: Option<Time>,
    /// Shortest rest.
    #[serde(default)]
    pub at_least: Option<Time>,
    /// Longest rest.
    #[serde(default)]
    pub at_most: Option<Time>,
    /// A rest that is not stated doubles each time in a row, up to `at_most`.
    #[serde(default)]
    pub doubles: bool,
    /// The so-many-th of such rests in a row, with no success in between, disables the key.
    #[serde(default)]
    #[schemars(range(min = 2, max = 100))]
    pub disable_on: Option<u32>,
    /// IANA time zone of `midnight`, `month` and of dates without one. Default: the pack's.
    #[serde(default)]
    pub zone: Option<String>,
}

fn yes() -> bool {
    true
}

/// Something wrong with a rule, and the field it is wrong in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", path.join("."))]
pub struct Flaw {
    /// The field, from the rule down: names, and numbers of list entries.
    pub path: Vec<String>,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// A rule that can be matched.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: Arc<str>,
    status: Vec<Status>,
    conditions: Vec<Test>,
    pub(super) key: Action,
    pub(super) scope: Option<Scope>,
    pub(super) retry: Retry,
    pub(super) reason: Reason,
    pub(super) certain: bool,
    pub(super) disable_on: Option<u32>,
    pub(super) timing: Timing,
}

/// How long a rule's rest is.
#[derive(Debug)]
pub(super) struct Timing {
    pub(super) sources: Vec<Source>,
    /// `None` = the pack's.
    pub(super) zone: Option<TimeZone>,
    pub(super) rest: Duration,
    pub(super) at_least: Duration,
    pub(super) at_most: Duration,
    pub(super) doubles: bool,
}

/// A condition; patterns over text are places in the layer's [`Patterns`].
#[derive(Debug)]
struct Test {
    code: Option<usize>,
    kind: Option<usize>,
    message: Option<usize>,
    detail: Option<usize>,
    headers: Vec<(HeaderName, Regex)>,
    model: Option<Regex>,
    html: Option<bool>,
}

/// The patterns of all rules of a layer, by field.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    pub(super) code: Vec<String>,
    pub(super) kind: Vec<String>,
    pub(super) message: Vec<String>,
    pub(super) detail: Vec<String>,
}

/// Rest of a rule that says nothing about it.
const REST: Duration = Duration::from_secs(60);
const AT_LEAST: Duration = Duration::from_secs(1);
const AT_MOST: Duration = Duration::from_secs(24 * 3600);

impl RuleText {
    /// Makes the rule ready; its patterns go into `patterns`, each compiled before if it `is_checked`.
    pub(super) fn compile(&self, is_checked: bool, patterns: &mut Patterns) -> Result<Rule, Vec<Flaw>> {
        let mut flaws = Vec::new();
        self.check_id(&mut flaws);
        let timing = self.timing(&mut flaws);
        let mut conditions = Vec::with_capacity(self.when.len());
        for (place, condition) in self.when.iter().enumerate() {
            let before = flaws.len();
            conditions.push(condition.compile(is_checked, patterns, &mut flaws));
            for flaw in flaws.iter_mut().skip(before) {
                flaw.path.splice(0..0, ["when".to_owned(), place.to_string()]);
            }
        }
        if !flaws.is_empty() {
            return Err(flaws);
        }
        let reason = match (self.reason, self.key) {
            (Some(reason), _) => reason.into(),
            (None, Action::Disable) => Reason::Unauthorized,
            (None, _) => Reason::RateLimited,
        };
        Ok(Rule {
            id: self.id.as_str().into(),
            status: self.status.clone(),
            conditions,
            key: self.key,
            scope: self.scope,
            retry: self.retry,
            reason,
            certain: self.certain,
            disable_on: self.disable_on,
            timing,
        })
    }

    fn check_id(&self, flaws: &mut Vec<Flaw>) {
        let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.id.is_empty() || self.id.len() > 64 || !self.id.bytes().all(is_word) {
            flaw(flaws, "id", "must be lower-case letters, digits and dashes, e.g. my-gateway-full");
        }
    }

    fn timing(&self, flaws: &mut Vec<Flaw>) -> Timing {
        let zone = self.zone.as_ref().and_then(|name| {
            let known = TimeZone::get(name);
            known.map_err(|_| flaw(flaws, "zone", "no such time zone; write an IANA name such as Asia/Shanghai")).ok()
        });
        let time = |time: Option<Time>, default| time.map_or(default, |time| time.0);
        let rest = time(self.rest, REST);
        let at_least = time(self.at_least, AT_LEAST);
        let at_most = time(self.at_most, AT_MOST.max(rest));
        if at_most < at_least || rest > at_most {
            flaw(flaws, "at_most", "must be at least rest and at_least");
        }
        if self.disable_on.is_some()
            && !(self.doubles && self.key == Action::Cooldown && matches!(self.scope, None | Some(Scope::Key)))
        {
            flaw(flaws, "disable_on", "only for a cooldown of the key that doubles; remove it, or write doubles: true");
        }
        let is_rest = matches!(self.key, Action::Cooldown | Action::CooldownModel);
        let needless = [("rest", self.rest.is_some()), ("until", !self.until.is_empty()), ("doubles", self.doubles)];
        for (name, _) in needless.into_iter().filter(|(_, is_set)| *is_set && !is_rest) {
            flaw(flaws, name, "only a cooldown has an end; remove it, or write key: cooldown");
        }
        Timing { sources: self.until.clone(), zone, rest, at_least, at_most, doubles: self.doubles }
    }
}

fn flaw(flaws: &mut Vec<Flaw>, field: &str, message: impl Into<String>) {
    flaws.push(Flaw { path: vec![field.to_owned()], message: message.into() });
}

impl Condition {
    fn compile(&self, is_checked: bool, patterns: &mut Patterns, flaws: &mut Vec<Flaw>) -> Test {
        let before = flaws.len();
        let mut place = |field: &str, pattern: &Option<String>, whole: bool, list: &mut Vec<String>| {
            let pattern = pattern.as_deref()?;
            if is_checked {
                compiled(pattern).map_err(|message| flaw(flaws, field, message)).ok()?;
            }
            list.push(shaped(pattern, whole));
            Some(list.len() - 1)
        };
        let code = place("code", &self.code, true, &mut patterns.code);
        let kind = place("type", &self.r#type, true, &mut patterns.kind);
        let message = place("message", &self.message, false, &mut patterns.message);
        let detail = place("detail", &self.detail, true, &mut patterns.detail);
        let mut headers = Vec::new();
        for (name, pattern) in &self.headers.0 {
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "not a header's name".to_owned());
            match header.and_then(|header| Ok((header, compiled(pattern)?))) {
                Ok(header) => headers.push(header),
                Err(message) => flaws.push(Flaw { path: vec!["headers".into(), name.clone()], message }),
            }
        }
        let model =
            self.model.as_deref().map(|pattern| compiled(pattern).and_then(|_| compiled(&shaped(pattern, true))));
        let model = model.transpose().unwrap_or_else(|message| {
            flaw(flaws, "model", message);
            None
        });
        let test = Test { code, kind, message, detail, headers, model, html: self.html };
        if test.is_empty() && flaws.len() == before {
            flaws
                .push(Flaw { path: Vec::new(), message: "matches everything; write a condition, or remove it".into() });
        }
        test
    }
}

/// As the engine's sets want it.
fn shaped(pattern: &str, whole: bool) -> String {
    if whole { format!("^(?:{pattern})$") } else { format!("(?:{pattern})") }
}

/// The compiled pattern, or what is wrong with it in a line.
fn compiled(pattern: &str) -> Result<Regex, String> {
    matcher::compile(pattern).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "too large a pattern; write fewer repetitions".into(),
        error => {
            let text = error.to_string();
            let reason =
                text.lines().rev().find_map(|line| line.trim().strip_prefix("error: ")).unwrap_or("it does not parse");
            format!("not a regular expression: {reason}")
        }
    })
}

impl Test {
    fn is_empty(&self) -> bool {
        [self.code, self.kind, self.message, self.detail].iter().all(Option::is_none)
            && self.headers.is_empty()
            && self.model.is_none()
            && self.html.is_none()
    }

    fn holds(&self, answer: &Normalised, headers: &http::HeaderMap, model: &str, scan: &Scan<'_>) -> bool {
        let has_header = |(name, pattern): &(HeaderName, Regex)| {
            headers.get_all(name).iter().any(|value| pattern.is_match(&String::from_utf8_lossy(value.as_bytes())))
        };
        self.html.is_none_or(|html| html == answer.is_html)
            && self.code.is_none_or(|place| scan.code(place))
            && self.kind.is_none_or(|place| scan.kind(place))
            && self.headers.iter().all(has_header)
            && self.detail.is_none_or(|place| scan.detail(place))
            && self.message.is_none_or(|place| scan.message(place))
            && self.model.as_ref().is_none_or(|pattern| pattern.is_match(model))
    }
}

impl Rule {
    pub(super) fn matches(&self, answer: &Normalised, headers: &http::HeaderMap, model: &str, scan: &Scan<'_>) -> bool {
        (self.status.is_empty() || self.status.iter().any(|status| status.admits(answer.status)))
            && (self.conditions.is_empty()
                || self.conditions.iter().any(|test| test.holds(answer, headers, model, scan)))
    }
}

//! Recorded answers with the verdict they should get, one JSON object a line: how rules are tried and kept honest.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::engine::{Engine, Verdict};
use super::normalise::Answer;
use super::rule::{Action, Retry, Scope};

/// Numbers may differ by this share.
const TOLERANCE: f64 = 0.2;

/// One recorded answer.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    /// Names it.
    pub id: String,
    /// The pack that judges it.
    #[serde(default)]
    pub provider: String,
    /// The answer's status.
    pub status: u16,
    /// Its headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Its body: text, or JSON.
    #[serde(default)]
    pub body: Value,
    /// The model asked for.
    #[serde(default)]
    pub model: String,
    /// What it should come to.
    pub expected: Option<Expected>,
}

/// The verdict a case should get; what is not given is not compared.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Expected {
    /// `keep`, `cooldown`, `cooldown_model`, `disable`
    pub key: Option<String>,
    /// `key`, `model`, `account`, `target`, `egress`
    pub scope: Option<String>,
    /// Seconds; `null` = no rest; prose is for people.
    #[serde(default)]
    pub until: Value,
    /// `none`, `other_key`, `other_target`
    pub retry: Option<String>,
}

/// A verdict in the words of the contract.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Verdict")]
pub struct Words {
    /// The rule that decided.
    pub rule: String,
    /// What becomes of the key.
    pub key: Action,
    /// What the verdict is about.
    pub scope: Scope,
    /// Seconds; `None` = no rest.
    #[serde(serialize_with = "seconds")]
    #[schemars(with = "Option<f64>")]
    pub until: Option<f64>,
    /// Who is asked next.
    pub retry: Retry,
}

/// Whole seconds without a fraction.
fn seconds<S: Serializer>(seconds: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match seconds {
        Some(seconds) if seconds.fract() == 0.0 => serializer.serialize_u64(*seconds as u64),
        other => other.serialize(serializer),
    }
}

impl From<&Verdict> for Words {
    fn from(verdict: &Verdict) -> Self {
        Self {
            rule: verdict.rule.to_string(),
            key: verdict.key,
            scope: verdict.scope,
            until: verdict.until.map(|rest| rest.time.as_secs_f64()),
            retry: verdict.retry,
        }
    }
}

impl Case {
    /// What the rules say of it.
    pub fn judge(&self, engine: &Engine, now: Timestamp) -> Words {
        let headers: HeaderMap = self
            .headers
            .iter()
            .filter_map(|(name, value)| {
                Some((HeaderName::try_from(name).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
            })
            .collect();
        let body = match &self.body {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            json => json.to_string(),
        };
        let answer = Answer { status: Some(self.status), headers: &headers, body: body.as_bytes(), model: &self.model };
        Words::from(&engine.judge(&answer, now).verdict)
    }
}

impl Expected {
    /// Whether that is what was expected.
    pub fn is_met(&self, words: &Words) -> bool {
        let found = serde_json::to_value(words).unwrap_or_default();
        let is_same = |name: &str, wanted: &Option<String>| wanted.as_deref().is_none_or(|word| found[name] == word);
        is_same("key", &self.key)
            && is_same("scope", &self.scope)
            && is_same("retry", &self.retry)
            && self.is_time_met(words.until)
    }

    fn is_time_met(&self, until: Option<f64>) -> bool {
        match (&self.until, until) {
            (Value::Null, until) => until.is_none(),
            (Value::Number(wanted), Some(until)) => {
                let wanted = wanted.as_f64().unwrap_or_default();
                (until - wanted).abs() <= wanted * TOLERANCE
            }
            (Value::Number(_), None) => false,
            // Prose: some rest is meant, its length is for people to judge.
            (_, until) => until.is_some(),
        }
    }
}

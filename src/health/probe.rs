//! What shows whether a key of a pool works, and what the answer to that says.
//!
//! A pack names its provider's validation call. Where the provider is nobody we know, that call is made once without a
//! key: what is answered to anybody proves nothing of a key, and a chat of one token takes its place. An answer is judged
//! by the rules that judge clients' answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use pingora::Error;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error as ThisError;

use super::ask::{Question, ask};
use super::said;
use crate::keypool::Entry;
use crate::pool::{Mark, Reason, Scope};
use crate::telemetry::AttemptResult;
use crate::upstream::{Connector, Reply, Target, blame};
use crate::verdict::pack::{self, Probe};
use crate::verdict::{Answer, Blame, Fault, Found, Habits};

/// Most that is read of the answer to a probe: as a rule all of it, so that the connection serves the next one.
const MOST: usize = 256 * 1024;
/// Most that is read of a list of models from which one is chosen.
const LIST: usize = 1024 * 1024;

/// What a key turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "ProbeOutcome")]
pub enum Outcome {
    /// It works.
    Valid,
    /// It works, but not now.
    Limited,
    /// The provider does not know it, or will not serve it any more.
    Dead,
    /// The answer says nothing of it.
    Unknown,
}

impl Outcome {
    /// All, in their order.
    pub const ALL: [Self; 4] = [Self::Valid, Self::Limited, Self::Dead, Self::Unknown];

    /// As a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Limited => "limited",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
        }
    }
}

/// What was found out about a key.
#[derive(Debug, Clone)]
pub struct Examined {
    /// What it is.
    pub outcome: Outcome,
    /// Why, in a few words, none of them the provider's.
    pub reason: String,
    /// The answer's status, if there was an answer.
    pub status: Option<u16>,
    /// The rule that decided, if one did.
    pub rule: Option<Arc<str>>,
    /// Whose fault it is, for whoever acts on it.
    pub blame: Blame,
    /// From the request to the end of the answer.
    pub took: Duration,
}

/// Why a pool's keys can't be probed now.
#[derive(Debug, ThisError)]
pub enum NoWay {
    /// The provider lists its models to anybody, and none is known to chat with.
    #[error("only a chat tells whether a key works, and no model is known; name one in models.test")]
    Model,
    /// It could not be found out what the provider tells whom.
    #[error("the provider cannot be reached: {0}")]
    Unreached(String, Blame),
}

impl NoWay {
    /// There is nobody to ask.
    pub(super) fn without_target() -> Self {
        Self::Unreached("the pool has no target".into(), elsewhere())
    }
}

impl Examined {
    /// Nothing was asked.
    pub(super) fn none(no_way: &NoWay) -> Self {
        let blame = match no_way {
            NoWay::Model => elsewhere(),
            NoWay::Unreached(_, blame) => *blame,
        };
        let took = Duration::ZERO;
        Self { outcome: Outcome::Unknown, reason: no_way.to_string(), status: None, rule: None, blame, took }
    }
}

/// The request that tells.
#[derive(Debug, Clone)]
pub struct Way {
    probe: Probe,
    model: String,
}

impl Way {
    /// Finds out what to ask the keys of a pool.
    ///
    /// # Errors
    /// If nothing would tell, or the provider could not be asked.
    pub async fn find(connector: &Connector, pool: &Entry, target: &Arc<Target>) -> Result<Self, NoWay> {
        let (pack, base) = (&pool.config.provider, pool.config.targets.first().map(|target| target.url()));
        let base = base.unwrap_or_default();
        let own = pack.probe.clone().filter(|probe| pack.may_ask(&probe.url, &base));
        let mut way = Self {
            probe: own.or_else(|| pack::generic().probe.clone()).unwrap_or_else(Probe::chat),
            model: pool.config.models.test.clone().unwrap_or_default(),
        };
        let is_known = pack.base_urls.iter().any(|own| own.trim_end_matches('/') == base);
        let is_doubtful = way.probe.is_of_models() && !is_known;
        if is_doubtful || (way.probe.needs_model() && way.model.is_empty()) {
            let open = models_for_anyone(connector, pool, target).await?;
            if open.is_some() && way.probe.is_of_models() {
                way.probe = Probe::chat();
            }
            if way.model.is_empty() {
                way.model = open.flatten().unwrap_or_default();
            }
        }
        if way.probe.needs_model() && way.model.is_empty() { Err(NoWay::Model) } else { Ok(way) }
    }

    /// The model that keys are probed with; empty if none is.
    pub fn model(&self) -> &str {
        if self.probe.needs_model() { &self.model } else { "" }
    }

    /// It costs money: a provider counts it as a use.
    pub fn is_billed(&self) -> bool {
        self.probe.needs_model()
    }

    fn question(&self) -> Question {
        let model = Value::from(self.model.as_str()).to_string();
        let body = self.probe.body.as_deref().unwrap_or_default().replace("{model}", model.trim_matches('"'));
        let method = match self.probe.method() {
            pack::Method::Get => Method::GET,
            pack::Method::Post => Method::POST,
        };
        Question { method, url: self.probe.url.clone(), body: Bytes::from(body), most: MOST }
    }

    /// Finds out about one key.
    pub async fn examine(&self, connector: &Connector, pool: &Entry, target: &Arc<Target>, key: u32) -> Examined {
        let begun = Instant::now();
        let answer = ask(connector, pool, target, Some(key), &self.question()).await;
        let took = begun.elapsed();
        match answer {
            Ok(reply) => self.judge(pool, &reply, took),
            Err(error) => unanswered(&error, took),
        }
    }

    /// What the pool's rules, and what the probe expects, say of an answer.
    fn judge(&self, pool: &Entry, reply: &Reply, took: Duration) -> Examined {
        let words =
            Answer { status: Some(reply.status), headers: &reply.headers, body: &reply.body, model: self.model() };
        let judgement = pool.config.verdicts.judge(&words, Timestamp::now());
        let examined = |rule, blame: Blame, reason: Option<&str>| Examined {
            outcome: outcome(&blame),
            reason: reason.unwrap_or_else(|| word(&blame)).to_owned(),
            status: Some(reply.status),
            rule,
            blame,
            took,
        };
        match judgement.answer.found {
            _ if (300..400).contains(&reply.status) => examined(None, elsewhere(), Some("redirected")),
            Found::Success if judgement.answer.is_html => examined(None, elsewhere(), Some("answered by a web page")),
            Found::Success | Found::Nothing => {
                let told: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
                let is_true = |pointer: &&String| told.pointer(pointer) == Some(&Value::Bool(true));
                match self.probe.dead_if.iter().find(is_true) {
                    Some(pointer) => examined(None, dead(), Some(pointer.trim_start_matches('/'))),
                    None => examined(None, Blame::success(), None),
                }
            }
            Found::Error => {
                let habits = Habits {
                    // The last digits of a duration are as random as they need to be.
                    jitter: f64::from(took.subsec_nanos() % 1000) / 1000.0,
                    has_own_cooldown: pool.config.blacklist.is_cooldown_chosen,
                };
                let blame = Blame::of_verdict(&judgement.verdict, judgement.answer.status, habits);
                examined(Some(judgement.verdict.rule), self.expected(blame, judgement.answer.status), None)
            }
        }
    }

    /// What the probe knows better than the rules: it may be meant to be refused.
    fn expected(&self, blame: Blame, status: Option<u16>) -> Blame {
        let is_among = |statuses: &[u16]| status.is_some_and(|status| statuses.contains(&status));
        match blame.fault {
            Fault::Client | Fault::Absent if is_among(&self.probe.alive) => Blame::success(),
            // What a 400 or 403 means the rules know.
            Fault::Client | Fault::Absent if is_among(&self.probe.dead) && !matches!(status, Some(400 | 403)) => dead(),
            _ => blame,
        }
    }
}

/// The first model, if models are listed without a key; the outer `None` = they are not.
async fn models_for_anyone(
    connector: &Connector,
    pool: &Entry,
    target: &Arc<Target>,
) -> Result<Option<Option<String>>, NoWay> {
    let unreached = |error: &Error| NoWay::Unreached(said(error), blame(error));
    let question = Question::get("/models", LIST);
    let reply = ask(connector, pool, target, None, &question).await.map_err(|error| unreached(&error))?;
    match reply.status {
        200..300 => {
            let list: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            Ok(Some(list["data"][0]["id"].as_str().map(str::to_owned)))
        }
        status @ 500.. => {
            let blame = Blame { fault: Fault::Target, retry: true, result: AttemptResult::ServerError };
            Err(NoWay::Unreached(format!("it answers with {status}"), blame))
        }
        _ => Ok(None),
    }
}

fn unanswered(error: &Error, took: Duration) -> Examined {
    let blame = blame(error);
    let reason = if blame.fault == Fault::Egress { "egress" } else { blame.result.as_str() }.to_owned();
    Examined { outcome: Outcome::Unknown, reason, status: None, rule: None, blame, took }
}

/// Somebody else than the provider answers.
fn elsewhere() -> Blame {
    Blame { fault: Fault::Target, retry: true, result: AttemptResult::Broken }
}

fn dead() -> Blame {
    let fault = Fault::Key(Scope::Key, Mark::Disable(Reason::Unauthorized));
    Blame { fault, retry: true, result: AttemptResult::Unauthorized }
}

fn outcome(blame: &Blame) -> Outcome {
    match blame.fault {
        Fault::None => Outcome::Valid,
        Fault::Key(_, Mark::Disable(_)) | Fault::Refused(_, Mark::Disable(_)) => Outcome::Dead,
        // What is asked is what every working key is served.
        Fault::Key(_, Mark::Escalate { reason: Reason::Unauthorized, .. }) => Outcome::Dead,
        Fault::Key(..) => Outcome::Limited,
        Fault::Refused(..) | Fault::Client | Fault::Absent | Fault::Unknown | Fault::Target | Fault::Egress => {
            Outcome::Unknown
        }
    }
}

fn word(blame: &Blame) -> &'static str {
    match blame.fault {
        Fault::None => "ok",
        Fault::Key(_, mark) | Fault::Refused(_, mark @ Mark::Disable(_)) => mark.reason().as_str(),
        _ => blame.result.as_str(),
    }
}

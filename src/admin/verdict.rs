//! `POST /api/v1/verdict`: what a pool's rules, or others, make of an answer or of the last failures, without any key
//! being touched.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::extract::Body;
use super::failures::{self, Replay};
use super::problem::Problem;
use super::router::AdminState;
use crate::manage::no_pool;
use crate::verdict::case::Words;
use crate::verdict::{Answer, Engine, Flaw, Found, Judgement, RuleText, pack};

/// An answer to try.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Trial {
    /// The pool whose rules judge; the default one if neither pool nor provider is named.
    pool: Option<String>,
    /// The provider whose pack judges instead.
    provider: Option<String>,
    status: Option<u16>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Text, or JSON.
    #[serde(default)]
    body: Value,
    #[serde(default)]
    model: String,
    /// The wall clock.
    now: Option<String>,
    /// Tried before all others.
    rule: Option<RuleText>,
    #[serde(default)]
    rules: Vec<RuleText>,
    /// Judge the pool's last failures instead of an answer given here.
    #[serde(default)]
    replay: bool,
}

/// What came of it.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum TrialResult {
    /// Of an answer.
    Judged(Judged),
    /// Of the last failures.
    Replayed(Replay),
}

/// The verdict, in the words of `keyweir verdict`, and what was read of the answer.
#[derive(Serialize, JsonSchema)]
pub(super) struct Judged {
    #[serde(flatten)]
    verdict: Words,
    /// Why the key would rest; `null` if it would not.
    reason: Option<String>,
    /// It acts at once, and not only at the threshold.
    certain: bool,
    /// What the pool's rules that are only tried make of it.
    shadow: Option<Words>,
    answer: ReadAnswer,
}

/// What was read of an answer.
#[derive(Serialize, JsonSchema)]
struct ReadAnswer {
    is_error: bool,
    /// `null` for an error inside a 200.
    status: Option<u16>,
    code: String,
    #[serde(rename = "type")]
    kind: String,
    message: String,
    /// Other fields, as `name=value`.
    details: Vec<String>,
    is_html: bool,
}

pub(super) async fn verdict(
    State(state): State<Arc<AdminState>>,
    Body(trial): Body<Trial>,
) -> Result<Json<TrialResult>, Problem> {
    if trial.status.is_none() && !trial.replay {
        return Err(Problem::unprocessable("status: say the answer's, or replay: true"));
    }
    let mut engine = engine(&state, &trial)?;
    let more: Vec<_> = trial.rule.iter().chain(&trial.rules).cloned().collect();
    if !more.is_empty() {
        engine = Arc::new(engine.with(&more).map_err(|flaws| flawed(&flaws, trial.rule.is_some()))?);
    }
    if trial.replay {
        let memory = failures::of(&state, &pool_of(&state, &trial)?)?;
        return Ok(Json(TrialResult::Replayed(failures::replay(&memory, &engine))));
    }
    let now = match &trial.now {
        Some(text) => text.parse().map_err(|_| Problem::bad_request("now: write e.g. 2026-01-31T12:00:00Z"))?,
        None => Timestamp::now(),
    };
    let headers = headers(&trial.headers)?;
    let body = match &trial.body {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        json => json.to_string(),
    };
    let answer = Answer { status: trial.status, headers: &headers, body: body.as_bytes(), model: &trial.model };
    Ok(Json(TrialResult::Judged(engine.judge(&answer, now).into())))
}

impl From<Judgement> for Judged {
    fn from(judgement: Judgement) -> Self {
        let Judgement { verdict, shadow, answer, .. } = judgement;
        Self {
            reason: verdict.until.map(|_| verdict.reason.as_str().to_owned()),
            certain: verdict.is_certain,
            verdict: Words::from(&verdict),
            shadow: shadow.as_ref().map(Words::from),
            answer: ReadAnswer {
                is_error: answer.found == Found::Error,
                status: answer.status,
                code: answer.fields.code,
                kind: answer.fields.kind,
                message: answer.fields.message,
                details: answer.fields.details,
                is_html: answer.is_html,
            },
        }
    }
}

/// What is wrong with the rules; `is_led` by a single one.
fn flawed(flaws: &[(usize, Flaw)], is_led: bool) -> Problem {
    let place = |place: usize| match place.checked_sub(usize::from(is_led)) {
        Some(place) => format!("rules[{place}]"),
        None => "rule".to_owned(),
    };
    let errors: Vec<_> = flaws.iter().map(|(at, flaw)| format!("{}.{flaw}", place(*at))).collect();
    let detail = errors.first().cloned().unwrap_or_default();
    Problem { errors, ..Problem::unprocessable(detail) }
}

fn engine(state: &AdminState, trial: &Trial) -> Result<Arc<Engine>, Problem> {
    if let Some(name) = &trial.provider {
        let pack = pack::find(name).ok_or_else(|| Problem::not_found(format!("there is no provider {name:?}")))?;
        return Ok(Arc::new(Engine::of_pack(pack)));
    }
    let pool = pool_of(state, trial)?;
    Ok(state.keypool.verdicts(&pool).ok_or_else(|| no_pool(&pool))?)
}

fn pool_of(state: &AdminState, trial: &Trial) -> Result<String, Problem> {
    match &trial.pool {
        Some(name) => Ok(name.clone()),
        None => Ok(state.pool(None)?.pool),
    }
}

fn headers(pairs: &BTreeMap<String, String>) -> Result<HeaderMap, Problem> {
    let read = |(name, value): (&String, &String)| {
        let header = HeaderName::try_from(name).ok().zip(HeaderValue::from_bytes(value.as_bytes()).ok());
        header.ok_or_else(|| Problem::bad_request(format!("headers: {name:?} is not a header or has no valid value")))
    };
    pairs.iter().map(read).collect()
}

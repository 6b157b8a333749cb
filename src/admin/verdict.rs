//! `POST /api/v1/verdict`: what a pool's rules, or others, make of an answer or of the last failures, without any key
//! being touched.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::failures;
use super::problem::Problem;
use super::router::AdminState;
use crate::verdict::case::Words;
use crate::verdict::{Answer, Engine, Flaw, Found, RuleText, pack};

/// An answer to try.
#[derive(Deserialize)]
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

/// The verdict, in the words of `keyweir verdict`, and what was read of the answer.
pub(super) async fn verdict(
    State(state): State<Arc<AdminState>>,
    trial: Result<Json<Trial>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(trial) = trial?;
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
        return Ok(Json(failures::replay(&memory, &engine)));
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
    let judgement = engine.judge(&answer, now);
    let read = &judgement.answer;
    let mut shown = json!(Words::from(&judgement.verdict));
    shown["reason"] = judgement.verdict.until.map(|_| judgement.verdict.reason.as_str()).into();
    shown["certain"] = judgement.verdict.is_certain.into();
    shown["shadow"] = json!(judgement.shadow.as_ref().map(Words::from));
    shown["answer"] = json!({
        "is_error": read.found == Found::Error,
        "status": read.status,
        "code": read.fields.code,
        "type": read.fields.kind,
        "message": read.fields.message,
        "details": read.fields.details,
        "is_html": read.is_html,
    });
    Ok(Json(shown))
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
    state.keypool.verdicts(&pool).ok_or_else(|| Problem::not_found(format!("there is no pool {pool:?}")))
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

//! One request to a provider that tells whether a key works.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use jiff::Timestamp;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Response, StatusCode};

use super::results::{Finding, Outcome};
use crate::pool::{Mark, Reason};
use crate::telemetry::AttemptResult;
use crate::verdict::pack::{self, Method, Pack, Probe};
use crate::verdict::{Answer, Blame, Engine, Fault, Found, Habits};

/// How often a key is asked for whose answer says nothing of it.
const ATTEMPTS: u32 = 3;
/// Before the second attempt; doubled before the third.
const PAUSE: Duration = Duration::from_millis(500);
/// Most of an answer read, in bytes.
const MAX_BODY: u64 = 1024 * 1024;

/// A provider ready to be asked.
pub(super) struct Provider {
    agent: Agent,
    base: String,
    pack: Arc<Pack>,
    rules: Engine,
    headers: Vec<(String, String)>,
    probe: Probe,
    model: String,
}

impl Provider {
    /// Finds out what to ask.
    ///
    /// # Errors
    /// A chat is the only proof, and no model is known to chat with.
    pub(super) fn prepare(
        pack: &Arc<Pack>,
        base: &str,
        headers: &[(String, String)],
        model: Option<&str>,
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        // A redirect must not carry a key elsewhere.
        let config = Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false).max_redirects(0);
        let probe = pack.probe.clone().filter(|probe| probe.address(base, pack).is_some());
        let mut provider = Self {
            agent: config.build().new_agent(),
            base: base.to_owned(),
            pack: pack.clone(),
            rules: Engine::of_pack(pack),
            headers: headers.to_vec(),
            probe: probe.or_else(|| pack::generic().probe.clone()).unwrap_or_else(Probe::chat),
            model: model.unwrap_or_default().to_owned(),
        };
        if provider.probe.is_of_models() || (provider.probe.needs_model() && model.is_none()) {
            let open = provider.models_for_anyone();
            if open.is_some() && provider.probe.is_of_models() {
                provider.probe = Probe::chat();
            }
            if provider.model.is_empty() {
                provider.model = open.flatten().unwrap_or_default();
            }
        }
        if provider.probe.needs_model() && provider.model.is_empty() {
            bail!("this provider lists its models to anyone, so only a chat tells; name a model with --model");
        }
        Ok(provider)
    }

    /// The first model, if models are listed without a key; the outer `None` = they are not.
    fn models_for_anyone(&self) -> Option<Option<String>> {
        let mut answer =
            self.get(&format!("{}/models", self.base), None).ok().filter(|answer| answer.status() == StatusCode::OK)?;
        let list: Value = answer.body_mut().with_config().limit(MAX_BODY).read_json().unwrap_or_default();
        Some(list["data"][0]["id"].as_str().map(str::to_owned))
    }

    /// Finds out about a key, with the patience a passing failure deserves.
    pub(super) fn ask(&self, key: &str, pace: &Pace) -> Finding {
        let mut pause = PAUSE;
        for attempt in 1.. {
            pace.wait();
            let (blame, finding) = self.ask_once(key);
            let may_pass = matches!(blame.fault, Fault::Unknown | Fault::Target);
            // Whoever did not answer in time would make everybody wait again.
            if !may_pass || blame.result == AttemptResult::Timeout || attempt >= ATTEMPTS {
                return finding;
            }
            sleep(pause);
            pause *= 2;
        }
        Finding::new(Outcome::Unknown, "not asked")
    }

    fn ask_once(&self, key: &str) -> (Blame, Finding) {
        let blame = match self.send(key) {
            Ok(mut answer) => match answer.status().as_u16() {
                status @ 300..=399 => {
                    let finding = Finding::new(Outcome::Unknown, format!("redirected with status {status}"));
                    return (Blame { fault: Fault::Client, retry: false, result: AttemptResult::ClientError }, finding);
                }
                status => return self.judge(status, &mut answer),
            },
            Err(ureq::Error::Timeout(_)) => Blame::of_failure(AttemptResult::Timeout),
            Err(ureq::Error::Io(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed) => {
                Blame::of_failure(AttemptResult::Unreachable)
            }
            Err(_) => Blame::of_failure(AttemptResult::Broken),
        };
        (blame, self.finding(&blame, None))
    }

    /// What the provider's rules, and what the probe expects, say of an answer.
    fn judge(&self, status: u16, answer: &mut Response<ureq::Body>) -> (Blame, Finding) {
        let body = answer.body_mut().with_config().limit(MAX_BODY).read_to_vec().unwrap_or_default();
        let words = Answer { status: Some(status), headers: answer.headers(), body: &body, model: &self.model };
        let judgement = self.rules.judge(&words, Timestamp::now());
        if judgement.answer.found == Found::Error {
            let blame = Blame::of_verdict(&judgement.verdict, judgement.answer.status, Habits::default());
            return (blame, self.finding(&blame, judgement.answer.status));
        }
        let told: Value = serde_json::from_slice(&body).unwrap_or_default();
        let is_true = |pointer: &&String| told.pointer(pointer) == Some(&Value::Bool(true));
        let finding = match self.probe.dead_if.iter().find(is_true) {
            Some(pointer) => Finding::new(Outcome::Dead, pointer.trim_start_matches('/')),
            None => Finding::new(Outcome::Valid, "ok"),
        };
        (Blame::success(), finding)
    }

    fn finding(&self, blame: &Blame, status: Option<u16>) -> Finding {
        let is_among = |statuses: &[u16]| status.is_some_and(|status| statuses.contains(&status));
        match blame.fault {
            Fault::None => Finding::new(Outcome::Valid, "ok"),
            Fault::Key(_, Mark::Disable(reason)) | Fault::Refused(_, Mark::Disable(reason)) => {
                Finding::new(Outcome::Dead, reason.as_str())
            }
            // Nobody else is asked who could tell whether a bare 401 is meant for this key.
            Fault::Key(_, Mark::Escalate { reason: Reason::Unauthorized, .. }) => {
                Finding::new(Outcome::Dead, Reason::Unauthorized.as_str())
            }
            Fault::Key(_, Mark::Cool { reason, .. } | Mark::Escalate { reason, .. }) => {
                Finding::new(Outcome::Limited, reason.as_str())
            }
            // The request was meant to be refused, after the key was not.
            Fault::Client | Fault::Absent if is_among(&self.probe.alive) => Finding::new(Outcome::Valid, "ok"),
            // What a 400 or 403 means the rules know.
            Fault::Client | Fault::Absent if is_among(&self.probe.dead) && !matches!(status, Some(400 | 403)) => {
                Finding::new(Outcome::Dead, Reason::Unauthorized.as_str())
            }
            Fault::Target if blame.result == AttemptResult::Unreachable => Finding::unreached(),
            Fault::Refused(..) | Fault::Client | Fault::Absent | Fault::Unknown | Fault::Target | Fault::Egress => {
                Finding::new(Outcome::Unknown, blame.result.as_str())
            }
        }
    }

    fn get(&self, url: &str, key: Option<&str>) -> Result<Response<ureq::Body>, ureq::Error> {
        let mut request = self.agent.get(url);
        for (name, value) in self.headers(key) {
            request = request.header(name, value);
        }
        request.call()
    }

    /// Sends the probe.
    fn send(&self, key: &str) -> Result<Response<ureq::Body>, ureq::Error> {
        let url = self.probe.address(&self.base, &self.pack).unwrap_or_else(|| self.base.clone());
        if self.probe.method() == Method::Get {
            return self.get(&url, Some(key));
        }
        let mut request = self.agent.post(url).content_type("application/json");
        for (name, value) in self.headers(Some(key)) {
            request = request.header(name, value);
        }
        let model = Value::from(self.model.as_str()).to_string();
        let body = self.probe.body.as_deref().unwrap_or_default().replace("{model}", model.trim_matches('"'));
        request.send(body)
    }

    fn headers(&self, key: Option<&str>) -> impl Iterator<Item = (String, String)> {
        let auth = self.pack.auth_below(&self.base);
        let key = key.map(|key| (auth.header().to_string(), auth.value(key)));
        self.headers.iter().cloned().chain(key)
    }
}

/// Keeps requests apart, so that no provider is stormed.
pub(super) struct Pace {
    next: Mutex<Instant>,
    gap: Duration,
}

impl Pace {
    /// At most so many requests per second.
    pub(super) fn new(rate: f64) -> Self {
        let gap = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::from_secs(1));
        Self { next: Mutex::new(Instant::now()), gap }
    }

    /// Waits for this thread's turn.
    fn wait(&self) {
        let now = Instant::now();
        let turn = match self.next.lock() {
            Ok(mut next) => {
                let turn = (*next).max(now);
                *next = turn + self.gap;
                turn
            }
            Err(_) => now + self.gap,
        };
        sleep(turn - now);
    }
}

fn sleep(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

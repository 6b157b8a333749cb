//! Talking to a running server through its admin API.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::Agent;

use super::ServerArgs;

const PATIENCE: Duration = Duration::from_secs(60);
/// Longest answer (bytes): an export of a million keys.
const ANSWER_MAX: u64 = 512 * 1024 * 1024;
/// One JSON value a line.
const LINES: &str = "application/x-ndjson";
const TOKEN_VARIABLE: &str = "KEYWEIR_ADMIN_TOKEN";

/// A running server.
pub(super) struct Server {
    agent: Agent,
    base: String,
    authorization: String,
}

impl Server {
    pub(super) fn new(args: &ServerArgs) -> anyhow::Result<Self> {
        let token = match &args.token_file {
            Some(path) => {
                std::fs::read_to_string(path).with_context(|| format!("{}: can't be read", path.display()))?
            }
            None => std::env::var(TOKEN_VARIABLE)
                .map_err(|_| anyhow!("set {TOKEN_VARIABLE} to the admin token, or name its file with --token-file"))?,
        };
        let config = Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false);
        Ok(Self {
            agent: config.build().new_agent(),
            base: format!("{}/api/v1", args.server.trim_end_matches('/')),
            authorization: format!("Bearer {}", token.trim()),
        })
    }

    /// What the API says at a path.
    pub(super) fn get(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        self.read(self.request("GET", path, query), String::new())
    }

    /// The text at a path.
    pub(super) fn get_text(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<String> {
        let (status, text) = self.ask(self.request("GET", path, query), String::new())?;
        if status.is_success() { Ok(text) } else { self.judge(status, &text).map(|_| String::new()) }
    }

    /// Changes something.
    pub(super) fn send(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.request(method, path, &[]).header("content-type", "application/json");
        self.read(request, if body.is_null() { String::new() } else { body.to_string() })
    }

    /// Sends a text.
    pub(super) fn send_text(&self, path: &str, text: &str) -> anyhow::Result<Value> {
        self.read(self.request("POST", path, &[]).header("content-type", "text/plain"), text.to_owned())
    }

    /// Does something long: `told` hears each line of the answer, and the last one is returned.
    pub(super) fn stream(&self, path: &str, body: &Value, mut told: impl FnMut(&Value)) -> anyhow::Result<Value> {
        let request =
            self.request("POST", path, &[]).header("content-type", "application/json").header("accept", LINES);
        let request = request.body(body.to_string()).context("the server's address is none")?;
        // However long it takes: the server says how far it is.
        let request = self.agent.configure_request(request).timeout_global(None).build();
        let response = self.agent.run(request).with_context(|| format!("{}: the server can't be asked", self.base))?;
        let (status, mut last) = (response.status(), Value::Null);
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line = line.with_context(|| format!("{}: the answer broke off", self.base))?;
            last = self.judge(status, &line)?;
            told(&last);
        }
        Ok(last)
    }

    fn request(&self, method: &str, path: &str, query: &[(&str, &str)]) -> http::request::Builder {
        let mut uri = format!("{}/{path}", self.base);
        for (place, (name, value)) in query.iter().enumerate() {
            let mark = if place == 0 { '?' } else { '&' };
            uri += &format!("{mark}{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
        http::Request::builder().method(method).uri(uri).header("authorization", &self.authorization)
    }

    fn read(&self, request: http::request::Builder, body: String) -> anyhow::Result<Value> {
        let (status, text) = self.ask(request, body)?;
        self.judge(status, &text)
    }

    fn ask(&self, request: http::request::Builder, body: String) -> anyhow::Result<(http::StatusCode, String)> {
        let mut response = self
            .agent
            .run(request.body(body).context("the server's address is none")?)
            .with_context(|| format!("{}: the server can't be asked", self.base))?;
        let text = response.body_mut().with_config().limit(ANSWER_MAX).read_to_string();
        Ok((response.status(), text.with_context(|| format!("{}: the answer broke off", self.base))?))
    }

    fn judge(&self, status: http::StatusCode, text: &str) -> anyhow::Result<Value> {
        if status == http::StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let answer: Value = serde_json::from_str(text).with_context(|| {
            format!("{} does not answer like a keyweir admin listener (status {status})", self.base)
        })?;
        if !status.is_success() {
            bail!("{}", answer["detail"].as_str().unwrap_or(status.as_str()));
        }
        Ok(answer)
    }

    /// All pages of a list: the first answer, with the items of every page.
    pub(super) fn get_all(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut whole: Option<Value> = None;
        let mut cursor: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            query.push(("limit", "1000"));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let mut page = self.get(path, &query)?;
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            let items = page["items"].as_array_mut().map(std::mem::take).context("the answer is not a list")?;
            let whole = whole.get_or_insert(page);
            if let Some(list) = whole["items"].as_array_mut() {
                list.extend(items);
            }
            if cursor.is_none() {
                whole["next_cursor"] = Value::Null;
                return Ok(whole.take());
            }
        }
    }
}

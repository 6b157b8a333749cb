//! Talking to a running server through its admin API.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde_json::Value;
use ureq::Agent;

use super::ServerArgs;

const PATIENCE: Duration = Duration::from_secs(60);
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
        let request = self.agent.get(format!("{}/{path}", self.base)).query_pairs(query.iter().copied());
        let mut response = request
            .header("authorization", &self.authorization)
            .call()
            .with_context(|| format!("{}: the server can't be asked", self.base))?;
        let status = response.status();
        let answer: Value = response.body_mut().read_json().with_context(|| {
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

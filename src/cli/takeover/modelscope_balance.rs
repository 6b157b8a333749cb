//! modelscope-balance: `config.json`.

use serde_json::{Value, json};

use super::{Folder, Takeover, pool_name};
use crate::config::formats::{Format, provider_of};

const TARGET: &str = "https://api-inference.modelscope.cn";

pub(super) fn convert(text: &str, folder: Folder) -> anyhow::Result<Takeover> {
    let mut to = Takeover::new("modelscope-balance", &folder);
    let root: Value = serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(text)).unwrap_or_default();
    let word = |name: &str| match &root[name] {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    if root.is_null() {
        to.lose("config.json", "is not JSON; only keys were looked for in it");
    }
    let port = word("server_port").and_then(|port| port.trim_start_matches(':').parse().ok()).unwrap_or(8080);
    to.listen("server_port", "127.0.0.1", port);
    to.anonymous();
    to.tokens(&[], None)?;

    let url = word("target_url").unwrap_or_else(|| TARGET.into());
    let provider = provider_of(&url).unwrap_or("generic");
    let pool = if provider == "generic" { "modelscope".into() } else { pool_name(provider) };
    to.draft.set(&["pools", &pool, "provider"], provider.into());
    let mut target = json!({ "url": base(&url) });
    if root["health_check"].as_bool() == Some(true) {
        let path = word("health_path").unwrap_or_else(|| "/v1/models".into());
        target["health"] = json!({"every": "30s", "path": path});
        to.carry("health_check, health_path", format!("pools.{pool}.targets[0].health"));
        to.change("the health check tells whether the provider is there; ModelScope answers it with any key, so it says nothing of keys, which are judged by what they are answered");
    } else {
        to.carry("health_check", "off: a target's health is a connection");
    }
    to.set("target_url", &["pools", &pool, "targets"], json!([target]));
    to.take_keys("api_keys", "config.json", text, Format::ModelscopeBalance, &pool);
    let known = ["api_keys", "server_port", "target_url", "health_check", "health_path"];
    for name in root.as_object().into_iter().flatten().map(|(name, _)| name) {
        if !known.contains(&name.as_str()) {
            to.lose(name, "not a setting of modelscope-balance");
        }
    }
    to.draft.set(&["server", "proxy", "status_endpoints"], true.into());
    to.change("a refused or limited request is sent again with another key; before, the client got the refusal");
    Ok(to)
}

/// The old balancer put the client's whole path, `/v1` included, behind the URL's.
fn base(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let path = url.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    match path {
        Some((_, path)) if !path.is_empty() => format!("{url}/v1"),
        _ => url.to_owned(),
    }
}

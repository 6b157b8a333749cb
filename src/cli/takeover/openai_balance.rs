//! OpenAI Balance: `.env`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Folder, Settings, Takeover, pool_name};
use crate::config::formats::{Format, provider_of};

const BASE_URL: &str = "https://api.openai.com/v1";
const LOST: [(&str, &str); 8] = [
    ("TIMEZONE", "times are those of the machine; reactivate and quotas name their zones"),
    ("SQLITE_DATABASE", "keyweir keeps its own database; the old one's logs stay where they are"),
    ("PROXIES_USE_CONSISTENCY_HASH_BY_API_KEY", "a key keeps its proxy anyway"),
    ("AUTO_DELETE_REQUEST_LOGS_ENABLED", "one log of requests, kept for store.retention"),
    ("AUTO_DELETE_REQUEST_LOGS_DAYS", "one log of requests, kept for store.retention"),
    ("ADMIN_SESSION_EXPIRE", "sessions of the console end by themselves"),
    ("URL_NORMALIZATION_ENABLED", "paths without /v1 are understood anyway"),
    ("MYSQL_SOCKET", "write a socket into store.url yourself"),
];

/// One entry of `PROVIDERS_CONFIG`.
#[derive(Deserialize)]
struct Provider {
    #[serde(default)]
    name: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    base_url: String,
    #[serde(default = "yes")]
    enabled: bool,
    timeout: Option<u32>,
    max_failures: Option<u32>,
    max_retries: Option<u32>,
    #[serde(default)]
    test_model: String,
    #[serde(default)]
    custom_headers: serde_json::Map<String, Value>,
}

fn yes() -> bool {
    true
}

pub(super) fn convert(mut settings: Settings, text: &str, folder: Folder) -> anyhow::Result<Takeover> {
    let mut to = Takeover::new("OpenAI Balance", &folder);
    to.listen("(port)", "0.0.0.0", 8000);
    let tokens = settings.list("ALLOWED_TOKENS");
    let clients: Vec<_> = tokens.into_iter().map(|token| ("ALLOWED_TOKENS".to_owned(), token)).collect();
    let admin = settings.take("AUTH_TOKEN").unwrap_or_default();
    to.tokens(&clients, Some(("AUTH_TOKEN", &admin)))?;

    let providers = settings.take("PROVIDERS_CONFIG");
    let providers = read_providers(providers.as_deref(), &mut to);
    let url = settings.take("BASE_URL").unwrap_or_else(|| BASE_URL.into());
    let has_own = !settings.list("API_KEYS").is_empty();
    let pack = provider_of(&url).unwrap_or("generic");
    let own = if pack == "generic" || providers.iter().any(|p| p.pool() == pack) { "main" } else { pack };
    let own = if providers.iter().any(|p| p.pool() == own) { "api-keys" } else { own };
    default_pool(&mut settings, &mut to, &providers, has_own.then_some(own));
    let mut pools: Vec<String> = Vec::new();
    if has_own || providers.is_empty() {
        to.draft.set(&["pools", own, "provider"], pack.into());
        to.set("BASE_URL", &["pools", own, "targets"], vec![url]);
        pools.push(own.to_owned());
    }
    for provider in &providers {
        provider.carry(&mut to);
        pools.push(provider.pool());
    }
    shared(&mut settings, &mut to, &pools, &providers);
    take_keys(text, own, &mut settings, &mut to);
    store(&mut settings, &mut to);
    for (name, why) in LOST {
        if settings.take(name).is_some() {
            to.lose(name, why);
        }
    }
    settings.rest().for_each(|name| to.lose(name, "not a setting of OpenAI Balance"));
    to.change("a key is disabled by what the provider says of it, not by a count of failures of any kind");
    to.change("when every key is out, none is used anyway: clients get 429 and the time the first one is back");
    Ok(to)
}

fn read_providers(text: Option<&str>, to: &mut Takeover) -> Vec<Provider> {
    let Some(text) = text else { return Vec::new() };
    serde_json::from_str(text).unwrap_or_else(|_| {
        to.lose("PROVIDERS_CONFIG", "not the JSON list of providers it should be");
        Vec::new()
    })
}

impl Provider {
    fn pool(&self) -> String {
        pool_name(if self.path.is_empty() { &self.name } else { &self.path })
    }

    fn carry(&self, to: &mut Takeover) {
        let pool = self.pool();
        let pack = provider_of(&self.base_url).unwrap_or("generic");
        to.draft.set(&["pools", &pool, "provider"], pack.into());
        to.set("PROVIDERS_CONFIG", &["pools", &pool, "targets"], vec![self.base_url.clone()]);
        if !self.enabled {
            to.draft.set(&["pools", &pool, "enabled"], false.into());
        }
        if !self.custom_headers.is_empty() {
            to.draft.set(&["pools", &pool, "headers"], self.custom_headers.clone().into());
        }
        times(to, &pool, self.timeout, self.max_failures, self.max_retries);
        if !self.test_model.is_empty() {
            to.draft.set(&["pools", &pool, "models", "test"], self.test_model.as_str().into());
        }
    }
}

fn times(to: &mut Takeover, pool: &str, timeout: Option<u32>, failures: Option<u32>, retries: Option<u32>) {
    if let Some(seconds) = timeout.filter(|seconds| *seconds > 0) {
        to.draft.set(&["pools", pool, "timeouts", "first_byte"], format!("{seconds}s").into());
        to.draft.set(&["pools", pool, "timeouts", "idle"], format!("{seconds}s").into());
    }
    if let Some(failures) = failures {
        to.draft.set(&["pools", pool, "blacklist", "threshold"], failures.clamp(1, 1000).into());
    }
    if let Some(retries) = retries {
        to.draft.set(&["pools", pool, "retry", "attempts"], retries.clamp(1, 32).into());
    }
}

fn default_pool(settings: &mut Settings, to: &mut Takeover, providers: &[Provider], own: Option<&str>) {
    let named = settings.take("DEFAULT_PROVIDER");
    let named = named.and_then(|name| providers.iter().find(|p| p.name == name || p.path == name).map(Provider::pool));
    let first = || providers.iter().find(|provider| provider.enabled).map(Provider::pool);
    if let Some(pool) = named.or_else(|| own.map(str::to_owned)).or_else(first) {
        to.set("DEFAULT_PROVIDER", &["default_pool"], pool);
    }
}

/// Settings that held for every provider.
fn shared(settings: &mut Settings, to: &mut Takeover, pools: &[String], providers: &[Provider]) {
    let (timeout, failures) = (settings.number("TIME_OUT"), settings.number("MAX_FAILURES"));
    let retries = settings.number("MAX_RETRIES");
    for (name, value, field) in [
        ("TIME_OUT", timeout, "timeouts.first_byte, timeouts.idle"),
        ("MAX_FAILURES", failures, "blacklist.threshold"),
        ("MAX_RETRIES", retries, "retry.attempts"),
    ] {
        if value.is_some() {
            to.carry(name, format!("pools.*.{field}"));
        }
    }
    let deny = settings.list("FILTERED_MODELS");
    let test = settings.take("TEST_MODEL");
    let headers: serde_json::Map<String, Value> =
        settings.take("CUSTOM_HEADERS").and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let proxies = settings.list("PROXIES");
    let check = egress_check(settings);
    let every = settings.number("CHECK_INTERVAL_HOURS").unwrap_or(1);
    for pool in pools {
        let own = providers.iter().find(|provider| provider.pool() == *pool);
        let unless = |own: Option<u32>, all: Option<u32>| if own.is_some() { None } else { all };
        times(
            to,
            pool,
            unless(own.and_then(|p| p.timeout), timeout),
            unless(own.and_then(|p| p.max_failures), failures),
            unless(own.and_then(|p| p.max_retries), retries),
        );
        let mut set = |old: &str, field: &[&str], value: Value| {
            let path: Vec<&str> = ["pools", pool.as_str()].into_iter().chain(field.iter().copied()).collect();
            to.draft.set(&path, value);
            let place = (old.to_owned(), format!("pools.*.{}", field.join(".")));
            if !to.carried.contains(&place) {
                to.carried.push(place);
            }
        };
        if !deny.is_empty() {
            set("FILTERED_MODELS", &["models", "deny"], json!(deny));
        }
        if let Some(test) = test.as_deref().filter(|_| own.is_none_or(|p| p.test_model.is_empty())) {
            set("TEST_MODEL", &["models", "test"], test.into());
        }
        if own.is_none() && !headers.is_empty() {
            set("CUSTOM_HEADERS", &["headers"], headers.clone().into());
        }
        if !proxies.is_empty() {
            set("PROXIES", &["egress"], json!(proxies));
        }
        if let Some(check) = &check {
            set("PROXY_…", &["egress_check"], check.clone());
        }
        if every > 0 {
            set("CHECK_INTERVAL_HOURS", &["reactivate"], json!({"every": format!("{every}h"), "probe": true}));
        }
    }
}

fn egress_check(settings: &mut Settings) -> Option<Value> {
    let enabled = settings.flag("PROXY_AUTO_CHECK_ENABLED").unwrap_or(false);
    let hours: Option<f64> = settings.take("PROXY_CHECK_INTERVAL_HOURS").and_then(|hours| hours.parse().ok());
    let (failures, url) = (settings.number("PROXY_MAX_FAILURES"), settings.take("PROXY_CHECK_URL"));
    let timeout = settings.seconds("PROXY_CHECK_TIMEOUT");
    if !enabled {
        return None;
    }
    let minutes = hours.filter(|hours| *hours > 0.0).map_or(60.0, |hours| (hours * 60.0).clamp(1.0, 1e6).round());
    let mut check = json!({"every": format!("{minutes}m"), "on_failure": "rebind"});
    let optional = [
        ("url", url.map(Value::from)),
        ("timeout", timeout.map(Value::from)),
        ("max_failures", failures.filter(|count| *count > 0).map(Value::from)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            check[name] = value;
        }
    }
    Some(check)
}

fn take_keys(text: &str, own: &str, settings: &mut Settings, to: &mut Takeover) {
    to.take_keys("API_KEYS, PROVIDERS_CONFIG", ".env", text, Format::Env, own);
    for entry in &mut to.keys {
        // A pool that is switched off switches off its keys; whoever switches it on wants them on.
        entry.disabled = false;
        entry.pool = entry.pool.take().map(|pool| pool_name(&pool).into());
    }
    if let Some(key) = settings.take("MODEL_REQUEST_KEY") {
        match to.keys.iter_mut().find(|entry| entry.pool.as_deref() == Some(own) && entry.key.expose() == key) {
            Some(entry) => {
                entry.name = Some("model-list".into());
                to.set("MODEL_REQUEST_KEY", &["pools", own, "models", "list_key"], "model-list");
            }
            None => to.lose(
                "MODEL_REQUEST_KEY",
                "is not one of API_KEYS; add it to keys.yaml and name it in models.list_key",
            ),
        }
    }
}

fn store(settings: &mut Settings, to: &mut Takeover) {
    if settings.take("DATABASE_TYPE").as_deref() == Some("mysql") {
        let mut part = |name: &str| settings.take(&format!("MYSQL_{name}")).map(|text| escaped(&text));
        let (host, port) = (part("HOST").unwrap_or_default(), part("PORT").unwrap_or_else(|| "3306".into()));
        let (user, password) = (part("USER").unwrap_or_default(), part("PASSWORD").unwrap_or_default());
        let database = part("DATABASE").unwrap_or_else(|| "default_db".into());
        let url = format!("mysql://{user}:{password}@{host}:{port}/{database}");
        to.set("DATABASE_TYPE, MYSQL_…", &["store", "url"], url);
        to.change("keyweir makes tables of its own in the database; the old ones stay as they are");
    }
    settings.values.retain(|name, _| !name.starts_with("MYSQL_") || name == "MYSQL_SOCKET");
    if settings.flag("ERROR_LOG_RECORD_REQUEST_BODY") == Some(true) {
        to.set("ERROR_LOG_RECORD_REQUEST_BODY", &["store", "request_body"], true);
    }
    let days = settings.number("AUTO_DELETE_ERROR_LOGS_DAYS").filter(|days| *days > 0);
    match settings.flag("AUTO_DELETE_ERROR_LOGS_ENABLED") {
        Some(false) => to.set("AUTO_DELETE_ERROR_LOGS_ENABLED", &["store", "retention"], "3650d"),
        _ => {
            if let Some(days) = days {
                to.set("AUTO_DELETE_ERROR_LOGS_DAYS", &["store", "retention"], format!("{days}d"));
            }
        }
    }
    if let Some(level) = settings.take("LOG_LEVEL").and_then(|level| super::level(&level)) {
        to.set("LOG_LEVEL", &["log", "level"], level);
    }
}

/// Text as a part of a URL.
fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

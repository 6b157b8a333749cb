//! GPT-Load before version 1: `.env`, and the file of `KEYS_FILE`.

use super::{Folder, Settings, Takeover};
use crate::config::formats::{Format, provider_of};

/// Durations in seconds, and where they go in the configuration.
const SERVER_TIMES: [(&str, &[&str]); 3] = [
    ("SERVER_READ_TIMEOUT", &["server", "limits", "body_timeout"]),
    ("SERVER_IDLE_TIMEOUT", &["server", "limits", "keepalive"]),
    ("SERVER_GRACEFUL_SHUTDOWN_TIMEOUT", &["server", "shutdown", "grace"]),
];
const LOST: [(&str, &str); 10] = [
    ("REQUEST_TIMEOUT", "timeouts.first_byte bounds the wait for an answer, timeouts.total the whole of it"),
    ("IDLE_CONN_TIMEOUT", "idle connections to the provider are kept as long as it keeps them"),
    ("ENABLE_GZIP", "answers pass as the provider sends them"),
    ("ALLOWED_METHODS", "CORS allows what the routes accept"),
    ("ALLOWED_HEADERS", "CORS allows the headers clients of this API send"),
    ("ALLOW_CREDENTIALS", "cookies are never used"),
    ("LOG_ENABLE_FILE", "logs go to standard output; let systemd or the container keep them"),
    ("LOG_FILE_PATH", "logs go to standard output; let systemd or the container keep them"),
    ("MAX_SOCKETS", "connections to the provider are not limited"),
    ("MAX_FREE_SOCKETS", "connections to the provider are not limited"),
];

pub(super) fn convert(mut settings: Settings, mut folder: Folder) -> anyhow::Result<Takeover> {
    let keys_file = settings.take("KEYS_FILE").unwrap_or_else(|| "keys.txt".into());
    let keys = folder.text(&keys_file)?;
    let mut to = Takeover::new("GPT-Load", &folder);
    listen(&mut settings, &mut to)?;
    let urls = match settings.list("OPENAI_BASE_URL") {
        urls if urls.is_empty() => vec!["https://api.openai.com".to_owned()],
        urls => urls,
    };
    let provider = urls.first().and_then(|url| provider_of(url));
    let provider = provider.filter(|name| urls.iter().all(|url| provider_of(url) == Some(name))).unwrap_or("generic");
    let pool = if provider == "generic" { "main" } else { provider };
    to.draft.set(&["pools", pool, "provider"], provider.into());
    if urls.iter().any(|url| url.split_once("://").is_some_and(|(_, rest)| rest.trim_end_matches('/').contains('/'))) {
        to.change("a target's path takes the place of the client's /v1, which GPT-Load put behind it");
    }
    to.set("OPENAI_BASE_URL", &["pools", pool, "targets"], urls);
    pool_settings(&mut settings, &mut to, pool);
    logs(&mut settings, &mut to);
    match keys {
        Some(text) => to.take_keys("KEYS_FILE", &keys_file, &text, Format::Text, pool),
        None => to.lose("KEYS_FILE", "there is no such file; put the keys into keys.yaml"),
    }
    for (name, why) in LOST {
        if settings.take(name).is_some() {
            to.lose(name, why);
        }
    }
    settings.rest().for_each(|name| to.lose(name, "not a setting of this version of GPT-Load"));
    to.draft.set(&["server", "proxy", "status_endpoints"], true.into());
    to.change(
        "a key rests for a time instead of for good, and 5xx of the provider is not its fault (blacklist.on_5xx)",
    );
    to.change("when every key is out, clients are told when the first one is back; the list no longer resets itself");
    Ok(to)
}

fn listen(settings: &mut Settings, to: &mut Takeover) -> anyhow::Result<()> {
    let host = settings.take("HOST").unwrap_or_else(|| "0.0.0.0".into());
    let port = settings.take("PORT").and_then(|port| port.parse().ok()).unwrap_or(3000);
    let token = settings.take("AUTH_KEY");
    let host = match (host.as_str(), &token) {
        (_, None) | ("localhost", _) => "127.0.0.1",
        (host, _) => host,
    };
    to.listen("HOST, PORT", host, port);
    match token {
        Some(token) => to.tokens(&[("AUTH_KEY".into(), token)], None)?,
        None => {
            to.anonymous();
            to.tokens(&[], None)?;
        }
    }
    let origins = settings.list("ALLOWED_ORIGINS");
    if settings.flag("ENABLE_CORS").unwrap_or(true) {
        let origins = if origins.is_empty() { vec!["*".to_owned()] } else { origins };
        to.set("ENABLE_CORS, ALLOWED_ORIGINS", &["server", "proxy", "cors", "origins"], origins);
    }
    for (name, path) in SERVER_TIMES {
        if let Some(time) = settings.seconds(name) {
            to.set(name, path, time);
        }
    }
    if let Some(limit) = settings.number("MAX_CONCURRENT_REQUESTS").filter(|limit| *limit > 0) {
        to.set("MAX_CONCURRENT_REQUESTS", &["server", "limits", "in_flight"], limit);
    }
    Ok(())
}

fn pool_settings(settings: &mut Settings, to: &mut Takeover, pool: &str) {
    if let Some(index) = settings.number("START_INDEX").filter(|index| *index > 0) {
        to.set("START_INDEX", &["pools", pool, "select", "start_index"], index);
    }
    if let Some(threshold) = settings.number("BLACKLIST_THRESHOLD").filter(|threshold| *threshold > 0) {
        to.set("BLACKLIST_THRESHOLD", &["pools", pool, "blacklist", "threshold"], threshold.min(1000));
    }
    if let Some(retries) = settings.number("MAX_RETRIES") {
        to.set("MAX_RETRIES", &["pools", pool, "retry", "attempts"], retries.min(31) + 1);
        to.change(
            "retry.attempts counts the first attempt too; refused keys (429, 401) are bounded by key_attempts instead",
        );
    }
    if let Some(time) = settings.seconds("RESPONSE_TIMEOUT") {
        to.set("RESPONSE_TIMEOUT", &["pools", pool, "timeouts", "first_byte"], time);
    }
    if let Some(time) = settings.seconds("SERVER_WRITE_TIMEOUT") {
        to.set("SERVER_WRITE_TIMEOUT", &["pools", pool, "timeouts", "total"], time);
    }
}

fn logs(settings: &mut Settings, to: &mut Takeover) {
    if let Some(level) = settings.take("LOG_LEVEL").and_then(|level| super::level(&level)) {
        to.set("LOG_LEVEL", &["log", "level"], level);
    }
    if let Some(format) = settings.take("LOG_FORMAT").filter(|format| format == "json" || format == "text") {
        to.set("LOG_FORMAT", &["log", "format"], format);
    }
    if settings.flag("LOG_ENABLE_REQUEST") == Some(false) {
        to.set("LOG_ENABLE_REQUEST", &["log", "access"], "off");
    }
}

//! ModelScope Balancer: `config.toml`, and `state.json` beside it.

use toml::de::{DeTable, DeValue};

use super::{Folder, Settings, Takeover};
use crate::config::formats::Format;
use crate::config::units::Time;

const POOL: &str = "modelscope";
const EVERY: &str = "10m";

pub(super) fn convert(text: &str, mut folder: Folder) -> anyhow::Result<Takeover> {
    let state = folder.text("state.json")?;
    let mut settings = settings(text);
    let mut to = Takeover::new("ModelScope Balancer", &folder);
    let address = settings.take("server_address").unwrap_or_else(|| ":8980".into());
    let (host, port) = address.rsplit_once(':').unwrap_or(("", address.as_str()));
    let host = match host {
        "" => "0.0.0.0",
        "localhost" => "127.0.0.1",
        host => host,
    };
    to.listen("server_address", host, port.parse().unwrap_or(8980));
    let client = settings.take("api_token").unwrap_or_default();
    let admin = settings.take("admin_token").unwrap_or_default();
    to.tokens(&[("api_token".into(), client)], Some(("admin_token", &admin)))?;
    to.draft.set(&["pools", POOL, "provider"], "modelscope".into());
    reactivation(&mut settings, &mut to);
    to.take_keys("api_keys", "config.toml", text, Format::ModelscopeBalancer, POOL);
    if let Some(state) = state {
        to.take_keys("state.json", "state.json", &state, Format::Json, POOL);
    }
    settings.rest().for_each(|name| to.lose(name, "not a setting of ModelScope Balancer"));
    to.change("a key is no longer disabled for whatever failed: 429 rests it until the provider's time, 5xx is not its fault, only 401 takes it out");
    to.change("GET /admin/api/… is /api/v1/… on the admin listener (docs/migrating.md has each)");
    Ok(to)
}

fn reactivation(settings: &mut Settings, to: &mut Takeover) {
    let mut take = |name: &str| settings.take(&format!("auto_reactivation.{name}"));
    let (enabled, mode) = (take("enabled"), take("mode"));
    let (interval, cron, timezone) = (take("interval"), take("cron_spec"), take("timezone"));
    let path = ["pools", POOL, "reactivate"];
    if enabled.as_deref() == Some("false") {
        return to.carry("auto_reactivation", "pools.modelscope.reactivate (off, the default)");
    }
    if mode.as_deref() == Some("scheduled") {
        let cron = cron.unwrap_or_else(|| "0 0 * * *".into());
        // A sixth field in front counts seconds.
        let fields: Vec<&str> = cron.split_whitespace().collect();
        let cron = fields.get(fields.len().saturating_sub(5)..).unwrap_or_default().join(" ");
        let mut schedule = serde_json::json!({ "cron": cron });
        if let Some(zone) = timezone.filter(|zone| zone != "Local") {
            schedule["timezone"] = zone.into();
        }
        to.set("auto_reactivation", &path, schedule);
    } else {
        let every = interval.filter(|text| Time::parse(text).is_ok()).unwrap_or_else(|| EVERY.into());
        to.set("auto_reactivation", &path, serde_json::json!({ "every": every }));
    }
}

/// The scalars of the file, tables joined by dots.
fn settings(text: &str) -> Settings {
    let (root, _) = DeTable::parse_recoverable(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut settings = Settings { values: Default::default() };
    collect("", root.get_ref(), &mut settings);
    settings
}

fn collect(prefix: &str, table: &DeTable<'_>, settings: &mut Settings) {
    for (name, value) in table {
        let name = format!("{prefix}{}", name.get_ref());
        let text = match value.get_ref() {
            DeValue::Table(below) => {
                collect(&format!("{name}."), below, settings);
                continue;
            }
            DeValue::String(text) => text.to_string(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Integer(number) => number.as_str().to_owned(),
            _ => continue,
        };
        settings.values.insert(name, text);
    }
}

//! Keys as text again: whatever is written here, [`super::read`] reads back.

use serde_json::{Map, Value, json};

use super::Entry;

/// What begins a formula in a spreadsheet, and the apostrophe that makes it text.
pub(super) const FORMULA: [char; 5] = ['=', '+', '-', '@', '\''];

/// How keys are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// `keys.yaml`
    Yaml,
    /// One key per line, and nothing else.
    Text,
    /// A list of objects.
    Json,
    /// A table: pool, key, name, account, weight, priority, disabled.
    Csv,
}

/// Writes the keys, whose texts the result holds: it is for whoever may see them. YAML puts keys without a pool under
/// `default`.
pub fn export(format: ExportFormat, keys: &[Entry]) -> String {
    match format {
        ExportFormat::Yaml => yaml(keys),
        ExportFormat::Text => keys.iter().flat_map(|entry| [entry.key.expose(), "\n"]).collect(),
        ExportFormat::Json => {
            let list: Vec<Value> = keys.iter().map(|entry| Value::Object(object(entry, true))).collect();
            format!("{:#}\n", Value::from(list))
        }
        ExportFormat::Csv => csv(keys),
    }
}

fn yaml(keys: &[Entry]) -> String {
    let mut pools: Vec<(&str, String)> = Vec::new();
    for entry in keys {
        let name = entry.pool.as_deref().unwrap_or("default");
        let line = yaml_entry(entry);
        // Keys come pool by pool, so the last one is nearly always the one.
        match pools.iter_mut().rev().find(|(pool, _)| *pool == name) {
            Some((_, lines)) => lines.push_str(&line),
            None => pools.push((name, line)),
        }
    }
    pools.into_iter().map(|(pool, lines)| format!("{}:\n{lines}", Value::from(pool))).collect()
}

fn yaml_entry(entry: &Entry) -> String {
    let fields = object(entry, false);
    // JSON is YAML, whatever characters a text is made of; `$` would begin a variable.
    let text = match fields.len() {
        1 => Value::from(entry.key.expose()).to_string(),
        _ => Value::Object(fields).to_string(),
    };
    format!("  - {}\n", text.replace('$', "$$"))
}

/// What differs from the defaults.
fn object(entry: &Entry, with_pool: bool) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    if let Some(pool) = entry.pool.as_deref().filter(|_| with_pool) {
        set("pool", pool.into());
    }
    set("key", entry.key.expose().into());
    if let Some(name) = &entry.name {
        set("name", name.as_str().into());
    }
    if let Some(account) = &entry.account {
        set("account", account.as_str().into());
    }
    if entry.weight != 1 {
        set("weight", entry.weight.into());
    }
    if entry.priority != 0 {
        set("priority", entry.priority.into());
    }
    if entry.disabled {
        set("disabled", true.into());
    }
    if let Some(details) = &entry.details {
        let limits = &details.limits;
        let numbers = [("rpm", limits.rpm), ("rpd", limits.rpd), ("tpm", limits.tpm), ("tpd", limits.tpd)];
        let concurrency = limits.concurrency.map(u64::from);
        let limits: Map<String, Value> = numbers
            .into_iter()
            .chain([("concurrency", concurrency)])
            .filter_map(|(name, number)| Some((name.to_owned(), number?.into())))
            .collect();
        if !limits.is_empty() {
            set("limits", limits.into());
        }
        if !details.models.is_empty() {
            set("models", json!(details.models));
        }
        if let Some(egress) = &details.egress {
            set("egress", egress.expose().into());
        }
        if !details.headers.is_empty() {
            let headers: Map<_, _> =
                details.headers.iter().map(|(name, value)| (name.clone(), value.expose().into())).collect();
            set("headers", headers.into());
        }
    }
    fields
}

fn csv(keys: &[Entry]) -> String {
    let mut table = ::csv::Writer::from_writer(Vec::new());
    let write = |table: &mut ::csv::Writer<Vec<u8>>| -> Result<(), ::csv::Error> {
        table.write_record(["pool", "key", "name", "account", "weight", "priority", "disabled"])?;
        keys.iter().try_for_each(|entry| {
            table.write_record([
                &guarded(entry.pool.as_deref().unwrap_or_default()),
                // A key is what it is: an apostrophe would make it another.
                entry.key.expose(),
                &guarded(entry.name.as_deref().unwrap_or_default()),
                &guarded(entry.account.as_deref().unwrap_or_default()),
                &entry.weight.to_string(),
                &entry.priority.to_string(),
                &entry.disabled.to_string(),
            ])
        })
    };
    // Writing to memory does not fail, and every record has the same length.
    let written = write(&mut table).ok().and_then(|()| table.into_inner().ok());
    String::from_utf8(written.unwrap_or_default()).unwrap_or_default()
}

/// Text that a spreadsheet does not take for a formula.
fn guarded(text: &str) -> String {
    if text.starts_with(FORMULA) { format!("'{text}") } else { text.to_owned() }
}

//! Keys as text again: whatever is written here, [`super::read`] reads back.

use serde_json::{Map, Value};

use super::{Entry, State};

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
        ExportFormat::Json => json(keys),
        ExportFormat::Csv => csv(keys),
    }
}

fn yaml(keys: &[Entry]) -> String {
    let mut pools: Vec<(&str, String)> = Vec::new();
    for entry in keys {
        let name = entry.pool.as_deref().unwrap_or("default");
        let fields = fields(entry);
        let line = match fields.as_slice() {
            [(_, key)] => format!("  - {}\n", flow(key)),
            fields => {
                let written: Vec<String> =
                    fields.iter().map(|(name, value)| format!("{name}: {}", flow(value))).collect();
                format!("  - {{{}}}\n", written.join(", "))
            }
        };
        // Keys come pool by pool, so the last one is nearly always the one.
        match pools.iter_mut().rev().find(|(pool, _)| *pool == name) {
            Some((_, lines)) => lines.push_str(&line),
            None => pools.push((name, line)),
        }
    }
    if pools.is_empty() {
        return "{}\n".to_owned();
    }
    pools.into_iter().map(|(pool, lines)| format!("{}:\n{lines}", scalar(pool))).collect()
}

fn json(keys: &[Entry]) -> String {
    let object = |entry: &Entry| -> Map<String, Value> {
        let pool = entry.pool.as_deref().map(|pool| ("pool", pool.into()));
        pool.into_iter().chain(fields(entry)).map(|(name, value)| (name.to_owned(), value)).collect()
    };
    let list: Vec<Value> = keys.iter().map(|entry| object(entry).into()).collect();
    format!("{:#}\n", Value::from(list))
}

/// The key, and what of it differs from the defaults.
fn fields(entry: &Entry) -> Vec<(&'static str, Value)> {
    let mut fields: Vec<(&'static str, Value)> = vec![("key", entry.key.expose().into())];
    fields.extend(entry.name.as_deref().map(|name| ("name", name.into())));
    fields.extend(entry.account.as_deref().map(|account| ("account", account.into())));
    fields.extend((entry.weight != 1).then(|| ("weight", entry.weight.into())));
    fields.extend((entry.priority != 0).then(|| ("priority", entry.priority.into())));
    fields.extend(entry.is_off().then(|| ("disabled", true.into())));
    if let Some(details) = &entry.details {
        let limits = serde_json::to_value(details.limits).unwrap_or_default();
        let limits = limits.as_object().cloned().unwrap_or_default();
        let limits: Map<String, Value> = limits.into_iter().filter(|(_, number)| !number.is_null()).collect();
        let headers = details.headers.iter().map(|(name, value)| (name.clone(), value.expose().into()));
        let headers: Map<String, Value> = headers.collect();
        fields.extend((!limits.is_empty()).then(|| ("limits", limits.into())));
        fields.extend((!details.models.is_empty()).then(|| ("models", details.models.clone().into())));
        fields.extend(details.egress.as_ref().map(|egress| ("egress", egress.expose().into())));
        fields.extend((!headers.is_empty()).then(|| ("headers", headers.into())));
    }
    fields
}

impl Entry {
    /// Whether it is not to be used.
    fn is_off(&self) -> bool {
        self.disabled || self.state == Some(State::Disabled)
    }

    /// What an entry of `keys.yaml` says of it beside the key.
    pub fn details(&self) -> Map<String, Value> {
        fields(self).into_iter().skip(1).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// A value as YAML on one line.
pub(crate) fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{}: {}", scalar(name), flow(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Text as YAML: bare where that can mean nothing else, else as JSON, which is YAML. `$` would begin a variable.
pub(crate) fn scalar(text: &str) -> String {
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
    let means_more = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if is_word && !means_more.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        let json = Value::from(text.replace('$', "$$")).to_string();
        if json.contains(is_special) { escaped(&json) } else { json }
    }
}

/// What JSON leaves as it is, but readers of YAML 1.1, which are many, refuse or take for the end of a line.
fn is_special(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn escaped(json: &str) -> String {
    let escape = |c: char| if is_special(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    json.chars().map(escape).collect()
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
pub(crate) fn guarded(text: &str) -> String {
    if text.starts_with(FORMULA) { format!("'{text}") } else { text.to_owned() }
}

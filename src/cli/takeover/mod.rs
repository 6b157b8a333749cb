//! `keyweir init --from`: an older balancer's files become a configuration.
//!
//! One file for each balancer; what they share is here. Everything works on texts: only [`Folder`] reads files.
//! Invariant: what is told of it holds names of settings, never a token or a key.

mod draft;
mod gpt_load;
mod modelscope_balance;
mod modelscope_balancer;
mod openai_balance;
mod siliconflow_lb;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::config::Secret;
use crate::config::formats::{self, Entry, Format, State};
use draft::Draft;

/// What became of the old files.
pub(super) struct Takeover {
    /// The older balancer's name.
    balancer: &'static str,
    /// The files read.
    files: Vec<String>,
    draft: Draft,
    keys: Vec<Entry>,
    /// An old setting and where it went.
    carried: Vec<(String, String)>,
    /// An old setting that has no equivalent, and why.
    lost: Vec<(String, String)>,
    /// What is different from now on.
    changed: Vec<String>,
    /// What could not be read as a key.
    problems: Vec<String>,
    /// The token the first client uses.
    client: Option<Secret>,
}

/// Reads an older balancer's files: its folder, or the one of its files that names it.
///
/// # Errors
/// No older balancer's files are there, or one cannot be read.
pub(super) fn read(old: &Path) -> anyhow::Result<Takeover> {
    let mut folder = Folder::open(old)?;
    if let Some(text) = folder.text("config.toml")? {
        return modelscope_balancer::convert(&text, folder);
    }
    if let Some(text) = folder.text("config.json")? {
        return modelscope_balance::convert(&text, folder);
    }
    if let Some(text) = folder.text(".env")? {
        let settings = Settings::of_env(&text);
        let has = |names: &[&str]| names.iter().any(|name| settings.values.contains_key(*name));
        if has(&["PROVIDERS_CONFIG", "ALLOWED_TOKENS", "API_KEYS"]) {
            return openai_balance::convert(settings, &text, folder);
        }
        if has(&["LB_API_KEY", "LB_ADMIN_KEY", "SILICONFLOW_BASE_URL", "SILICONFLOW_API_KEY_1"]) {
            return siliconflow_lb::convert(settings, &text, folder);
        }
        if has(&["OPENAI_BASE_URL", "KEYS_FILE", "BLACKLIST_THRESHOLD", "START_INDEX", "AUTH_KEY"]) {
            return gpt_load::convert(settings, folder);
        }
    }
    bail!(
        "{} holds no older balancer's files (config.toml, config.json or .env); for keys alone use --keys",
        old.display()
    )
}

impl Takeover {
    fn new(balancer: &'static str, folder: &Folder) -> Self {
        Self {
            balancer,
            files: folder.read.clone(),
            draft: Draft::default(),
            keys: Vec::new(),
            carried: Vec::new(),
            lost: Vec::new(),
            changed: Vec::new(),
            problems: Vec::new(),
            client: None,
        }
    }

    /// Notes where a setting went.
    fn carry(&mut self, old: &str, new: impl Into<String>) {
        self.carried.push((old.to_owned(), new.into()));
    }

    /// Carries a setting over, unless it says what holds anyway.
    fn set(&mut self, old: &str, path: &[&str], value: impl Into<serde_json::Value>) {
        let value = value.into();
        self.carry(old, path.join("."));
        self.draft.set(path, value);
    }

    fn lose(&mut self, old: &str, why: &str) {
        self.lost.push((old.to_owned(), why.to_owned()));
    }

    fn change(&mut self, what: impl Into<String>) {
        self.changed.push(what.into());
    }

    /// Takes the keys of one of the old files into a pool; those it does not name a pool for.
    fn take_keys(&mut self, old: &str, file: &str, text: &str, format: Format, pool: &str) {
        let reading = formats::read_as(text, format, &std::collections::HashMap::new());
        self.problems.extend(reading.bad.iter().map(|bad| format!("{file}: {bad}")));
        match reading.duplicates.len() {
            0 => {}
            1 => self.problems.push(format!("{file}: 1 duplicate dropped")),
            count => self.problems.push(format!("{file}: {count} duplicates dropped")),
        }
        self.carry(old, format!("{} in keys.yaml", keys(reading.entries.len())));
        for mut entry in reading.entries {
            entry.pool = Some(entry.pool.unwrap_or_else(|| pool.into()));
            self.add_key(entry);
        }
    }

    fn add_key(&mut self, entry: Entry) {
        let same = |other: &&mut Entry| other.pool == entry.pool && other.key.expose() == entry.key.expose();
        let is_off = entry.disabled || matches!(entry.state, Some(State::Disabled | State::Invalid));
        match self.keys.iter_mut().find(same) {
            Some(first) => first.disabled |= is_off,
            None => self.keys.push(Entry { disabled: is_off, ..entry }),
        }
    }

    /// The proxy's listener, and the others out of its way.
    fn listen(&mut self, old: &str, host: &str, port: u16) {
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
        self.set(old, &["server", "proxy", "listen"], vec![format!("{host}:{port}")]);
        let mut free = (8081..).filter(|other| *other != port);
        for service in ["admin", "metrics"] {
            let port = free.next().unwrap_or(8081);
            self.draft.set(&["server", service, "listen"], format!("127.0.0.1:{port}").into());
        }
        self.change(
            "the console and the admin API have a port of their own, on this machine only; so have the metrics",
        );
    }

    /// Clients' tokens and the admin token; a client is no administrator here.
    fn tokens(&mut self, clients: &[(String, String)], admin: Option<(&str, &str)>) -> anyhow::Result<()> {
        let mut list: Vec<serde_json::Value> = Vec::new();
        let mut texts: Vec<&str> = Vec::new();
        for (old, token) in clients {
            if !is_token(token) || texts.contains(&token.as_str()) {
                self.lose(old, "empty, written twice, or not visible ASCII without spaces");
                continue;
            }
            let name = format!("client-{}", list.len() + 1);
            self.carry(old, format!("clients.tokens ({name})"));
            list.push(serde_json::json!({"name": name, "token": token}));
            texts.push(token);
        }
        let kept = admin.filter(|(_, token)| is_token(token) && !texts.contains(token));
        match (kept, admin) {
            (Some((old, token)), _) => self.set(old, &["server", "admin", "token"], token),
            (None, other) => {
                if let Some((old, _)) = other.filter(|(_, token)| !token.is_empty()) {
                    self.lose(old, "was a client's token too, or is none; a new one is in keyweir.yaml");
                }
                let fresh = Secret::generate("kw-").context("the operating system gives no random numbers")?;
                self.draft.set(&["server", "admin", "token"], fresh.expose().into());
            }
        }
        self.client = texts.first().map(|token| Secret::new((*token).to_owned()));
        if !list.is_empty() {
            self.draft.set(&["clients", "tokens"], list.into());
        }
        Ok(())
    }

    /// A balancer that asked nobody for a token goes on so, for this machine alone.
    fn anonymous(&mut self) {
        self.draft.set(&["clients", "anonymous"], true.into());
        self.change(
            "nobody was asked for a token, on every interface: now on 127.0.0.1 only; to serve others, add \
             clients.tokens and listen on 0.0.0.0",
        );
    }

    /// `keyweir.yaml`
    pub(super) fn config(&self) -> String {
        self.draft.to_yaml(self.balancer)
    }

    /// `keys.yaml`
    pub(super) fn keys(&self) -> String {
        let keys = formats::export(formats::ExportFormat::Yaml, &self.keys);
        format!("# The keys, by pool. Read again by SIGHUP and when this file changes.\n{keys}")
    }

    /// The token a client was given before, if any.
    pub(super) fn client_token(&self) -> Option<&str> {
        self.client.as_ref().map(Secret::expose)
    }

    /// What was carried over, what was not, and what is different now.
    pub(super) fn report(&self) -> String {
        let mut text = format!("{}: read {}.\n", self.balancer, self.files.join(", "));
        let width = self.carried.iter().chain(&self.lost).map(|(old, _)| old.chars().count()).max().unwrap_or(0);
        let rows = |text: &mut String, title: &str, rows: &[(String, String)]| {
            let lines: String = rows.iter().map(|(old, new)| format!("  {old:width$}  {new}\n")).collect();
            if !lines.is_empty() {
                text.push_str(&format!("\n{title}:\n{lines}"));
            }
        };
        rows(&mut text, "Carried over", &self.carried);
        rows(&mut text, "No equivalent", &self.lost);
        let later: Vec<String> = self.draft.later().map(|path| format!("{path}: not served by this version")).collect();
        let off = self.keys.iter().filter(|entry| entry.disabled).count();
        let states = (off > 0)
            .then(|| format!("{} disabled there: disabled: true in keys.yaml, until you remove it", keys(off)));
        for (title, lines) in [
            ("Different now", &self.changed),
            ("Written as comments", &later),
            ("About the keys", &states.into_iter().chain(self.problems.iter().cloned()).collect()),
        ] {
            if !lines.is_empty() {
                // Writing to a String cannot fail.
                let _written = writeln!(text, "\n{title}:\n  {}", lines.join("\n  "));
            }
        }
        text.push_str("\nEverything about it: docs/migrating.md\n\n");
        text
    }
}

fn keys(count: usize) -> String {
    if count == 1 { "1 key".into() } else { format!("{count} keys") }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A log level as Python and Go programs call it.
fn level(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "debug" => "debug",
        "info" => "info",
        "warn" | "warning" => "warn",
        "error" | "critical" | "fatal" => "error",
        _ => return None,
    })
}

/// A pool's name made of another program's word.
fn pool_name(word: &str) -> String {
    let plain: String =
        word.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    match plain.trim_matches('-') {
        "" => "main".into(),
        name => name.to_owned(),
    }
}

/// The old balancer's folder.
struct Folder {
    path: PathBuf,
    /// The one file that was named, which stands for the well-known name it has.
    read: Vec<String>,
}

impl Folder {
    fn open(old: &Path) -> anyhow::Result<Self> {
        let found = std::fs::metadata(old).with_context(|| format!("cannot read {}", old.display()))?;
        let path = if found.is_dir() { old } else { old.parent().unwrap_or(Path::new("")) };
        Ok(Self { path: path.to_owned(), read: Vec::new() })
    }

    /// The text of a file in it; `None` = there is no such file.
    fn text(&mut self, name: &str) -> anyhow::Result<Option<String>> {
        let path = self.path.join(name);
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        self.read.push(name.to_owned());
        Ok(Some(text))
    }
}

/// Old settings by name, of which those nobody took are told to be lost.
struct Settings {
    values: BTreeMap<String, String>,
}

impl Settings {
    fn of_env(text: &str) -> Self {
        let (variables, _) = formats::variables(text);
        Self { values: variables.into_iter().map(|variable| (variable.name, variable.value)).collect() }
    }

    /// Takes a setting that is there and not empty.
    fn take(&mut self, name: &str) -> Option<String> {
        self.values.remove(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn number(&mut self, name: &str) -> Option<u32> {
        self.take(name)?.parse().ok()
    }

    fn flag(&mut self, name: &str) -> Option<bool> {
        let value = self.take(name)?.to_ascii_lowercase();
        Some(matches!(value.as_str(), "true" | "1" | "yes" | "on"))
    }

    /// A list in JSON or separated by commas.
    fn list(&mut self, name: &str) -> Vec<String> {
        let Some(value) = self.take(name) else { return Vec::new() };
        serde_json::from_str(&value).unwrap_or_else(|_| {
            let words = value.trim_matches(['[', ']']).split(',').map(|word| word.trim().trim_matches(['"', '\'']));
            words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
        })
    }

    /// Whole seconds, as a duration.
    fn seconds(&mut self, name: &str) -> Option<String> {
        self.number(name).filter(|seconds| *seconds > 0).map(|seconds| format!("{seconds}s"))
    }

    /// The names nobody took.
    fn rest(&self) -> impl Iterator<Item = &String> {
        self.values.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests;

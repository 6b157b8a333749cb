//! `keyweir init`: a first configuration that works.
//!
//! Invariant: nothing is ever overwritten, and no moment exists at which a file with secrets is readable by others or
//! half written.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write, stderr, stdout};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::InitArgs;
use super::takeover::{self, Takeover};
use crate::config::{self, Address, Listen, Process};
use crate::verdict::pack::{self, Pack};

pub(crate) fn execute(args: &InitArgs) -> anyhow::Result<ExitCode> {
    if let Some(old) = &args.from {
        return match takeover::read(old) {
            Ok(taken) => take_over(&taken, &args.dir),
            Err(e) => {
                writeln!(stderr(), "keyweir: {e:#}")?;
                Ok(ExitCode::from(2))
            }
        };
    }
    let name = args.provider.as_deref().unwrap_or("generic");
    let Some(provider) = pack::find(name) else {
        let known: Vec<&str> = pack::PACKS.iter().map(|pack| pack.name.as_str()).collect();
        writeln!(stderr(), "keyweir: unknown provider {name}; one of {}", known.join(", "))?;
        return Ok(ExitCode::from(2));
    };
    let (client, admin) = (fresh_token()?, fresh_token()?);
    let keys = match &args.keys {
        Some(path) => taken_over(path, provider)?,
        None => keys_template(provider),
    };
    let files = Files::write(&args.dir, &config_text(provider, &client, &admin), &keys)?;
    files.next_steps(Some(&client))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes what became of an older balancer's files, and says what did.
fn take_over(taken: &Takeover, dir: &Path) -> anyhow::Result<ExitCode> {
    let files = Files::write(dir, &taken.config(), &taken.keys())?;
    stdout().write_all(taken.report().as_bytes())?;
    files.next_steps(taken.client_token())?;
    Ok(ExitCode::SUCCESS)
}

/// The files written.
struct Files {
    config: PathBuf,
    keys: PathBuf,
}

impl Files {
    /// Writes both files, or neither if one is there already.
    fn write(dir: &Path, config_text: &str, keys_text: &str) -> anyhow::Result<Self> {
        let files = Self { config: dir.join("keyweir.yaml"), keys: dir.join("keys.yaml") };
        for path in [&files.config, &files.keys] {
            if path.symlink_metadata().is_ok() {
                bail!("{} exists already; remove it, or choose another --dir", path.display());
            }
        }
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        write_new(&files.keys, keys_text)?;
        write_new(&files.config, config_text)?;
        Ok(files)
    }

    fn next_steps(&self, client: Option<&str>) -> anyhow::Result<()> {
        let (config, keys) = (self.config.display(), self.keys.display());
        let loaded = config::load(&self.config).with_context(|| format!("{config} and {keys} need your hand"))?;
        let server = &loaded.config.server;
        let proxy = server.proxy.listen.first().map(url).unwrap_or_default();
        let pool = loaded.config.default_pool.and_then(|index| loaded.config.pools.get(index));
        let path = if pool.is_some() {
            ""
        } else {
            loaded.config.pools.first().and_then(|pool| pool.paths.first()).map_or("", String::as_str)
        };
        let authorization = client.map(|token| format!(" -H \"Authorization: Bearer {token}\"")).unwrap_or_default();
        let mut out = stdout();
        writeln!(out, "Wrote {config} and {keys} (readable by you alone).\n")?;
        writeln!(out, "Next:")?;
        if loaded.keys.iter().all(Vec::is_empty) {
            writeln!(out, "  1. put your provider's keys into {keys}")?;
        } else {
            writeln!(out, "  1. look over {keys}")?;
        }
        writeln!(out, "  2. keyweir check -c {config}")?;
        writeln!(out, "  3. keyweir run -c {config}")?;
        writeln!(out, "  4. curl {proxy}{path}/v1/models{authorization}\n")?;
        if let Some(client) = client {
            writeln!(out, "Client token: {client}")?;
        }
        writeln!(out, "The admin token for {} is in {config}.", url(&server.admin.listen))?;
        Ok(())
    }
}

/// 192 random bits in a text that double-clicks as one word.
fn fresh_token() -> anyhow::Result<String> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).context("the operating system gives no random numbers")?;
    Ok(format!("kw-{}", URL_SAFE_NO_PAD.encode(bytes)))
}

fn config_text(provider: &Pack, client: &str, admin: &str) -> String {
    let Pack { name, base_url, .. } = provider;
    let target = match base_url {
        Some(url) => format!("    # targets: [{{url: \"{url}\"}}]   # the default\n"),
        None => "    targets: [{url: \"http://127.0.0.1:8000/v1\"}]   # the provider's base URL\n".into(),
    };
    format!(
        "# keyweir's configuration. Every field and its default: docs/configuration.md, or `keyweir check --print`.\n\
         # Secrets can also be written \"${{VARIABLE}}\" or {{file: PATH}}.\n\
         server:\n\
         \x20 proxy: {{listen: [\"127.0.0.1:8080\"]}}     # clients send their requests here\n\
         \x20 admin: {{listen: \"127.0.0.1:8081\", token: \"{admin}\"}}\n\
         \x20 metrics: {{listen: \"127.0.0.1:8082\"}}\n\
         clients:\n\
         \x20 tokens:\n\
         \x20   - {{name: default, token: \"{client}\"}}   # one per client\n\
         pools:\n\
         \x20 {name}:\n\
         \x20   provider: {name}\n\
         {target}\
         keys_file: keys.yaml\n"
    )
}

fn keys_template(provider: &Pack) -> String {
    format!(
        "# The keys, by pool. Read again by SIGHUP and when this file changes.\n\
         {}:\n\
         #  - sk-…                                 a key alone\n\
         #  - {{key: \"${{MY_KEY}}\", name: alice}}     with a name for logs and metrics\n",
        provider.name
    )
}

/// The keys of another file, in keyweir's form. Read by the same code that will read the result.
fn taken_over(path: &Path, provider: &Pack) -> anyhow::Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let absolute = path.canonicalize().with_context(|| format!("cannot read {}", path.display()))?;
    let (name, file) = (provider.name.as_str(), serde_json::Value::from(absolute.display().to_string()));
    let only = format!(
        "pools: {{{name}: {{provider: {name}, targets: [\"http://127.0.0.1:8000/v1\"]}}}}\n\
         keys_file: [{{path: {file}, pool: {name}}}]\n"
    );
    let loaded = config::parse(&only, Path::new("keyweir.yaml"), &Process)?;
    for warning in &loaded.warnings {
        writeln!(stderr(), "{warning}")?;
    }
    let keys = loaded.keys.first().map(Vec::as_slice).unwrap_or_default();
    if keys.is_empty() {
        bail!("{} holds no key", path.display());
    }
    if is_pool_mapping(&text, name) {
        return Ok(text);
    }
    // JSON strings are YAML, whatever characters a key is made of; `$` would begin a variable.
    let quote = |key: &str| serde_json::Value::from(key.replace('$', "$$")).to_string();
    let lines: String = keys.iter().map(|key| format!("  - {}\n", quote(key.key.expose()))).collect();
    Ok(format!("# The keys, by pool. Read again by SIGHUP and when this file changes.\n{name}:\n{lines}"))
}

/// Whether the text is a keys.yaml already, whose names, accounts and comments are worth keeping.
fn is_pool_mapping(text: &str, pool: &str) -> bool {
    text.lines().any(|line| line.strip_prefix(pool).is_some_and(|rest| rest.trim_start().starts_with(':')))
}

/// Writes a file that must not exist yet, readable by its owner alone, all at once.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .with_context(|| format!("cannot write {}", draft.display()))?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    // A hard link, unlike a rename, fails where a file has appeared meanwhile.
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft).with_context(|| format!("cannot remove {}", draft.display()))?;
    match linked {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => bail!("{} exists already", path.display()),
        other => other.with_context(|| format!("cannot write {}", path.display())),
    }
}

/// Where this machine reaches a listener.
fn url(listen: &Listen) -> String {
    match &listen.address {
        Address::Tcp(address) if address.ip().is_unspecified() => format!("http://127.0.0.1:{}", address.port()),
        Address::Tcp(address) => format!("http://{address}"),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}

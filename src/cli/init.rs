//! `keyweir init`: a first configuration that works.
//!
//! Invariant: nothing is ever overwritten, and no moment exists at which a file with secrets is readable by others or
//! half written.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write, stderr, stdout};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::InitArgs;
use crate::config::{self, Loaded, Process};
use crate::verdict::pack::{self, Pack};

pub(crate) fn execute(args: &InitArgs) -> anyhow::Result<ExitCode> {
    if args.from.is_some() {
        writeln!(stderr(), "keyweir: --from is not built yet; use --provider and --keys")?;
        return Ok(ExitCode::from(2));
    }
    let name = args.provider.as_deref().unwrap_or("generic");
    let Some(provider) = pack::find(name) else {
        let known: Vec<&str> = pack::PACKS.iter().map(|pack| pack.name).collect();
        writeln!(stderr(), "keyweir: unknown provider {name}; one of {}", known.join(", "))?;
        return Ok(ExitCode::from(2));
    };
    let (client, admin) = (fresh_token()?, fresh_token()?);
    let keys = match &args.keys {
        Some(path) => taken_over(path, provider)?,
        None => keys_template(provider),
    };
    let (config_path, keys_path) = (args.dir.join("keyweir.yaml"), args.dir.join("keys.yaml"));
    for path in [&config_path, &keys_path] {
        if path.symlink_metadata().is_ok() {
            bail!("{} exists already; remove it, or choose another --dir", path.display());
        }
    }
    fs::create_dir_all(&args.dir).with_context(|| format!("cannot create {}", args.dir.display()))?;
    write_new(&keys_path, &keys)?;
    write_new(&config_path, &config_text(provider, &client, &admin))?;
    let loaded = config::load(&config_path)?;
    next_steps(&config_path, &keys_path, &client, &loaded)?;
    Ok(ExitCode::SUCCESS)
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
    let (name, file) = (provider.name, serde_json::Value::from(absolute.display().to_string()));
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

fn next_steps(config: &Path, keys_path: &Path, client: &str, loaded: &Loaded) -> anyhow::Result<()> {
    let (config, keys) = (config.display(), keys_path.display());
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
    writeln!(out, "  4. curl http://127.0.0.1:8080/v1/models -H \"Authorization: Bearer {client}\"\n")?;
    writeln!(out, "Client token: {client}")?;
    writeln!(out, "The admin token for http://127.0.0.1:8081 is in {config}.")?;
    Ok(())
}

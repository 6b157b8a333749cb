//! `keyweir keys list|add|import|export|…`: the keys of a running server, through its admin API.

use std::fs::OpenOptions;
use std::io::{Read, Write, stdin, stdout};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::server::Server;
use super::table::{aligned, duration};
use super::{Format, ServerArgs, keys_test};

/// Which pool of which server.
#[derive(Debug, Args)]
pub(crate) struct PoolArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The pool; may be left out where there is a default one
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
}

/// What is done to the keys of a running server.
#[derive(Debug, Subcommand)]
pub(crate) enum ServerKeys {
    /// Show the keys of a pool
    List {
        #[command(flatten)]
        at: PoolArgs,
        /// Only keys in this state: ready, cooling or disabled
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// Only keys with this in their name
        #[arg(short, long, value_name = "TEXT")]
        query: Option<String>,
        /// How the answer is printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Add keys: those named, or those on standard input
    Add {
        #[command(flatten)]
        at: PoolArgs,
        /// The keys; on standard input they are in no process list and no shell history
        #[arg(value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Add the keys of a file, in any format
    Import {
        #[command(flatten)]
        at: PoolArgs,
        /// The file; - is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Write all keys of a pool, with their texts
    Export {
        #[command(flatten)]
        at: PoolArgs,
        /// How
        #[arg(long, value_enum, default_value_t = Exported::Yaml)]
        format: Exported,
        /// The file to write (readable by you alone); standard output if none is named
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Use keys again, whatever they rest or were disabled for
    Enable(Chosen),
    /// Use keys no more until they are enabled
    Disable(Chosen),
    /// Forget what rules did to keys; those that an operator disabled stay so
    Reset(Chosen),
    /// Ask the provider whether keys work, and act on what it says
    Test {
        #[command(flatten)]
        chosen: Chosen,
        /// How the answer is printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Remove keys that were added at run time; they can be restored for 7 days
    Remove(Chosen),
    /// Bring removed keys back
    Restore {
        #[command(flatten)]
        server: ServerArgs,
        /// The keys' ids
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
    /// Seal everything in the store with a new master key
    RotateMaster {
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Keys of a pool.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    #[command(flatten)]
    at: PoolArgs,
    /// The keys' names or ids
    #[arg(value_name = "KEY", required_unless_present = "all", conflicts_with = "all")]
    keys: Vec<String>,
    /// All keys of the pool
    #[arg(long)]
    all: bool,
}

/// How keys are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Exported {
    /// As in keys.yaml
    Yaml,
    /// One key per line
    Text,
    /// A list of objects
    Json,
    /// A table
    Csv,
}

pub(crate) fn execute(command: ServerKeys) -> anyhow::Result<ExitCode> {
    match command {
        ServerKeys::List { at, state, query, format } => list(&at, state.as_deref(), query.as_deref(), format)?,
        ServerKeys::Add { at, keys } if keys.is_empty() => import(&at, &read(Path::new("-"))?)?,
        ServerKeys::Add { at, keys } => import(&at, &keys.join("\n"))?,
        ServerKeys::Import { at, file } => import(&at, &read(&file)?)?,
        ServerKeys::Export { at, format, output } => export(&at, format, output.as_deref())?,
        ServerKeys::Enable(chosen) => return act(&chosen, "enable"),
        ServerKeys::Disable(chosen) => return act(&chosen, "disable"),
        ServerKeys::Reset(chosen) => return act(&chosen, "reset"),
        ServerKeys::Test { chosen, format } => return keys_test::execute(&chosen, format),
        ServerKeys::Remove(chosen) => return act(&chosen, "remove"),
        ServerKeys::Restore { server, ids } => restore(&Server::new(&server)?, &ids)?,
        ServerKeys::RotateMaster { server } => {
            Server::new(&server)?.send("POST", "master-key/rotate", &json!({}))?;
            writeln!(stdout(), "Everything in the store is sealed with a new master key.")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The server, and the pool's name.
fn open(at: &PoolArgs) -> anyhow::Result<(Server, String)> {
    let server = Server::new(&at.server)?;
    let pool = match &at.pool {
        Some(pool) => pool.clone(),
        None => {
            let pools = server.get_all("pools", &[])?;
            let default = pools["items"].as_array().into_iter().flatten().find(|pool| pool["default"] == true);
            let name = default.and_then(|pool| pool["name"].as_str());
            name.context("there is no default pool: name one with --pool")?.to_owned()
        }
    };
    Ok((server, pool))
}

fn list(at: &PoolArgs, state: Option<&str>, text: Option<&str>, format: Format) -> anyhow::Result<()> {
    let (server, pool) = open(at)?;
    let query: Vec<_> =
        [("state", state), ("q", text)].into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let answer = server.get_all(&format!("pools/{pool}/keys"), &query)?;
    if format == Format::Json {
        writeln!(stdout(), "{answer:#}")?;
        return Ok(());
    }
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let rows = answer["items"].as_array().into_iter().flatten().map(|key| {
        let origin = if key["provisioned"] == true { "file" } else { "added" };
        let back = key["back_in"].as_f64().map_or_else(|| "-".into(), duration);
        [&key["name"], &key["id"], &key["state"], &key["reason"]].map(word).into_iter().chain([back, origin.into()])
    });
    let rows = rows.filter_map(|cells| cells.collect::<Vec<_>>().try_into().ok());
    write!(stdout(), "{}", aligned(["KEY", "ID", "STATE", "REASON", "BACK IN", "FROM"], rows))?;
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        stdin().read_to_string(&mut text).context("standard input can't be read")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("{}: can't be read", file.display()))
}

fn import(at: &PoolArgs, text: &str) -> anyhow::Result<()> {
    let (server, pool) = open(at)?;
    let report = server.send_text(&format!("pools/{pool}/keys/import"), text)?;
    let count = |name: &str| report[name].as_u64().unwrap_or(0);
    for bad in report["bad"].as_array().into_iter().flatten() {
        writeln!(stdout(), "line {}: {}", bad["line"], bad["error"].as_str().unwrap_or_default())?;
    }
    let (added, duplicates, failed) = (count("added"), count("duplicates"), count("failed"));
    writeln!(stdout(), "{added} added, {duplicates} there already, {failed} not read")?;
    if added == 0 && failed > 0 {
        bail!("no key was added");
    }
    Ok(())
}

fn export(at: &PoolArgs, format: Exported, output: Option<&Path>) -> anyhow::Result<()> {
    let (server, pool) = open(at)?;
    let format = match format {
        Exported::Yaml => "yaml",
        Exported::Text => "text",
        Exported::Json => "json",
        Exported::Csv => "csv",
    };
    let text = server.get_text(&format!("pools/{pool}/keys/export"), &[("format", format)])?;
    match output {
        None => stdout().write_all(text.as_bytes())?,
        Some(path) => {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            let mut file = file.with_context(|| format!("{}: can't be written", path.display()))?;
            file.write_all(text.as_bytes())?;
        }
    }
    Ok(())
}

fn act(chosen: &Chosen, action: &str) -> anyhow::Result<ExitCode> {
    let (server, path, body) = bulk(chosen, action)?;
    let answer = server.send("POST", &path, &body)?;
    let (changed, matched) = (answer["changed"].as_u64().unwrap_or(0), answer["matched"].as_u64().unwrap_or(0));
    writeln!(stdout(), "{changed} of {matched} keys: {action} done")?;
    for failed in answer["failed"].as_array().into_iter().flatten() {
        let text = |name: &str| failed[name].as_str().unwrap_or_default();
        writeln!(stdout(), "{}: {}", text("id"), text("error"))?;
    }
    Ok(if changed == matched { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where something is done to the chosen keys, and how it is said.
pub(super) fn bulk(chosen: &Chosen, action: &str) -> anyhow::Result<(Server, String, Value)> {
    let (server, pool) = open(&chosen.at)?;
    let body = if chosen.all {
        json!({"action": action, "filter": {}})
    } else {
        json!({"action": action, "ids": ids(&server, &pool, &chosen.keys)?})
    };
    Ok((server, format!("pools/{pool}/keys/bulk"), body))
}

/// Names become ids.
fn ids(server: &Server, pool: &str, keys: &[String]) -> anyhow::Result<Vec<String>> {
    let known = server.get_all(&format!("pools/{pool}/keys"), &[])?;
    let items = known["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let id = |wanted: &String| {
        let found = items.iter().find(|key| key["name"] == wanted.as_str() || key["id"] == wanted.as_str());
        let id = found.and_then(|key| key["id"].as_str()).map(str::to_owned);
        id.with_context(|| format!("pool {pool} has no key with the name or id {wanted:?}"))
    };
    keys.iter().map(id).collect()
}

fn restore(server: &Server, ids: &[String]) -> anyhow::Result<()> {
    for id in ids {
        let key = server.send("POST", &format!("keys/{id}/restore"), &json!({}))?;
        writeln!(stdout(), "{} is back", key["name"].as_str().unwrap_or(id))?;
    }
    Ok(())
}

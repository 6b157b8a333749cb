//! `keyweir token …`: client tokens of a running server, and the way back in for an operator who lost the admin token.

use std::io::{Write, stdout};

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::server::Server;
use super::table::aligned;
use super::{ConfigArg, Format, ServerArgs};
use crate::config::{self, Secret};
use crate::store::{Audit, Store};

/// `keyweir token`
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Show the client tokens
    List {
        #[command(flatten)]
        server: ServerArgs,
        /// How the answer is printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Make a client token; its text is printed, once
    Create(CreateArgs),
    /// Revoke a client token
    Revoke {
        #[command(flatten)]
        server: ServerArgs,
        /// Its name or id
        #[arg(value_name = "TOKEN")]
        token: String,
    },
    /// Make a new admin token, in the store itself: for whoever lost the one there was
    ResetAdmin {
        #[command(flatten)]
        file: ConfigArg,
    },
}

/// `keyweir token create`
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Shown in logs and metrics; unique
    #[arg(value_name = "NAME")]
    name: String,
    /// A pool it may use; all if none is named
    #[arg(long = "pool", value_name = "NAME")]
    pools: Vec<String>,
    /// Models it may use (a glob); all if none is named
    #[arg(long = "model", value_name = "GLOB")]
    models: Vec<String>,
    /// Requests within any minute
    #[arg(long, value_name = "N")]
    rpm: Option<u64>,
    /// Tokens of text within any minute
    #[arg(long, value_name = "N")]
    tpm: Option<u64>,
    /// Requests per day
    #[arg(long, value_name = "N")]
    rpd: Option<u64>,
    /// Requests at once
    #[arg(long, value_name = "N")]
    concurrency: Option<u64>,
    /// How much it may spend, in the currency of the pools' prices: e.g. 5/day, or 100/month
    #[arg(long, value_name = "AMOUNT[/PERIOD]", value_parser = budget)]
    budget: Option<Value>,
    /// Day or moment from which it is refused
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
}

pub(crate) fn execute(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::List { server, format } => list(&Server::new(&server)?, format),
        TokenCommand::Create(args) => create(&args),
        TokenCommand::Revoke { server, token } => revoke(&Server::new(&server)?, &token),
        TokenCommand::ResetAdmin { file } => reset_admin(&file),
    }
}

fn list(server: &Server, format: Format) -> anyhow::Result<()> {
    let answer = server.get_all("tokens", &[])?;
    if format == Format::Json {
        writeln!(stdout(), "{answer:#}")?;
        return Ok(());
    }
    let word = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        value => value.to_string(),
    };
    let rows = answer["items"].as_array().into_iter().flatten().map(|token| {
        let [name, id, requests, refused] = ["name", "id", "requests", "refused"].map(|field| word(&token[field]));
        [name, id, requests, refused, spent(token), word(&token["expires"]), word(&token["last_used"])]
    });
    write!(stdout(), "{}", aligned(["NAME", "ID", "REQUESTS", "REFUSED", "SPENT", "EXPIRES", "LAST USED"], rows))?;
    Ok(())
}

/// What a token spent of its budget, or this month.
fn spent(token: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let per = token["budget"]["per"].as_str().unwrap_or("month");
    let spent = number(&token["spent"][per]);
    match token["budget"]["amount"].as_f64() {
        Some(amount) => format!("{spent:.4} of {amount} a {per}"),
        None if spent > 0.0 => format!("{spent:.4} this month"),
        None => "-".into(),
    }
}

fn create(args: &CreateArgs) -> anyhow::Result<()> {
    let mut body = Map::new();
    body.insert("name".into(), args.name.clone().into());
    for (name, list) in [("pools", &args.pools), ("models", &args.models)] {
        if !list.is_empty() {
            body.insert(name.into(), json!(list));
        }
    }
    for (name, limit) in [("rpm", args.rpm), ("tpm", args.tpm), ("rpd", args.rpd), ("concurrency", args.concurrency)] {
        limit.map(|limit| body.insert(name.into(), limit.into()));
    }
    args.budget.clone().map(|budget| body.insert("budget".into(), budget));
    args.expires.clone().map(|expires| body.insert("expires".into(), expires.into()));
    let token = Server::new(&args.server)?.send("POST", "tokens", &Value::Object(body))?;
    writeln!(stdout(), "{}", token["token"].as_str().unwrap_or_default())?;
    Ok(())
}

/// `5`, `5/day`, `5/month`: whether that makes sense the server says.
fn budget(text: &str) -> Result<Value, String> {
    let (amount, per) = text.split_once('/').map_or((text, None), |(amount, per)| (amount, Some(per)));
    let amount: f64 = amount.parse().map_err(|_| "write an amount, e.g. 5, 5/day or 100/month".to_owned())?;
    Ok(match per {
        None => json!(amount),
        Some(per) => json!({"amount": amount, "per": per}),
    })
}

fn revoke(server: &Server, wanted: &str) -> anyhow::Result<()> {
    let known = server.get_all("tokens", &[])?;
    let mut tokens = known["items"].as_array().into_iter().flatten();
    let found = tokens.find(|token| token["name"] == wanted || token["id"] == wanted);
    let Some(id) = found.and_then(|token| token["id"].as_str()) else { bail!("there is no token {wanted:?}") };
    server.send("DELETE", &format!("tokens/{id}"), &Value::Null)?;
    writeln!(stdout(), "{wanted} is revoked")?;
    Ok(())
}

fn reset_admin(file: &ConfigArg) -> anyhow::Result<()> {
    let config = config::load(&file.config)?.config;
    if config.server.admin.token.is_some() {
        bail!("server.admin.token is set in {}, and that beats the store: change it there", file.config.display());
    }
    let token = Secret::generate("kwa-")?;
    let store = Store::open(&config.store)?;
    let audit =
        Audit { actor: "keyweir token reset-admin".into(), action: "admin_token.reset".into(), ..Audit::default() };
    futures::executor::block_on(store.set_admin_token(token.digest(), audit))?;
    store.close()?;
    writeln!(stdout(), "{}", token.expose())?;
    writeln!(std::io::stderr(), "A running server takes it at its next start or reload (SIGHUP).")?;
    Ok(())
}

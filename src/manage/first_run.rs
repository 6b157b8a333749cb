//! Tokens of a server that has none.
//!
//! Nobody shall run an open proxy by accident, so the first run makes the missing tokens. The store keeps their digests.
//! Their texts are shown once on a terminal; without one they go to `first-run.txt` of the state directory (mode 0600),
//! as they do if the store can't keep them. Tokens in that file hold as long as nothing else says otherwise.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::error::StartError;
use super::stored::Stored;
use crate::config::{ClientToken, Config, Secret, TokenDigest};
use crate::store::{Audit, Store, StoreError, StoredToken};

/// What the client token of a first run is called.
const NAME: &str = "first-run";

/// Tokens in effect beside those of files and store.
#[derive(Debug, Clone)]
pub(super) struct Tokens {
    /// Of the admin listener.
    pub(super) admin: TokenDigest,
    /// Of clients.
    pub(super) clients: Vec<ClientToken>,
}

/// Generated tokens, as a file keeps them.
#[derive(Default)]
struct Generated {
    admin: Option<Secret>,
    client: Option<Secret>,
}

/// The admin's token and, if there is no other, a client's. What is missing is made and kept.
///
/// # Errors
/// If generated tokens can't be kept.
pub(super) fn tokens(config: &Config, stored: &mut Stored, store: &Store) -> Result<Tokens, StartError> {
    let path = config.store.directory.join("first-run.txt");
    let known = Generated::read(&path);
    let needs_client = config.clients.tokens.is_empty() && stored.tokens.is_empty() && !config.clients.anonymous;
    let configured = config.server.admin.token.as_ref().map(Secret::digest).or(stored.admin_token);
    let fail = |source| StartError::FirstRun { path: path.clone(), source };
    let generate = |prefix| Secret::generate(prefix).map_err(|error| fail(io::Error::other(error)));
    let mut made = Generated::default();
    let admin = match (configured, &known.admin) {
        (Some(digest), _) => digest,
        (None, Some(token)) => token.digest(),
        (None, None) => made.admin.insert(generate("kwa-")?).digest(),
    };
    let client = match (needs_client, &known.client) {
        (false, _) => None,
        (true, Some(token)) => Some(token.digest()),
        (true, None) => Some(made.client.insert(generate("kw-")?).digest()),
    };
    let is_kept = made.keep(store, stored).inspect_err(|error| log::warn!("Generated tokens: {error}")).is_ok();
    made.tell(&path, is_kept).map_err(fail)?;
    let clients = client.map(|digest| ClientToken::unlimited(NAME, digest));
    Ok(Tokens { admin, clients: clients.into_iter().collect() })
}

impl Generated {
    fn read(path: &Path) -> Self {
        let Ok(text) = fs::read_to_string(path) else { return Self::default() };
        let find = |name: &str| {
            let token = text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            token.filter(|token| !token.is_empty()).map(|token| Secret::new(token.to_owned()))
        };
        Self { admin: find("admin token:"), client: find("client token:") }
    }

    fn keep(&self, store: &Store, stored: &mut Stored) -> Result<(), StoreError> {
        let audit = |action: &str| Audit { actor: "keyweir".into(), action: action.into(), ..Audit::default() };
        if let Some(token) = &self.admin {
            let write = store.set_admin_token(token.digest(), audit("admin_token.create"));
            futures::executor::block_on(write)?;
            stored.admin_token = Some(token.digest());
        }
        if let Some(token) = &self.client {
            let token = StoredToken::new(NAME.into(), token.digest(), "{}".into())?;
            futures::executor::block_on(store.add_token(token.clone(), audit("token.create")))?;
            stored.tokens.push(token);
        }
        Ok(())
    }

    fn lines(&self) -> String {
        let line = |what: &str, token: &Option<Secret>| match token {
            Some(token) => format!("{what} token: {}\n", token.expose()),
            None => String::new(),
        };
        line("admin", &self.admin) + &line("client", &self.client)
    }

    fn tell(&self, path: &Path, is_kept: bool) -> io::Result<()> {
        if self.admin.is_none() && self.client.is_none() {
            return Ok(());
        }
        let mut terminal = io::stderr();
        if terminal.is_terminal() {
            let text = format!(
                "\nNo tokens were configured, so these were made. They are not shown again:\n{}\n",
                self.lines()
            );
            // Shown for convenience; if nobody can see it, the store can be given another.
            let _unseen = terminal.write_all(text.as_bytes());
        }
        if !is_kept || !terminal.is_terminal() {
            write_private(path, &self.lines())?;
            log::info!("Tokens were generated; they are in {}.", path.display());
        }
        Ok(())
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

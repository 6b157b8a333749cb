//! Tokens of a server that was configured without any.
//!
//! Nobody shall run an open proxy by accident, so the first run makes the missing tokens, shows them on a terminal and
//! keeps them in `first-run.txt` of the state directory (mode 0600), where later runs find them again.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::ServerError;
use crate::config::{ClientToken, Config, Secret, TokenDigest};

/// Tokens in effect beside those of the file.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Of the admin listener.
    pub admin: TokenDigest,
    /// Client tokens that are not in the file.
    pub clients: Vec<ClientToken>,
}

/// The tokens a first run made, or an earlier one.
#[derive(Debug)]
pub struct FirstRun {
    admin: Secret,
    client: Secret,
    path: PathBuf,
    is_new: bool,
}

impl Tokens {
    /// The configured tokens, completed by generated ones.
    ///
    /// # Errors
    /// If generated tokens can't be kept.
    pub fn complete(config: &Config) -> Result<Self, ServerError> {
        let needs_client = config.clients.tokens.is_empty() && !config.clients.anonymous;
        let admin = config.server.admin.token.as_ref();
        if let (Some(admin), false) = (admin, needs_client) {
            return Ok(Self { admin: admin.digest(), clients: Vec::new() });
        }
        let generated = FirstRun::load_or_make(state_directory().join("first-run.txt"))?;
        generated.tell(admin.is_none(), needs_client);
        let client = ClientToken::unlimited("first-run", generated.client.clone());
        Ok(Self {
            admin: admin.unwrap_or(&generated.admin).digest(),
            clients: if needs_client { vec![client] } else { Vec::new() },
        })
    }
}

impl FirstRun {
    fn load_or_make(path: PathBuf) -> Result<Self, ServerError> {
        let fail = |source| ServerError::FirstRun { path: path.clone(), source };
        if let Ok(text) = fs::read_to_string(&path) {
            let find = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            if let (Some(admin), Some(client)) = (find("admin token:"), find("client token:")) {
                let (admin, client) = (Secret::new(admin.into()), Secret::new(client.into()));
                return Ok(Self { admin, client, path, is_new: false });
            }
        }
        let generate = |prefix| Secret::generate(prefix).map_err(|error| fail(io::Error::other(error)));
        let (admin, client) = (generate("kwa-")?, generate("kw-")?);
        write_private(&path, &format!("admin token: {}\nclient token: {}\n", admin.expose(), client.expose()))
            .map_err(fail)?;
        Ok(Self { admin, client, path, is_new: true })
    }

    fn tell(&self, admin: bool, client: bool) {
        let path = self.path.display();
        log::info!("Generated tokens are in use; they are kept in {path}.");
        let mut terminal = io::stderr();
        if !self.is_new || !terminal.is_terminal() {
            return;
        }
        let mut text = String::from("\nNo tokens are configured, so these were made:\n");
        if client {
            text += &format!("  client token: {}\n", self.client.expose());
        }
        if admin {
            text += &format!("  admin token:  {}\n", self.admin.expose());
        }
        // Shown for convenience; the file is what counts.
        let _unseen = terminal.write_all(text.as_bytes());
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Where state lives: systemd's directory or the working directory.
fn state_directory() -> PathBuf {
    std::env::var_os("STATE_DIRECTORY").map(PathBuf::from).unwrap_or_default()
}

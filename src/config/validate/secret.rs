//! Secrets: from the file itself, from another file, from systemd.

use std::io::Read;
use std::path::Path;

use super::Context;
use crate::config::egress::Egress;
use crate::config::problem::At;
use crate::config::raw;
use crate::config::secret::Secret;
use crate::config::tree::Position;

/// Largest file read as a secret.
const MAX_FILE: u64 = 64 * 1024;

/// The secret's text, which may be empty; `None` = cannot be had, and was complained about.
pub(crate) fn resolve(raw: &raw::Secret, at: &At<'_>, context: &Context<'_>) -> Option<String> {
    let kept = match raw {
        raw::Secret::Text(text) => return Some(text.clone()),
        raw::Secret::Kept(kept) => kept,
    };
    if at.position() == Position::STORED {
        at.error("references are for files; send the secret itself");
        return None;
    }
    let path = match (&kept.file, &kept.credential) {
        (Some(file), None) => context.path(file),
        (None, Some(name)) if name.is_empty() || name.contains('/') || name == ".." => {
            at.field("credential").error("not a credential's name; write what LoadCredential= calls it");
            return None;
        }
        (None, Some(name)) => match context.env.variable("CREDENTIALS_DIRECTORY") {
            Some(folder) => Path::new(&folder).join(name),
            None => {
                at.field("credential").error(
                    "$CREDENTIALS_DIRECTORY is not set; start by systemd with LoadCredential=, or use {file: PATH}",
                );
                return None;
            }
        },
        _ => {
            at.error("write either {file: PATH} or {credential: NAME}");
            return None;
        }
    };
    match read(&path) {
        Ok(text) if text.is_empty() => at.error(format!("{} is empty; write the secret into it", path.display())),
        Ok(text) => return Some(text),
        Err(e) => at.error(format!("cannot read {}: {e}", path.display())),
    }
    None
}

/// A proxy; `None` = complained about.
pub(crate) fn egress(raw: &raw::Secret, at: &At<'_>, context: &Context<'_>) -> Option<Egress> {
    let url = resolve(raw, at, context)?;
    Egress::parse(&url).map_err(|error| at.error(error.to_string())).ok()
}

/// A token that may be left empty; `None` = not set, or complained about.
pub(crate) fn optional_token(raw: &raw::Secret, at: &At<'_>, context: &Context<'_>) -> Option<Secret> {
    resolve(raw, at, context).filter(|text| !text.is_empty()).and_then(|text| token(text, at))
}

/// A token that travels in a header; `None` = complained about.
pub(crate) fn token(text: String, at: &At<'_>) -> Option<Secret> {
    if text.is_empty() {
        at.error("is empty; write the token, ${VARIABLE} or {file: PATH}");
        return None;
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        at.error("a token is visible ASCII characters without spaces");
        return None;
    }
    if text.len() < 16 {
        at.warn("shorter than 16 characters; short tokens can be guessed; make one e.g. with `openssl rand -hex 24`");
    }
    Some(Secret::new(text))
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    let end = text.trim_end_matches(['\n', '\r']).len();
    text.truncate(end);
    Ok(text)
}

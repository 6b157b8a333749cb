//! Client tokens that operators add, change and revoke while the server runs.

use serde_json::{Map, Value as Json, json};

use super::error::ManageError;
use super::keys::patch_fields;
use super::operate::Actor;
use super::stored::Stored;
use super::{Manager, version};
use crate::config::{Secret, raw, without_values};
use crate::store::{StoreError, StoredToken, TokenChange};

/// A client token as operators see it.
#[derive(Debug, Clone)]
pub struct TokenView {
    /// Its id; its name for tokens of the file.
    pub id: String,
    /// Its name.
    pub name: String,
    /// In the file, and to be changed there.
    pub is_provisioned: bool,
    /// When it was added (Unix milliseconds).
    pub created_at: Option<i64>,
    /// Differs after every change of what it may do; `None` for tokens of the file.
    pub version: Option<u64>,
}

impl Manager {
    /// The id and origin of a token by its name.
    pub fn token_view(&self, name: &str) -> TokenView {
        let picture = self.picture.load();
        let stored = picture.stored.tokens.iter().find(|token| token.name == name);
        TokenView {
            id: stored.map_or(name, |token| &token.id).to_owned(),
            name: name.to_owned(),
            is_provisioned: stored.is_none(),
            created_at: stored.map(|token| token.created_at),
            version: stored.map(version_of),
        }
    }

    /// Adds a token, with a text of its own unless `details` bring one. Returns its id and its text, which is told this
    /// once. Blocks.
    ///
    /// # Errors
    /// If the name is taken, something is wrong, or the store does not take it.
    pub fn add_token(&self, mut details: Map<String, Json>, actor: &Actor) -> Result<(String, Secret), ManageError> {
        let text = match details.remove("token") {
            Some(Json::String(text)) => Secret::new(text),
            Some(_) => return Err(ManageError::Invalid(vec!["token: must be a text".into()])),
            None => Secret::generate("kw-").map_err(|error| StoreError::Unavailable(error.to_string()))?,
        };
        check_text(&text)?;
        let (name, details) = judged(details)?;
        let turn = self.turn();
        self.check_pools(&details)?;
        let config = self.live.config.load();
        let is_taken = |known: &crate::config::ClientToken| known.name == name || known.digest == text.digest();
        if config.clients.tokens.iter().any(is_taken) {
            return Err(ManageError::Conflict(format!("there is a token named {name}, or with the same text")));
        }
        let mut stored = Stored::clone(&turn.picture.stored);
        let audit = actor.does("token.create", &name, json!({}));
        let token = StoredToken::new(name, text.digest(), Json::Object(details).to_string())?;
        stored.tokens.push(token.clone());
        let id = token.id.clone();
        self.change_to(&turn, stored, |store| Self::wait(store.add_token(token, audit)))?;
        Ok((id, text))
    }

    /// Changes what a token may do; `null` takes a word back, and `expected` is the version it was read at. Blocks.
    ///
    /// # Errors
    /// If it is in the file or unknown or was changed since, something is wrong, or the store does not take it.
    pub fn update_token(
        &self,
        id: &str,
        patch: Map<String, Json>,
        expected: Option<u64>,
        actor: &Actor,
    ) -> Result<(), ManageError> {
        if patch.contains_key("token") {
            return Err(ManageError::Invalid(vec![
                "token: can't be changed; create another and revoke this one".into(),
            ]));
        }
        let turn = self.turn();
        let mut stored = Stored::clone(&turn.picture.stored);
        let token = self.own_token(&mut stored, id)?;
        version::check(expected, version_of(token), "the token")?;
        let fields: Vec<String> = patch.keys().cloned().collect();
        let mut details: Map<String, Json> = serde_json::from_str(&token.details).unwrap_or_default();
        details.insert("name".into(), token.name.clone().into());
        patch_fields(&mut details, patch);
        let (name, details) = judged(details)?;
        self.check_pools(&details)?;
        (token.name, token.details) = (name.clone(), Json::Object(details).to_string());
        let change = TokenChange { id: token.id.clone(), name: name.clone(), details: token.details.clone() };
        let audit = actor.does("token.update", name, json!({"fields": fields}));
        self.change_to(&turn, stored, |store| Self::wait(store.update_token(change, audit)))
    }

    /// Revokes a token. Blocks.
    ///
    /// # Errors
    /// If it is in the file or unknown, or the store does not take it.
    pub fn remove_token(&self, id: &str, actor: &Actor) -> Result<(), ManageError> {
        let turn = self.turn();
        let mut stored = Stored::clone(&turn.picture.stored);
        let name = self.own_token(&mut stored, id)?.name.clone();
        stored.tokens.retain(|token| token.id != id);
        let audit = actor.does("token.revoke", name, json!({}));
        let id = id.to_owned();
        self.change_to(&turn, stored, |store| Self::wait(store.remove_token(id, audit)))
    }

    fn own_token<'s>(&self, stored: &'s mut Stored, id: &str) -> Result<&'s mut StoredToken, ManageError> {
        let is_provisioned = self.live.config.load().clients.tokens.iter().any(|token| token.name == id);
        match stored.tokens.iter_mut().find(|token| token.id == id) {
            Some(token) => Ok(token),
            None if is_provisioned => {
                Err(ManageError::Provisioned(format!("token {id} is in keyweir.yaml; change it there")))
            }
            None => Err(ManageError::NotFound("there is no token with this id".into())),
        }
    }

    fn check_pools(&self, details: &Map<String, Json>) -> Result<(), ManageError> {
        let config = self.live.config.load();
        let named = details.get("pools").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
        let unknown = named.filter(|name| !config.pools.iter().any(|pool| pool.name == *name));
        let mistakes: Vec<String> = unknown.map(|name| format!("pools: there is no pool {name:?}")).collect();
        if mistakes.is_empty() { Ok(()) } else { Err(ManageError::Invalid(mistakes)) }
    }
}

fn version_of(token: &StoredToken) -> u64 {
    version::of(&token.name, &token.details)
}

/// The name, and everything but it and the text.
fn judged(mut details: Map<String, Json>) -> Result<(String, Map<String, Json>), ManageError> {
    let invalid = |message: String| ManageError::Invalid(vec![message]);
    details.insert("token".into(), "".into());
    let shape = serde_json::from_value::<raw::clients::Token>(Json::Object(details.clone()));
    let token = shape.map_err(|error| invalid(without_values(&error.to_string())))?;
    details.remove("token");
    details.remove("name");
    Ok((token.name, details))
}

fn check_text(text: &Secret) -> Result<(), ManageError> {
    let is_plain = text.expose().bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain && (16..=512).contains(&text.expose().len()) {
        return Ok(());
    }
    Err(ManageError::Invalid(vec![
        "token: 16 to 512 visible ASCII characters, or leave it out to have one made".into(),
    ]))
}

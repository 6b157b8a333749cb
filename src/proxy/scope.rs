//! Which models a request may use: the client token's scope and the pool's `models.deny`.
//!
//! A token's scope is about the names a client asks for; `deny` is about the provider's models that those stand for, so
//! an alias is no way around it.

use super::answer::Answer;
use super::model::{Asked, Care};
use crate::clients::Client;
use crate::config::Models;
use crate::config::models::bare;

/// How closely a request must be read for this.
pub(super) fn care(client: Option<&Client>, models: &Models, has_reserved_keys: bool) -> Care {
    if client.is_some_and(Client::has_model_scope) || !models.deny.is_empty() {
        Care::Filter
    } else if has_reserved_keys || !models.alias.is_empty() {
        Care::Rules
    } else {
        Care::Hint
    }
}

/// Refuses what names a model that is not open.
///
/// # Errors
/// [`Answer::ModelDenied`] or [`Answer::ModelClosed`].
pub(super) fn check(client: Option<&Client>, models: &Models, asked: &Asked) -> Result<(), Answer> {
    for named in asked.iter() {
        check_name(client, models, &named.name)?;
        if !named.is_replaceable() && models.denies(&named.name) {
            return Err(Answer::ModelClosed);
        }
    }
    Ok(())
}

/// The same for one name.
///
/// # Errors
/// [`Answer::ModelDenied`] or [`Answer::ModelClosed`].
pub(super) fn check_name(client: Option<&Client>, models: &Models, name: &str) -> Result<(), Answer> {
    if client.is_some_and(|client| !may_use(client, name)) {
        Err(Answer::ModelDenied)
    } else if models.denies(models.resolve(name)) {
        Err(Answer::ModelClosed)
    } else {
        Ok(())
    }
}

fn may_use(client: &Client, name: &str) -> bool {
    client.may_use_model(name) || client.may_use_model(bare(name))
}

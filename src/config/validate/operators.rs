//! `server.admin.token` and `server.admin.users`: who may use the admin listener.
//!
//! A token is what tells operators apart, so no two share one, and none is a client's token too.

use std::collections::HashSet;

use super::{Context, secret};
use crate::config::model::AdminUser;
use crate::config::problem::At;
use crate::config::raw::server as raw;
use crate::config::secret::Secret;

/// Name of whoever has the admin token.
const ADMIN: &str = "admin";

/// The operators of the file.
pub(crate) struct Operators {
    pub(crate) token: Option<Secret>,
    pub(crate) users: Vec<AdminUser>,
}

impl Operators {
    /// Whose token this is.
    pub(crate) fn owner(&self, token: &Secret) -> Option<&str> {
        let digest = token.digest();
        let admin = self.token.iter().map(|token| (ADMIN, token));
        let mut all = admin.chain(self.users.iter().map(|user| (user.name.as_str(), &user.token)));
        all.find_map(|(name, token)| (token.digest() == digest).then_some(name))
    }
}

pub(crate) fn operators(raw: &raw::Admin, at: &At<'_>, context: &Context<'_>) -> Operators {
    let token = raw.token.as_ref().and_then(|token| secret::optional_token(token, &at.field("token"), context));
    let mut operators = Operators { token, users: Vec::with_capacity(raw.users.len()) };
    let mut names = HashSet::new();
    for (index, user) in raw.users.iter().enumerate() {
        let users = at.field("users");
        let at = users.index(index);
        name(&user.name, &mut names, &at.field("name"));
        let here = at.field("token");
        let text = secret::resolve(&user.token, &here, context);
        let Some(token) = text.and_then(|text| secret::token(text, &here)) else { continue };
        if let Some(owner) = operators.owner(&token) {
            here.error(format!("the same token as {owner}'s; each user needs its own"));
        }
        operators.users.push(AdminUser { name: user.name.clone(), token, role: user.role });
    }
    operators
}

fn name<'a>(name: &'a str, names: &mut HashSet<&'a str>, at: &At<'_>) {
    if name.is_empty() || name.chars().any(char::is_control) {
        at.error("must not be empty or contain control characters");
    }
    if name == ADMIN {
        at.error("admin is whoever has the admin token; write another name");
    }
    if !names.insert(name) {
        at.error("another user has this name; names are unique");
    }
}

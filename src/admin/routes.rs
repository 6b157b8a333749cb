//! The route table: which path is answered by whom, and what it asks of its caller.
//!
//! A [`Route`] can't be made without saying what it needs, and the router is made of nothing but routes, so none is open
//! by oversight. Tests enumerate the same table.

use std::fmt;
use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{self, MethodRouter};
use http::Method;

use super::router::AdminState;
use crate::config::Role;

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: anybody may ask.
    Nothing,
    /// This role or a higher one, by token or session.
    Role(Role),
    /// The same by token only: what changes something although it is asked with GET must not be open to a page that
    /// makes somebody's browser load it.
    Token(Role),
}

impl From<Role> for Need {
    fn from(role: Role) -> Self {
        Need::Role(role)
    }
}

/// One method of one path.
pub struct Route {
    /// The method; a GET answers HEAD too.
    pub method: Method,
    /// The path, its parameters in braces.
    pub path: String,
    /// Who may.
    pub need: Need,
    pub(super) handler: MethodRouter<Arc<AdminState>>,
}

impl Route {
    /// The same below `prefix`.
    pub(super) fn under(self, prefix: &str) -> Self {
        Self { path: format!("{prefix}{}", self.path), ..self }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.method, self.path, self.need)
    }
}

macro_rules! methods {
    ($($name:ident = $method:ident),+) => {$(
        /// A route of this method.
        pub(super) fn $name<H, T>(path: &str, need: impl Into<Need>, handler: H) -> Route
        where
            H: Handler<T, Arc<AdminState>>,
            T: 'static,
        {
            Route { method: Method::$method, path: path.to_owned(), need: need.into(), handler: routing::$name(handler) }
        }
    )+};
}

methods!(get = GET, post = POST, put = PUT, patch = PATCH, delete = DELETE);

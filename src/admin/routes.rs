//! The route table: which path is answered by whom, and what it asks of its caller.
//!
//! A [`Route`] can't be made without saying what it needs, and the router is made of nothing but routes, so none is open
//! by oversight, and every one says what it is for. Tests and the [`document`](super::openapi) enumerate the same table.

use std::fmt;
use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::routing::{self, MethodRouter};
use http::Method;

use super::openapi::{Described, Operation};
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
    /// What it is for, in a line.
    pub summary: &'static str,
    /// What it belongs to.
    pub tag: &'static str,
    pub(super) describe: fn(&mut Operation<'_>),
    pub(super) handler: MethodRouter<Arc<AdminState>>,
}

impl Route {
    /// The same below `prefix`.
    pub(super) fn under(self, prefix: &str) -> Self {
        Self { path: format!("{prefix}{}", self.path), ..self }
    }

    /// The same with another bound on the request's body (bytes).
    pub(super) fn limited(self, bytes: usize) -> Self {
        Self { handler: self.handler.layer(DefaultBodyLimit::max(bytes)), ..self }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.method, self.path, self.need)
    }
}

/// Routes that belong together.
pub(super) fn group<const N: usize>(tag: &'static str, routes: [Route; N]) -> impl Iterator<Item = Route> {
    routes.into_iter().map(move |route| Route { tag, ..route })
}

macro_rules! methods {
    ($($name:ident = $method:ident),+) => {$(
        /// A route of this method.
        pub(super) fn $name<H, T, A>(path: &str, need: impl Into<Need>, summary: &'static str, handler: H) -> Route
        where
            H: Handler<T, Arc<AdminState>> + Described<A>,
            T: 'static,
        {
            Route {
                method: Method::$method,
                path: path.to_owned(),
                need: need.into(),
                summary,
                tag: "",
                describe: H::describe,
                handler: routing::$name(handler),
            }
        }
    )+};
}

methods!(get = GET, post = POST, put = PUT, patch = PATCH, delete = DELETE);

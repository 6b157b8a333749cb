//! Who asks: the holder of a bearer token, or of a session.
//!
//! Tokens are known by digest only. Whatever is shown is compared with every token there is, in the same time, so that
//! an answer tells nothing but yes or no.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use http::{HeaderMap, header};

use super::origin;
use super::problem::Problem;
use super::router::{Access, AdminState};
use super::routes::Need;
use super::service::Peer;
use super::session::Cookie;
use crate::config::{Role, TokenDigest};
use crate::manage::Actor;

/// Somebody who may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Shown in logs and in the audit log.
    pub name: Arc<str>,
    /// What the user may do.
    pub role: Role,
    /// Digest of the user's token.
    pub token: TokenDigest,
}

/// Who asks, as an axum extension of every request to a route that needs a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's name; `admin` for the holder of the admin token.
    pub name: Arc<str>,
    /// What the user may do.
    pub role: Role,
    /// Where the request came from; `None` on unix sockets.
    pub peer: Option<IpAddr>,
}

impl Identity {
    /// For what takes more than its route says.
    pub(super) fn require(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role {
            return Ok(());
        }
        Err(Problem::forbidden(format!(
            "this takes the role {}, and {:?} is {}",
            role.as_str(),
            self.name,
            self.role.as_str()
        )))
    }

    /// For the audit.
    pub(super) fn actor(&self) -> Actor {
        Actor { name: self.name.to_string(), address: self.peer }
    }
}

impl Access {
    /// Whose token this is.
    pub(super) fn user(&self, token: &TokenDigest) -> Option<&User> {
        self.users.iter().fold(None, |found, user| if user.token == *token { Some(user) } else { found })
    }
}

/// Who asks, if the caller has what the route needs; `None` where it needs nothing.
pub(super) fn admit(state: &AdminState, need: Need, request: &Request) -> Result<Option<Identity>, Problem> {
    let role = match need {
        Need::Nothing => return Ok(None),
        Need::Role(role) | Need::Token(role) => role,
    };
    let is_by_token = request.headers().contains_key(header::AUTHORIZATION);
    let user = if is_by_token { by_token(state, request.headers()) } else { by_session(state, need, request) }?;
    let identity = Identity { name: user.name, role: user.role, peer: peer(request) };
    identity.require(role)?;
    Ok(Some(identity))
}

fn by_token(state: &AdminState, headers: &HeaderMap) -> Result<User, Problem> {
    let access = state.access.load();
    let user = bearer(headers).and_then(|token| access.user(&TokenDigest::of(token)));
    user.cloned().ok_or_else(|| Problem::unauthorized("not an operator's token: Authorization: Bearer <token>"))
}

fn by_session(state: &AdminState, need: Need, request: &Request) -> Result<User, Problem> {
    const HOW: &str = "send an operator's token: Authorization: Bearer <token>";
    let is_enough = matches!(need, Need::Role(_));
    let cookie = Cookie::of(request).filter(|_| is_enough).ok_or_else(|| Problem::unauthorized(HOW))?;
    if !request.method().is_safe() {
        origin::check(request.headers())?;
    }
    let user = state.sessions.user(&cookie.id, &state.access.load(), std::time::Instant::now());
    user.ok_or_else(|| Problem::unauthorized("the session has ended: log in again"))
}

/// The one bearer token of a request.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

/// Where a request came from.
pub(super) fn peer(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<Peer>()?.address.map(|address| address.ip().to_canonical())
}

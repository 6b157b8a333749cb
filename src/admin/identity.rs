//! Who asks: the holder of a bearer token, or of a session.
//!
//! Tokens are known by digest only. Whatever is shown is compared with every token there is, in the same time, so that
//! an answer tells nothing but yes or no.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use http::{HeaderMap, StatusCode, header};

use super::origin;
use super::problem::Problem;
use super::router::{Access, AdminState};
use super::routes::Need;
use super::service::Peer;
use super::session::Cookie;
use super::throttle::{Denied, Way};
use crate::config::{Role, TokenDigest};
use crate::manage::Actor;
use crate::telemetry::{AdminAuthFailure, operator_refused};

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
    let user = if request.headers().contains_key(header::AUTHORIZATION) {
        by_token(state, request)
    } else {
        by_session(state, need, request)
    }?;
    let identity = Identity { name: user.name, role: user.role, peer: peer(request) };
    identity.require(role)?;
    Ok(Some(identity))
}

fn by_token(state: &AdminState, request: &Request) -> Result<User, Problem> {
    let token = bearer(request.headers()).unwrap_or_default();
    judge(state, Way::Bearer, peer(request), &TokenDigest::of(token), None)
}

/// The user of a token, unless there were too many failures. `name` is what the user claims to be called.
pub(super) fn judge(
    state: &AdminState,
    way: Way,
    from: Option<IpAddr>,
    token: &TokenDigest,
    name: Option<&str>,
) -> Result<User, Problem> {
    let access = state.access.load();
    let judge = || access.user(token).filter(|user| name.is_none_or(|name| *name == *user.name));
    match state.throttle.judge(from, way, Instant::now(), judge) {
        Ok(user) => Ok(user.clone()),
        Err(Denied::Wrong) => {
            operator_refused(AdminAuthFailure::Unknown, from);
            Err(Problem::unauthorized("no operator has this token; programs send Authorization: Bearer <token>"))
        }
        Err(Denied::Throttled(wait)) => {
            operator_refused(AdminAuthFailure::Throttled, from);
            let detail = "too many wrong tokens; wait, and mend what sends them";
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "throttled", detail);
            Err(Problem { retry_after: Some(wait.as_secs() + 1), ..problem })
        }
    }
}

fn by_session(state: &AdminState, need: Need, request: &Request) -> Result<User, Problem> {
    let refuse = |why, detail| {
        operator_refused(why, peer(request));
        Problem::unauthorized(detail)
    };
    let cookie = Cookie::of(request).filter(|_| matches!(need, Need::Role(_)));
    let cookie = cookie
        .ok_or_else(|| refuse(AdminAuthFailure::Missing, "send an operator's token: Authorization: Bearer <token>"))?;
    if !request.method().is_safe() {
        origin::check(request.headers())?;
    }
    let user = state.sessions.user(&cookie.id, &state.access.load(), Instant::now());
    user.ok_or_else(|| refuse(AdminAuthFailure::Ended, "the session has ended: log in again"))
}

/// What a request that lasts was let in by.
pub(super) enum Pass {
    Token(TokenDigest),
    Session(TokenDigest),
}

impl Pass {
    /// Of a request that was let in.
    pub(super) fn of(request: &Request) -> Option<Self> {
        match bearer(request.headers()) {
            Some(token) => Some(Self::Token(TokenDigest::of(token))),
            None => Cookie::of(request).map(|cookie| Self::Session(cookie.id)),
        }
    }

    /// Whether it still opens anything.
    pub(super) fn holds(&self, state: &AdminState) -> bool {
        let access = state.access.load();
        match self {
            Self::Token(token) => access.user(token).is_some(),
            Self::Session(id) => state.sessions.goes_on(id, &access, Instant::now()),
        }
    }
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

//! Sessions of the console: a token is shown once, and from then on a cookie stands for it.
//!
//! Scripts can't read the cookie and other sites can't make a browser send it; only its digest is kept, in memory. A
//! session is worth what its user's token is worth now: it ends when a reload changes the token, the name or the role.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{NoContent, Shaped};
use super::extract::Object;
use super::identity::{self, Identity, User};
use super::moment::Moment;
use super::openapi::{Input, Operation};
use super::origin;
use super::problem::Problem;
use super::router::{Access, AdminState};
use super::service::Peer;
use super::throttle::Way;
use crate::config::{Role, Secret, TokenDigest};

/// A session nobody used for this long ends.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// A session ends after this time however much it is used.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// Sessions of one user; another login ends the oldest.
const PER_USER: usize = 16;
/// Time for the body of a login.
const PATIENCE: Duration = Duration::from_secs(10);

/// The sessions there are.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<TokenDigest, Session>>);

#[derive(Debug)]
struct Session {
    user: User,
    opened: Instant,
    used: Instant,
}

impl Session {
    fn goes_on(&self, access: &Access, now: Instant) -> bool {
        !self.is_over(now) && access.user(&self.user.token) == Some(&self.user)
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) >= IDLE || now.saturating_duration_since(self.opened) >= LIFETIME
    }
}

impl Sessions {
    /// Begins a session of `user`; what the cookie says.
    fn open(&self, user: User, now: Instant) -> Result<Secret, getrandom::Error> {
        let id = Secret::generate("kws-")?;
        let mut sessions = self.0.lock();
        sessions.retain(|_, session| !session.is_over(now));
        let own = || sessions.iter().filter(|(_, session)| session.user.name == user.name);
        if own().count() >= PER_USER {
            let oldest = own().min_by_key(|(_, session)| session.opened).map(|(id, _)| *id);
            oldest.map(|id| sessions.remove(&id));
        }
        sessions.insert(id.digest(), Session { user, opened: now, used: now });
        Ok(id)
    }

    /// Whose session this is, if it goes on; it was used then.
    pub(super) fn user(&self, id: &TokenDigest, access: &Access, now: Instant) -> Option<User> {
        let mut sessions = self.0.lock();
        let session = sessions.get_mut(id)?;
        if !session.goes_on(access, now) {
            sessions.remove(id);
            return None;
        }
        session.used = now;
        Some(session.user.clone())
    }

    /// Whether a session goes on; that alone is no use of it.
    pub(super) fn goes_on(&self, id: &TokenDigest, access: &Access, now: Instant) -> bool {
        self.0.lock().get(id).is_some_and(|session| session.goes_on(access, now))
    }

    /// Time until a session ends at the latest.
    fn left(&self, id: &TokenDigest, now: Instant) -> Option<Duration> {
        let opened = self.0.lock().get(id)?.opened;
        Some(LIFETIME.saturating_sub(now.saturating_duration_since(opened)))
    }

    fn close(&self, id: &TokenDigest) {
        self.0.lock().remove(id);
    }
}

/// A session's cookie, as a request carries it.
#[derive(Debug)]
pub(super) struct Cookie {
    pub(super) id: TokenDigest,
}

impl Cookie {
    /// The cookie of a request; two of the name are none, for one of them is not ours.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let name = name(is_tls(request));
        let headers = request.headers().get_all(header::COOKIE);
        let pairs = headers.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
        let mut ours = pairs.filter_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
        match (ours.next(), ours.next()) {
            (Some(value), None) => Some(Self { id: TokenDigest::of(value.as_bytes()) }),
            _ => None,
        }
    }
}

/// Browsers take a `__Host-` cookie only with `Secure`, from this very host and for all of it.
fn name(is_tls: bool) -> &'static str {
    if is_tls { "__Host-keyweir" } else { "keyweir" }
}

fn is_tls(request: &Request) -> bool {
    request.extensions().get::<Peer>().is_some_and(|peer| peer.is_tls)
}

fn set_cookie(value: &str, age: Duration, is_tls: bool) -> String {
    let (name, secure) = (name(is_tls), if is_tls { "; Secure" } else { "" });
    format!("{name}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{secure}", age.as_secs())
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(mut value) = HeaderValue::from_str(cookie) {
        value.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

// === handlers ===

/// What opens a session.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Credentials {
    token: String,
    /// The user's name; whoever gives it wants it checked.
    user: Option<String>,
}

/// A session, or whoever has a bearer token.
#[derive(Serialize, JsonSchema)]
pub(super) struct SessionInfo {
    /// The operator's name.
    name: String,
    role: Role,
    /// When the session ends at the latest; `null` without one.
    expires: Option<Moment>,
    /// A session that is not used for so many seconds ends.
    idle_timeout: Option<u64>,
}

impl SessionInfo {
    fn of(name: &str, role: Role, left: Option<Duration>) -> Json<Self> {
        let expires = left.and_then(|left| SystemTime::now().checked_add(left)).map(Moment::from);
        Json(Self { name: name.to_owned(), role, expires, idle_timeout: left.map(|_| IDLE.as_secs()) })
    }
}

/// A request for a session.
pub(super) struct Login {
    credentials: Credentials,
    is_tls: bool,
    from: Option<IpAddr>,
}

impl<S: Send + Sync> FromRequest<S> for Login {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        origin::check_if_told(request.headers())?;
        let (is_tls, from) = (is_tls(&request), identity::peer(&request));
        Ok(Self { credentials: credentials(request).await?, is_tls, from })
    }
}

impl Input for Login {
    fn describe(operation: &mut Operation<'_>) {
        operation.takes_json::<Credentials>(true);
        operation.refuses(StatusCode::UNAUTHORIZED, "No operator has this token.");
        operation.refuses(StatusCode::REQUEST_TIMEOUT, "The body came too slowly.");
        operation
            .refuses(StatusCode::TOO_MANY_REQUESTS, "Too many wrong tokens; `Retry-After` tells how long to wait.");
    }
}

/// `POST session`: a session for a token.
pub(super) async fn login(
    State(state): State<Arc<AdminState>>,
    login: Login,
) -> Result<Shaped<Json<SessionInfo>>, Problem> {
    let Login { credentials, is_tls, from } = login;
    let token = Secret::new(credentials.token).digest();
    let user = identity::judge(&state, Way::Login, from, &token, credentials.user.as_deref())?;
    let shown = SessionInfo::of(&user.name, user.role, Some(LIFETIME));
    let id = state.sessions.open(user, Instant::now());
    let id = id.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no_random_bytes", "try again"))?;
    Ok(Shaped::new(with_cookie(shown.into_response(), &set_cookie(id.expose(), LIFETIME, is_tls))))
}

/// The body of a login. What is wrong with it is not told word for word: it holds a token.
async fn credentials(request: Request) -> Result<Credentials, Problem> {
    let read = tokio::time::timeout(PATIENCE, Json::from_request(request, &())).await;
    match read {
        Ok(Ok(Json(Object(credentials)))) => Ok(credentials),
        Ok(Err(error)) => {
            let (status, how) = (error.status(), "send {\"token\": \"…\"} as application/json");
            Err(Problem::new(status, "bad_request", how))
        }
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body came too slowly")),
    }
}

/// `GET session`: who the caller is.
pub(super) async fn show_own(
    State(state): State<Arc<AdminState>>,
    Extension(identity): Extension<Identity>,
    request: Request,
) -> Json<SessionInfo> {
    let left = Cookie::of(&request).and_then(|cookie| state.sessions.left(&cookie.id, Instant::now()));
    SessionInfo::of(&identity.name, identity.role, left)
}

/// `DELETE session`: ends it.
pub(super) async fn logout(State(state): State<Arc<AdminState>>, request: Request) -> Shaped<NoContent> {
    if let Some(cookie) = Cookie::of(&request) {
        state.sessions.close(&cookie.id);
    }
    Shaped::new(with_cookie(NoContent.into_response(), &set_cookie("", Duration::ZERO, is_tls(&request))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn user(name: &str, token: &str) -> User {
        User { name: name.into(), role: Role::Viewer, token: TokenDigest::of(token.as_bytes()) }
    }

    fn access(users: &[User]) -> Access {
        Access { users: users.to_vec(), hosts: Vec::new(), metrics_token: None }
    }

    #[test]
    fn a_session_ends_when_it_is_idle_or_old() {
        let (sessions, alice, start) = (Sessions::default(), user("alice", "a"), Instant::now());
        let access = access(std::slice::from_ref(&alice));
        let id = sessions.open(alice.clone(), start).unwrap().digest();
        let mut now = start;
        while now + 20 * MINUTE < start + LIFETIME {
            now += 20 * MINUTE;
            assert_eq!(sessions.user(&id, &access, now), Some(alice.clone()));
        }
        assert_eq!(sessions.user(&id, &access, start + LIFETIME), None, "old");
        let id = sessions.open(alice, start).unwrap().digest();
        assert_eq!(sessions.user(&id, &access, start + IDLE), None, "idle");
        assert_eq!(sessions.user(&id, &access, start), None, "over is over");
    }

    #[test]
    fn a_session_ends_with_its_users_token_name_or_role() {
        let (alice, now) = (user("alice", "a"), Instant::now());
        let promoted = User { role: Role::Admin, ..alice.clone() };
        for changed in [vec![], vec![user("alice", "b")], vec![user("alicia", "a")], vec![promoted]] {
            let sessions = Sessions::default();
            let id = sessions.open(alice.clone(), now).unwrap().digest();
            assert_eq!(sessions.user(&id, &access(&changed), now), None, "{changed:?}");
            assert_eq!(sessions.user(&id, &access(std::slice::from_ref(&alice)), now), None, "also when it is back");
        }
    }

    #[test]
    fn sessions_are_bounded_per_user() {
        let (sessions, alice, bob, start) = (Sessions::default(), user("alice", "a"), user("bob", "b"), Instant::now());
        let access = access(&[alice.clone(), bob.clone()]);
        let of_bob = sessions.open(bob.clone(), start).unwrap().digest();
        let second = |n: usize| start + Duration::from_secs(n as u64);
        let ids: Vec<_> =
            (0..3 * PER_USER).map(|n| sessions.open(alice.clone(), second(n)).unwrap().digest()).collect();
        let now = second(ids.len());
        let (ended, live) = ids.split_at(2 * PER_USER);
        assert!(ended.iter().all(|id| sessions.user(id, &access, now).is_none()));
        assert!(live.iter().all(|id| sessions.user(id, &access, now).is_some()));
        assert_eq!(sessions.user(&of_bob, &access, now), Some(bob), "others don't suffer");
    }
}

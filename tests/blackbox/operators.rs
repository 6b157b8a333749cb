//! Who may do what on the admin listener: every route for every role, by token and by session, and what a session is.

use keyweir::admin::{Need, Route, routes};
use keyweir::config::Role;
use serde_json::{Value, json};

use crate::harness::{ADMIN_TOKEN, Authority, Config, Connection, Dates, Keyweir, MockProvider, Response, eventually};

const USERS: &str = "users: [{name: vera, token: kwa-canary-viewer-token}, \
                     {name: otto, token: kwa-canary-operator-token, role: operator}, \
                     {name: anna, token: kwa-canary-second-admin, role: admin}]";

/// The tokens of each role.
fn token(role: Role) -> &'static str {
    match role {
        Role::Viewer => "kwa-canary-viewer-token",
        Role::Operator => "kwa-canary-operator-token",
        Role::Admin => ADMIN_TOKEN,
    }
}

fn start() -> (MockProvider, Keyweir) {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).admin(USERS).start();
    (mock, keyweir)
}

/// A request's bytes; `headers` are whole lines.
fn bytes(method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

/// The head of the answer: of an event stream more would never end.
fn ask(keyweir: &Keyweir, method: &str, path: &str, headers: &[&str]) -> Response {
    let mut connection = Connection::open(keyweir.admin);
    connection.send(bytes(method, path, headers, ""));
    connection.head()
}

fn login(keyweir: &Keyweir, credentials: &Value) -> Response {
    let mut connection = Connection::open(keyweir.admin);
    connection.send(bytes("POST", "/api/v1/session", &["Content-Type: application/json"], &credentials.to_string()));
    connection.response()
}

/// The `Cookie` line of a new session.
fn session(keyweir: &Keyweir, token: &str) -> String {
    let answer = login(keyweir, &json!({"token": token}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    cookie(&answer)
}

fn cookie(answer: &Response) -> String {
    let pair = answer.header("set-cookie").unwrap().split(';').next().unwrap();
    format!("Cookie: {pair}")
}

const OURS: &str = "Sec-Fetch-Site: same-origin";

#[test]
fn what_a_provider_said_to_a_key_is_told_to_operators() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-401-1"]).admin(USERS).start();
    keyweir.chat(&json!({}));
    let failure = |role| {
        let mut connection = Connection::open(keyweir.admin);
        let authorization = format!("Authorization: Bearer {}", token(role));
        connection.send(bytes("GET", "/api/v1/pools/p/keys", &[&authorization], ""));
        connection.response().json()["items"][0]["last_failure"].clone()
    };
    assert_eq!(failure(Role::Viewer), Value::Null);
    for role in [Role::Operator, Role::Admin] {
        let told = failure(role);
        assert_eq!((&told["status"], &told["code"]), (&json!(401), &json!("invalid_api_key")), "{told}");
        assert!(!told["verdict"]["rule"].as_str().unwrap().is_empty(), "{told}");
    }
}

/// What a caller must be told.
fn expected(need: Need, role: Option<Role>, by_token: bool) -> Option<u16> {
    match (need, role) {
        (Need::Nothing, _) => None,
        (Need::Token(_), _) if !by_token => Some(401),
        (Need::Role(_) | Need::Token(_), None) => Some(401),
        (Need::Role(least) | Need::Token(least), Some(role)) => (role < least).then_some(403),
    }
}

/// The path with every parameter filled in by something that does not exist.
fn path(route: &Route) -> String {
    let fill = |part: &str| if part.starts_with('{') { "nothing".to_owned() } else { part.to_owned() };
    route.path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

#[test]
fn every_route_is_open_to_the_roles_it_names_and_to_nobody_else() {
    let (_mock, keyweir) = start();
    let roles: Vec<_> = [None].into_iter().chain(Role::ALL.map(Some)).collect();
    for (route, role) in routes().iter().flat_map(|route| roles.iter().map(move |role| (route, *role))) {
        for by_token in [true, false] {
            let caller = match role {
                None if by_token => "Authorization: Bearer kwa-canary-of-a-stranger".to_owned(),
                None => "Cookie: keyweir=kws-canary-of-a-stranger".to_owned(),
                Some(role) if by_token => format!("Authorization: Bearer {}", token(role)),
                Some(role) => session(&keyweir, token(role)),
            };
            let answer = ask(&keyweir, route.method.as_str(), &path(route), &[&caller, OURS]);
            let refused = Some(answer.status).filter(|status| matches!(status, 401 | 403));
            assert_eq!(refused, expected(route.need, role, by_token), "{route:?} for {role:?}, by token: {by_token}");
            if refused.is_some() {
                assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{route:?}");
            }
        }
        if role.is_none() {
            let answer = ask(&keyweir, route.method.as_str(), &path(route), &[]);
            assert_eq!(answer.status == 401, route.need != Need::Nothing, "{route:?} for nobody");
        }
    }
}

#[test]
fn methods_that_are_no_routes_do_nothing() {
    let (_mock, keyweir) = start();
    let routes = routes();
    let admin = format!("Authorization: Bearer {ADMIN_TOKEN}");
    for route in &routes {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"] {
            let asked = if method == "HEAD" { "GET" } else { method };
            let exists = routes.iter().any(|known| known.method == asked && known.path == route.path);
            if !exists {
                assert_eq!(ask(&keyweir, method, &path(route), &[&admin]).status, 405, "{method} {}", route.path);
            }
        }
    }
    assert_eq!(ask(&keyweir, "GET", "/api/v1/nowhere", &[]).status, 401, "what there is, is not for strangers");
    assert_eq!(ask(&keyweir, "GET", "/api/v1/nowhere", &[&admin]).status, 404);
}

#[test]
fn a_token_opens_a_session_that_lasts_until_it_is_ended() {
    let (_mock, keyweir) = start();
    let answer = login(&keyweir, &json!({"token": token(Role::Operator), "user": "otto"}));
    let set = answer.header("set-cookie").unwrap();
    assert!(set.starts_with("keyweir=") && set.contains("; HttpOnly; SameSite=Strict"), "{set}");
    assert!(!set.contains("Secure"), "without TLS no browser would send it back");
    assert_eq!((&answer.json()["name"], &answer.json()["role"]), (&json!("otto"), &json!("operator")));
    assert!(answer.json()["expires"].as_str().unwrap().ends_with('Z'));
    let cookie = cookie(&answer);
    assert_eq!(ask(&keyweir, "GET", "/api/v1/pools", &[&cookie]).status, 200);

    let mut connection = Connection::open(keyweir.admin);
    connection.send(bytes("GET", "/api/v1/session", &[&cookie], ""));
    assert_eq!(connection.response().json()["name"], "otto");

    let mut listening = Connection::open(keyweir.admin);
    listening.send(bytes("GET", "/api/v1/events", &[&cookie], ""));
    assert_eq!(listening.head().status, 200);
    let ended = ask(&keyweir, "DELETE", "/api/v1/session", &[&cookie, OURS]);
    assert_eq!(ended.status, 204);
    assert!(ended.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(ask(&keyweir, "GET", "/api/v1/pools", &[&cookie]).status, 401);
    assert_eq!(keyweir.admin("POST", "/api/v1/reload").status, 200);
    assert!(!listening.rest().0.contains("event: reload"), "who has logged out hears nothing");
    assert_eq!(keyweir.admin("GET", "/api/v1/session").json()["name"], "admin", "tokens are told who they are too");
}

#[test]
fn wrong_credentials_open_nothing() {
    let (_mock, keyweir) = start();
    for (credentials, status) in [
        (json!({"token": "kwa-canary-of-a-stranger"}), 401),
        (json!({"token": token(Role::Viewer), "user": "otto"}), 401),
        (json!({"token": ""}), 401),
        (json!({"token": 1}), 422),
        (json!({"token": token(Role::Viewer), "role": "admin"}), 422),
        (json!(ADMIN_TOKEN), 422),
        (json!({"token": "x".repeat(10_000)}), 413),
    ] {
        let answer = login(&keyweir, &credentials);
        assert_eq!(answer.status, status, "{credentials}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("set-cookie"), None);
        assert!(!answer.text().contains("canary"), "{}", answer.text());
    }
}

#[test]
fn a_session_acts_only_for_the_consoles_own_pages() {
    let (_mock, keyweir) = start();
    let cookie = session(&keyweir, ADMIN_TOKEN);
    let reload = |headers: &[&str]| ask(&keyweir, "POST", "/api/v1/reload", &[&[cookie.as_str()], headers].concat());
    for ours in [OURS, "Origin: http://localhost", "Sec-Fetch-Site: none\r\nOrigin: http://localhost"] {
        assert_eq!(reload(&[ours]).status, 200, "{ours}");
    }
    for foreign in [
        "X-Nothing: said",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Origin: null",
        "Origin: http://a",
    ] {
        assert_eq!(reload(&[foreign]).status, 403, "{foreign}");
    }
    let bearer = format!("Authorization: Bearer {ADMIN_TOKEN}");
    let by_token = ask(&keyweir, "POST", "/api/v1/reload", &[&bearer, "Sec-Fetch-Site: cross-site"]);
    assert_eq!(by_token.status, 200, "no browser adds a token by itself");
    let mut connection = Connection::open(keyweir.admin);
    let credentials = json!({"token": ADMIN_TOKEN}).to_string();
    let headers = ["Content-Type: application/json", "Sec-Fetch-Site: cross-site"];
    connection.send(bytes("POST", "/api/v1/session", &headers, &credentials));
    assert_eq!(connection.response().status, 403, "nor does another page log anybody in");
}

#[test]
fn a_session_exports_keys_only_for_the_consoles_own_pages() {
    let (_mock, keyweir) = start();
    let cookie = session(&keyweir, ADMIN_TOKEN);
    let export = |method: &str, headers: &[&str]| {
        let mut connection = Connection::open(keyweir.admin);
        let headers = [&[cookie.as_str()], headers].concat();
        connection.send(bytes(method, "/api/v1/pools/p/keys/export?format=text", &headers, ""));
        connection.response()
    };
    let file = export("POST", &[OURS]);
    assert_eq!((file.status, file.text().as_str()), (200, "sk-ok-1\n"));
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"p-keys.txt\""));
    for foreign in ["X-Nothing: said", "Sec-Fetch-Site: cross-site"] {
        assert_eq!(export("POST", &[foreign]).status, 403, "{foreign}");
    }
    assert_eq!(export("GET", &[OURS]).status, 401, "a link to it must not be worth clicking");
    let lines = keyweir.admin("GET", "/api/v1/audit?action=keys.export").json();
    assert_eq!(lines["items"].as_array().unwrap().len(), 1, "{lines}");
}

#[test]
fn sessions_end_with_the_token_they_were_opened_with() {
    let (_mock, keyweir) = start();
    let sessions = Role::ALL.map(|role| session(&keyweir, token(role)));
    let statuses = || sessions.each_ref().map(|cookie| ask(&keyweir, "GET", "/api/v1/pools", &[cookie]).status);
    assert_eq!(statuses(), [200; 3]);
    keyweir.rewrite("kwa-canary-viewer-token", "kwa-canary-another-token");
    eventually("the new token", || login(&keyweir, &json!({"token": "kwa-canary-another-token"})).status == 200);
    assert_eq!(statuses(), [401, 200, 200]);
    keyweir.rewrite("role: operator", "role: viewer");
    eventually("the new role", || statuses() == [401, 401, 200]);
    keyweir.rewrite(ADMIN_TOKEN, "kwa-canary-new-admin-token");
    eventually("the new admin token", || statuses() == [401; 3]);
}

#[test]
fn under_tls_the_cookie_belongs_to_this_host_and_to_tls() {
    let (mock, authority) = (MockProvider::start(), Authority::new());
    let (cert, key) = authority.issue(Dates::Valid);
    let keyweir = Config::pool(&mock, &[]).admin(USERS).admin_tls(cert, key).launch();
    eventually("the listeners", || keyweir.log().contains("keyweir is ready"));
    let send = |request: String| {
        let mut connection = authority.connect(keyweir.admin);
        connection.send(request);
        connection.response()
    };
    let credentials = json!({"token": ADMIN_TOKEN}).to_string();
    let answer = send(bytes("POST", "/api/v1/session", &["Content-Type: application/json"], &credentials));
    let set = answer.header("set-cookie").unwrap();
    assert!(set.starts_with("__Host-keyweir=") && set.ends_with("; Secure") && set.contains("; Path=/;"), "{set}");
    let cookie = cookie(&answer);
    assert_eq!(send(bytes("GET", "/api/v1/pools", &[&cookie], "")).status, 200);
    let plain = cookie.replace("__Host-", "");
    assert_eq!(send(bytes("GET", "/api/v1/pools", &[&plain], "")).status, 401);
}

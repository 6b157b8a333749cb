//! The older balancers' endpoints on both listeners, in their shapes.

use serde_json::{Value, json};

use crate::harness::{ADMIN_TOKEN, Config, Connection, Keyweir, MockProvider, Response, TOKEN};

/// One that is kept to pool q.
const SCOPED: &str = "kw-canary-scoped-token";

fn start(mock: &MockProvider, is_open: bool) -> Keyweir {
    let tokens = format!("tokens: [{{name: test, token: {TOKEN}}}, {{name: scoped, token: {SCOPED}, pools: [q]}}]");
    let config = Config::pool(mock, &["sk-429-1", "sk-ok-1"]).and_pool("q", mock, "", &["sk-ok-2"]);
    let config = config.top("default_pool: p").clients(&tokens);
    config.proxy(&format!("status_endpoints: {is_open}, cors: {{origins: [\"*\"]}}")).start()
}

fn ask(keyweir: &Keyweir, method: &str, path: &str, token: Option<&str>) -> Response {
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    keyweir.send(format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nOrigin: http://page.test\r\n{token}Content-Length: 0\r\n\r\n"
    ))
}

/// The names of a value's members.
fn members(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn every_shape_is_the_same_on_both_listeners() {
    let mock = MockProvider::start();
    let keyweir = start(&mock, true);
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    let shapes: [(&str, &[&str]); 7] = [
        ("/stats", &["activeKeys", "keyStats", "totalKeys"]),
        ("/stats?shape=modelscope-balance", &["429-1", "ok-1"]),
        ("/health", &["activeKeys", "status", "timestamp", "totalKeys"]),
        ("/balance", &["keyBalances", "success", "timestamp", "totalBalance"]),
        ("/blacklist", &["blacklist", "pool", "total"]),
        ("/keys", &["active", "inactive", "keys", "pool", "total"]),
        ("/info", &["name", "pools", "version"]),
    ];
    for (path, expected) in shapes {
        let (own, clients) = (keyweir.admin("GET", path), ask(&keyweir, "GET", path, Some(TOKEN)));
        assert_eq!((own.status, clients.status), (200, 200), "{path}: {}", clients.text());
        let (own, shown) = (own.json(), clients.json());
        for shown in [&own, &shown] {
            let mut found = members(shown);
            found.sort_unstable();
            assert_eq!(found, expected, "{path}");
        }
        assert_eq!(clients.header("access-control-allow-origin"), Some("*"), "{path}");
        assert!(clients.header("x-request-id").is_some() && clients.header("cache-control") == Some("no-store"));
    }
    let keys = ask(&keyweir, "GET", "/keys", Some(TOKEN)).json();
    assert_eq!((&keys["total"], &keys["active"], &keys["keys"][0]["state"]), (&json!(2), &json!(1), &json!("cooling")));
    assert!(!keys.to_string().contains("sk-"), "{keys}");
    let head = ask(&keyweir, "GET", "/stats", Some(TOKEN));
    let mut connection = keyweir.connect();
    connection.send(format!("HEAD /stats HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"));
    assert_eq!(connection.response_to("HEAD").header("content-length"), head.header("content-length"));
}

#[test]
fn clients_look_and_operators_act() {
    let mock = MockProvider::start();
    let keyweir = start(&mock, true);
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    assert_eq!(ask(&keyweir, "GET", "/info", None).status, 200, "public");
    for path in ["/stats", "/health", "/balance", "/blacklist", "/keys"] {
        for token in [None, Some("kw-guess"), Some(ADMIN_TOKEN)] {
            let answer = ask(&keyweir, "GET", path, token);
            assert_eq!((answer.status, &answer.json()["error"]["code"]), (401, &json!("unauthorized")), "{path}");
        }
    }
    for (method, path) in [("POST", "/reload-keys"), ("POST", "/reset-keys"), ("GET", "/reset-keys")] {
        for token in [None, Some(TOKEN)] {
            let answer = ask(&keyweir, method, path, token);
            assert_eq!((answer.status, &answer.json()["error"]["code"]), (401, &json!("unauthorized")), "{path}");
        }
    }
    assert_eq!(keyweir.marked(), ["429-1"]);
    let reset = ask(&keyweir, "GET", "/reset-keys", Some(ADMIN_TOKEN));
    assert_eq!((reset.status, &reset.json()["success"]), (200, &json!(true)), "{}", reset.text());
    assert!(keyweir.marked().is_empty());
    let reload = ask(&keyweir, "POST", "/reload-keys", Some(ADMIN_TOKEN)).json();
    assert_eq!((&reload["success"], &reload["keyCount"]), (&json!(true), &json!(3)), "{reload}");
    let wrong = ask(&keyweir, "DELETE", "/stats", Some(TOKEN));
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET,HEAD")));
    assert_eq!(ask(&keyweir, "GET", "/stats?shape=none", Some(TOKEN)).status, 400);
    assert_eq!(ask(&keyweir, "GET", "/stats?pool=none", Some(TOKEN)).status, 404);
    assert_eq!(ask(&keyweir, "GET", &format!("/stats?key={TOKEN}"), None).status, 200, "as from a browser");
}

#[test]
fn a_client_sees_the_pools_it_may_use() {
    let mock = MockProvider::start();
    let keyweir = start(&mock, true);
    let total = |path: &str, token| ask(&keyweir, "GET", path, Some(token)).json()["total"].clone();
    assert_eq!((total("/keys", TOKEN), total("/keys?pool=q", TOKEN)), (json!(2), json!(1)));
    assert_eq!((total("/keys", SCOPED), total("/keys?pool=q", SCOPED)), (json!(1), json!(1)));
    let denied = ask(&keyweir, "GET", "/keys?pool=p", Some(SCOPED));
    assert_eq!((denied.status, &denied.json()["error"]["code"]), (403, &json!("pool_denied")));
    assert_ne!(ask(&keyweir, "GET", "/keys?pool=q&pool=p", Some(SCOPED)).status, 200);
}

#[test]
fn they_are_closed_to_clients_unless_opened() {
    let mock = MockProvider::start();
    let keyweir = start(&mock, false);
    for path in ["/stats", "/info", "/keys"] {
        assert_eq!(ask(&keyweir, "GET", path, Some(TOKEN)).status, 404, "{path}");
    }
    let mut connection = Connection::open(keyweir.admin);
    connection.send("GET /keys HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(connection.response().status, 401);
}

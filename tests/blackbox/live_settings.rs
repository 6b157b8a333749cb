//! A reload takes over every setting but the few that need a restart.

use std::fs;

use serde_json::json;

use crate::harness::{ADMIN_TOKEN, Config, Connection, Http2, Keyweir, MockProvider, TOKEN, chat, eventually, request};

fn start() -> (MockProvider, Keyweir) {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    (mock, keyweir)
}

fn get(address: std::net::SocketAddr, path: &str, host: &str, token: &str) -> u16 {
    let mut connection = Connection::open(address);
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"));
    connection.response_to("GET").status
}

#[test]
fn the_admin_token_and_hosts() {
    let (_mock, keyweir) = start();
    assert_eq!(get(keyweir.admin, "/stats", "keys.example", ADMIN_TOKEN), 421);
    keyweir.rewrite(ADMIN_TOKEN, "kwa-another-token-of-mine, hosts: [keys.example]");
    keyweir.reload();
    assert_eq!(get(keyweir.admin, "/stats", "localhost", ADMIN_TOKEN), 401);
    assert_eq!(get(keyweir.admin, "/stats", "keys.example", "kwa-another-token-of-mine"), 200);
}

#[test]
fn the_metrics_token() {
    let (_mock, keyweir) = start();
    let listen = format!("metrics: {{listen: \"{}\"", keyweir.metrics);
    keyweir.rewrite(&listen, &format!("{listen}, token: scraper-token-1234"));
    keyweir.reload();
    assert_eq!(get(keyweir.metrics, "/metrics", "localhost", "wrong"), 401);
    assert_eq!(get(keyweir.metrics, "/metrics", "localhost", "scraper-token-1234"), 200);
}

#[test]
fn client_tokens() {
    let (_mock, keyweir) = start();
    let models = |token: &str| get(keyweir.proxy, "/v1/models", "localhost", token);
    keyweir.rewrite(TOKEN, "kw-another-client-token");
    keyweir.reload();
    assert_eq!((models(TOKEN), models("kw-another-client-token")), (401, 200));
    // Without any token nobody gets in but by the one that is made then.
    keyweir.rewrite("tokens: [{name: test, token: kw-another-client-token}]", "");
    keyweir.reload();
    let made = fs::read_to_string(keyweir.file("first-run.txt")).unwrap();
    let made = made.lines().find_map(|line| line.strip_prefix("client token: ")).unwrap();
    assert_eq!((models("kw-another-client-token"), models(made)), (401, 200));
}

#[test]
fn limits_of_heads_and_bodies() {
    let (_mock, keyweir) = start();
    let long = format!("X-Long: {}", "x".repeat(4000));
    let get = || keyweir.send(request("GET", "/v1/models", &[&long], b"")).status;
    let http2 =
        || Http2::open(keyweir.proxy).begin("GET", "/v1/models", &[("x-long", &long)], true).answer().head.status;
    let post = || keyweir.send(request("POST", "/v1/chat/completions", &[], &vec![b'x'; 5000])).status;
    assert_eq!((get(), http2(), post()), (200, 200, 200));
    keyweir.rewrite("limits: {}", "limits: {headers: 2KiB, body: 4KiB, header_timeout: 200ms}");
    assert_eq!(keyweir.reload()["restart_required"], json!([]));
    assert_eq!((get(), http2(), post()), (431, 431, 413));
    let mut slow = keyweir.connect();
    slow.send("GET / HTTP/1.1\r\n");
    assert_eq!(slow.response().status, 408);
}

#[test]
fn limits_of_what_is_open_at_once() {
    let (_mock, keyweir) = start();
    let mut stream = keyweir.connect();
    stream.send(chat(&json!({"stream": true, "mock": {"events": 100_000, "interval_ms": 10}})));
    stream.until_head_and("\"T");
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    keyweir.rewrite("limits: {}", "limits: {in_flight: 1}");
    keyweir.reload();
    assert_eq!(keyweir.chat(&json!({})).code(), "overloaded");
    keyweir.rewrite("limits: {in_flight: 1}", "limits: {connections: 1}");
    keyweir.reload();
    eventually("closed connections are counted", || {
        keyweir.send(request("GET", "/livez", &[], b"")).code() == "overloaded"
    });
    keyweir.rewrite("limits: {connections: 1}", "limits: {keepalive: 100ms}");
    keyweir.reload();
    let mut idle = keyweir.connect();
    idle.expect_closed();
}

#[test]
fn http2_limits_behind_tls_wait_for_a_restart() {
    let mock = MockProvider::start();
    let authority = crate::harness::Authority::new();
    let (cert, key) = authority.issue(crate::harness::Dates::Valid);
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).proxy_tls(cert, key).start();
    keyweir.rewrite("limits: {}", "limits: {headers: 2KiB, keepalive: 10s}");
    let named = json!(["server.limits.headers (HTTP/2 over TLS)", "server.limits.keepalive (HTTP/2 over TLS)"]);
    assert_eq!(keyweir.reload()["restart_required"], named);
}

#[test]
fn cors_and_pools() {
    let (_mock, keyweir) = start();
    let origin = "Origin: https://chat.example";
    let allowed = |path: &str| {
        let answer = keyweir.send(request("GET", path, &[origin], b""));
        (answer.status, answer.header("access-control-allow-origin").map(str::to_owned))
    };
    assert_eq!(allowed("/p/v1/models"), (200, None));
    keyweir.rewrite("provider: generic", "provider: generic, paths: [/q], routes: [models]");
    keyweir.rewrite("threads: 2", "threads: 2\n  # changed below");
    let listen = format!("listen: [\"{}\"]", keyweir.proxy);
    keyweir.rewrite(&listen, &format!("{listen}, cors: {{origins: [\"https://chat.example\"]}}"));
    keyweir.reload();
    assert_eq!(allowed("/p/v1/models").0, 404);
    assert_eq!(allowed("/q/v1/models"), (200, Some("https://chat.example".to_owned())));
    assert_eq!(keyweir.chat(&json!({})).code(), "route_denied");
}

#[test]
fn logs() {
    let (_mock, keyweir) = start();
    let first = keyweir.chat(&json!({}));
    keyweir.access_line(first.header("x-request-id").unwrap());
    keyweir.rewrite("log: {level: info, access: stdout}", "log: {level: info, format: text, access: access.log}");
    keyweir.reload();
    eventually("text for people", || {
        keyweir.log().lines().last().is_some_and(|line| line.contains(" INFO  keyweir::manage"))
    });
    let before = keyweir.access_log();
    let second = keyweir.chat(&json!({}));
    let id = second.header("x-request-id").unwrap();
    let file = || fs::read_to_string(keyweir.file("access.log")).unwrap();
    eventually("the line", || file().contains(id));
    assert!(file().contains(" 200 POST /v1/chat/completions "), "{}", file());
    assert_eq!(keyweir.access_log(), before);

    fs::rename(keyweir.file("access.log"), keyweir.file("access.log.1")).unwrap();
    keyweir.rewrite("level: info", "level: warn");
    keyweir.reload();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    eventually("the rotated file", || {
        fs::read_to_string(keyweir.file("access.log")).is_ok_and(|text| !text.is_empty())
    });
    keyweir.reload();
    keyweir.rewrite("access: access.log", "access: no/such/folder/access.log");
    let refused = keyweir.admin("POST", "/api/v1/reload");
    assert!(refused.status == 422 && refused.text().contains("log.access"), "{}", refused.text());
    eventually("the error", || keyweir.log().contains("The reload was refused"));
    assert_eq!(keyweir.log().matches("Reloaded").count(), 1, "quiet since: {}", keyweir.log());
}

#[test]
fn the_grace_of_a_shutdown() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-ok-1"]).grace("10m").start();
    let mut stream = keyweir.connect();
    stream.send(chat(&json!({"stream": true, "mock": {"events": 100_000, "interval_ms": 10}})));
    stream.until_head_and("\"T");
    keyweir.rewrite("grace: 10m", "grace: 200ms");
    keyweir.reload();
    keyweir.signal("TERM");
    assert_eq!(keyweir.wait().code(), Some(0));
    assert!(!stream.rest().1);
}

//! Old clients, browsers, WebSockets, proxies in front: each spoken to in its own way.

use serde_json::json;

use crate::harness::{Config, Connection, Http2, MockProvider, TOKEN, chat, dial, eventually, request};

fn http10(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[test]
fn an_http10_client_gets_no_chunks() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let stream = json!({"stream": true, "mock": {"events": 3, "interval_ms": 1}}).to_string();
    let mut connection = keyweir.connect();
    connection.send(http10("POST", "/v1/chat/completions", &stream));
    let answer = connection.response();
    assert_eq!((answer.status, answer.header("transfer-encoding")), (200, None));
    let text = answer.text();
    assert!(text.starts_with("data: {") && text.ends_with("data: [DONE]\n\n"), "{text}");
    let mut connection = keyweir.connect();
    connection.send(http10("POST", "/v1/chat/completions", "{}"));
    let answer = connection.response();
    assert_eq!(answer.json()["choices"][0]["finish_reason"], "stop");
    connection.expect_closed();
    let mut connection = keyweir.connect();
    connection.send(http10("GET", "/nowhere", ""));
    assert_eq!(connection.response().code(), "unknown_path");
    connection.expect_closed();
}

#[test]
fn a_broken_stream_tells_an_http10_client_too() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-cut-1"]).start();
    let mut connection = keyweir.connect();
    connection.send(http10("POST", "/v1/chat/completions", &json!({"stream": true}).to_string()));
    let text = connection.response().text();
    assert!(text.contains("\"keyweir_error\"") && !text.contains("[DONE]"), "{text}");
}

#[test]
fn head_is_answered_without_a_body() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let mut connection = keyweir.connect();
    for (path, status) in [("/", 200), ("/readyz", 200), ("/nowhere", 404), ("/v1/models", 404), ("/livez", 200)] {
        connection.send(request("HEAD", path, &[], b""));
        let answer = connection.response_to("HEAD");
        assert_eq!(answer.status, status, "{path}; the mock knows no HEAD");
    }
    connection.send(request("GET", "/v1/models", &[], b""));
    assert_eq!(connection.response().json()["object"], "list", "the connection is where it should be");
}

#[test]
fn several_requests_share_a_connection() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-429-1", "sk-401-1", "sk-ok-1"]).start();
    let mut connection = keyweir.connect();
    for i in 0..10 {
        let is_stream = i % 2 == 0;
        connection.send(chat(&json!({"stream": is_stream, "mock": {"events": 2, "interval_ms": 1}})));
        let answer = connection.response();
        assert!(answer.status == 200 && answer.is_complete);
        connection.send(request(
            "POST",
            "/v1/chat/completions",
            &["Transfer-Encoding: chunked"],
            b"2\r\n{}\r\n0\r\n\r\n",
        ));
        assert_eq!(connection.response().status, 200);
        connection.send(request("GET", "/nowhere", &[], b""));
        assert_eq!(connection.response().status, 404);
        connection.send(request("POST", "/nowhere", &[], &[b'x'; 10_000]));
        assert_eq!(connection.response().status, 404, "a refused body is read over");
    }
}

/// Pingora's loop may still watch the client when a quick answer is out: the next request is not stray data.
#[test]
fn requests_that_follow_at_once_are_not_lost() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = keyweir.connect();
                for _ in 0..400 {
                    connection.send(chat(&json!({})));
                    assert_eq!(connection.response().status, 200);
                }
            });
        }
    });
    assert!(!keyweir.access_log().contains("cancelled"));
}

/// Pipelining is not served: the client has to ask again, and sees that it has to.
#[test]
fn of_requests_sent_together_the_first_is_answered() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    for first in [chat(&json!({})), request("GET", "/v1/models", &[], b""), request("GET", "/livez", &[], b"")] {
        let asked = mock.count("requests");
        let mut connection = keyweir.connect();
        connection.send([first.clone(), chat(&json!({}))].concat());
        let is_local = first.windows(6).any(|window| window == b"/livez");
        assert_eq!(connection.response().status, 200);
        connection.expect_closed();
        assert_eq!(mock.count("requests"), asked + u64::from(!is_local), "the second one was not even begun");
    }
}

#[test]
fn a_request_sent_before_its_turn_ends_both() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-hang-1"]).start();
    let mut connection = keyweir.connect();
    connection.send(chat(&json!({})));
    mock.expect("requests", 1);
    connection.send(request("GET", "/livez", &[], b""));
    let answer = connection.response();
    assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"));
    assert!(answer.text().contains("before this one's answer"), "{}", answer.text());
    connection.expect_closed();
    mock.expect("waits_cancelled", 1);
    eventually("the lease's end", || keyweir.in_flight() == 0);
    assert_eq!(keyweir.marked(), [""; 0]);
}

#[test]
fn a_request_sent_into_a_stream_aborts_it() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let mut connection = keyweir.connect();
    connection.send(chat(&json!({"stream": true, "mock": {"events": 100_000, "interval_ms": 5}})));
    connection.until_head_and("\"T");
    connection.send(request("GET", "/livez", &[], b""));
    let (text, is_complete) = connection.rest();
    assert!(!is_complete && !text.contains("HTTP/1.1"), "{text}");
    mock.expect("streams_cancelled", 1);
}

/// A client that closes its half of the connection looks like one that left.
#[test]
fn a_half_closed_connection_gets_no_answer_from_a_provider() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-hang-1"]).start();
    let half_closed = |request: Vec<u8>| {
        let stream = dial(keyweir.proxy);
        let mut connection = Connection::over(stream.try_clone().unwrap());
        connection.send(request);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        String::from_utf8_lossy(&connection.raw_rest()).into_owned()
    };
    let text = String::from_utf8(chat(&json!({}))).unwrap();
    let id = "x-request-id: half-closed";
    assert_eq!(half_closed(text.replacen("\r\n", &format!("\r\n{id}\r\n"), 1).into_bytes()), "");
    assert_eq!(keyweir.access_line("half-closed")["outcome"], "cancelled");
    eventually("the lease's end", || keyweir.in_flight() == 0);
    assert!(half_closed(request("GET", "/livez", &[], b"")).ends_with("ok\n"), "what is known at once is said");
    assert!(half_closed(request("GET", "/nowhere", &[], b"")).starts_with("HTTP/1.1 404"));
}

#[test]
fn a_client_may_ask_for_the_connections_end() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let mut connection = keyweir.connect();
    connection.send(request("GET", "/v1/models", &["Connection: close"], b""));
    assert_eq!(connection.response().header("connection"), Some("close"));
    connection.expect_closed();
}

#[test]
fn http2_serves_many_requests_at_once() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1", "sk-429-1"]).start();
    let client = Http2::open(keyweir.proxy);
    let exchanges: Vec<_> = (0..50)
        .map(|_| {
            let mut exchange = client.begin("POST", "/v1/chat/completions", &[], false);
            exchange.send(json!({"stream": true, "mock": {"events": 5, "interval_ms": 5}}).to_string(), true);
            exchange
        })
        .collect();
    for exchange in exchanges {
        let answer = exchange.answer().finish();
        assert!(answer.status == 200 && answer.is_complete && answer.text().ends_with("data: [DONE]\n\n"));
        assert_eq!(answer.header("connection"), None, "HTTP/2 has no such header");
    }
}

#[test]
fn browsers_may_ask_where_their_origin_is_listed() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).proxy("cors: {origins: [\"https://app.test\"]}").start();
    let preflight = |origin: &str| {
        let mut connection = keyweir.connect();
        connection.send(format!(
            "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: authorization,content-type\r\n\r\n"
        ));
        connection.response_to("OPTIONS")
    };
    let allowed = preflight("https://app.test");
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (204, Some("https://app.test")));
    assert_eq!(allowed.header("access-control-allow-headers"), Some("authorization,content-type"));
    assert!(allowed.header("access-control-allow-methods").unwrap().contains("POST"));
    assert_eq!(preflight("https://evil.test").header("access-control-allow-origin"), None);
    for (path, status) in [("/v1/models", 200), ("/nowhere", 404)] {
        let mut connection = keyweir.connect();
        connection.send(request("GET", path, &["Origin: https://app.test"], b""));
        let answer = connection.response();
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.test"), "{path}");
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
}

#[test]
fn without_origins_there_is_no_cors() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let answer = keyweir.send(request("POST", "/v1/chat/completions", &["Origin: https://app.test"], b"{}"));
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
}

const HANDSHAKE: &[&str] = &[
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Cookie: LEAK",
    "X-Forwarded-For: 203.0.113.9",
];

#[test]
fn a_websocket_is_tunnelled() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(&mock, "routes: [\"*\"]", &["sk-ok-1"]).start();
    let mut connection = keyweir.connect();
    connection.send(request("GET", "/v1/realtime?model=x", HANDSHAKE, b""));
    let answer = connection.response();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    for text in ["hello", "and again"] {
        connection.send(text);
        assert_eq!(connection.raw(text.len()), text.as_bytes());
    }
    let seen = mock.last().pop().unwrap().to_string();
    assert!(seen.contains("Bearer sk-ok-1") && !seen.contains(TOKEN) && !seen.contains("LEAK"), "{seen}");
    assert!(!seen.contains("203.0.113.9"), "{seen}");
    drop(connection);
    crate::harness::eventually("the tunnel's end", || keyweir.in_flight() == 0);
}

/// A1: a native connection, left idle by a refused WebSocket, must not carry a replayable request: its body would never
/// be sent there.
#[test]
fn a_refused_websocket_does_not_capture_the_next_request() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    for _ in 0..3 {
        let mut connection = keyweir.connect();
        connection.send(request("GET", "/v1/models", HANDSHAKE, b""));
        assert_eq!(connection.response().status, 200, "an ordinary answer");
        let answer = keyweir.send(request("POST", "/v1/chat/completions", &[], &[b'x'; 100_000]));
        assert_eq!(answer.status, 200);
        assert_eq!(mock.last().pop().unwrap()["body_bytes"], 100_000);
    }
}

#[test]
fn the_access_log_knows_the_client_behind_trusted_proxies_only() {
    let mock = MockProvider::start();
    let trusting = Config::pool(&mock, &["sk-ok-1"]).proxy("trusted_proxies: [127.0.0.0/8]").start();
    let careful = Config::pool(&mock, &["sk-ok-1"]).start();
    for (keyweir, client) in [(&trusting, "203.0.113.9"), (&careful, "127.0.0.1")] {
        let lines = ["X-Forwarded-For: 198.51.100.1, 203.0.113.9", "X-Request-Id: forwarded"];
        assert_eq!(keyweir.send(request("POST", "/v1/chat/completions", &lines, b"{}")).status, 200);
        assert_eq!(keyweir.access_line("forwarded")["client"], client);
    }
}

#[test]
fn the_access_log_tells_what_happened() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-429-1", "sk-ok-1"]).start();
    let body = br#"{"model": "gpt-4o", "messages": []}"#;
    keyweir.send(request("POST", "/v1/chat/completions?key=SECRET", &["X-Request-Id: logged"], body));
    let line = keyweir.access_line("logged");
    for (field, value) in [
        ("method", json!("POST")),
        ("path", json!("/v1/chat/completions")),
        ("pool", json!("p")),
        ("key", json!("ok-1")),
        ("token", json!("test")),
        ("model", json!("gpt-4o")),
        ("status", json!(200)),
        ("outcome", json!("ok")),
        ("attempts", json!(2)),
        ("bytes_in", json!(body.len())),
        ("upstream", json!(mock.to_string())),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    assert!(!keyweir.access_log().contains("SECRET"));
}

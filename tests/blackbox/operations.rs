//! Starting, ending and being misconfigured.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use crate::harness::{
    Config, Connection, Http2, Keyweir, MockProvider, chat, eventually, free_address, new_directory, request, spawn,
};

fn slow_stream() -> serde_json::Value {
    json!({"stream": true, "mock": {"events": 30, "interval_ms": 20}})
}

fn endless_stream() -> serde_json::Value {
    json!({"stream": true, "mock": {"events": 100_000, "interval_ms": 10}})
}

#[test]
fn an_idle_server_ends_at_once() {
    let mock = MockProvider::start();
    for signal in ["TERM", "INT"] {
        let mut keyweir = Config::pool(&mock, &["sk-ok-1"]).grace("10m").start();
        let mut kept = keyweir.connect();
        kept.send(chat(&json!({})));
        assert_eq!(kept.response().status, 200);
        let http2 = Http2::open(keyweir.proxy);
        assert_eq!(http2.post("/v1/chat/completions", &json!({})).finish().status, 200);
        // Idle connections must not use up the grace period.
        keyweir.signal(signal);
        assert_eq!(keyweir.wait().code(), Some(0), "SIG{signal}");
        assert!(keyweir.log().contains("Stopped."), "the log is complete: {}", keyweir.log());
        assert_eq!(keyweir.access_log().lines().count(), 2, "and the access log");
    }
}

#[test]
fn a_running_stream_may_finish() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-ok-1"]).grace("1m").start();
    let mut stream = keyweir.connect();
    stream.send(chat(&slow_stream()));
    assert_eq!(stream.head().status, 200);
    stream.until("\"T");
    let http2 = Http2::open(keyweir.proxy);
    let mut answer = http2.post("/v1/chat/completions", &slow_stream());
    answer.until("\"T");
    keyweir.signal("TERM");
    eventually("the drain", || std::net::TcpStream::connect(keyweir.proxy).is_err());
    let (rest, is_complete) = stream.rest();
    assert!(is_complete && rest.ends_with("data: [DONE]\n\n"), "{rest}");
    let answer = answer.finish();
    assert!(answer.is_complete && answer.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(keyweir.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-ok-1"]).grace("10m").start();
    let mut stream = keyweir.connect();
    stream.send(chat(&endless_stream()));
    stream.until_head_and("\"T");
    keyweir.signal("TERM");
    eventually("the drain", || keyweir.log().contains("Shutting down"));
    assert!(keyweir.exit_status().is_none(), "the stream goes on");
    eventually("the end", || {
        keyweir.signal_if_running("TERM");
        keyweir.exit_status().is_some()
    });
    assert_eq!(keyweir.wait().code(), Some(0));
    assert!(!stream.rest().1, "the stream was cut off");
}

#[test]
fn the_grace_period_ends() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-ok-1"]).grace("300ms").start();
    let mut stream = keyweir.connect();
    stream.send(chat(&endless_stream()));
    stream.until_head_and("\"T");
    keyweir.signal("TERM");
    assert_eq!(keyweir.wait().code(), Some(0));
    assert!(!stream.rest().1);
}

#[test]
fn a_draining_server_says_so() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).grace("1m").start();
    let mut stream = keyweir.connect();
    stream.send(chat(&endless_stream()));
    stream.until_head_and("\"T");
    let client = Http2::open(keyweir.proxy);
    assert_eq!(client.begin("GET", "/readyz", &[], true).answer().finish().status, 200);
    keyweir.signal("TERM");
    eventually("the drain", || keyweir.log().contains("Shutting down"));
    let mut refused = None;
    eventually("a refusal", || {
        let Some(answer) = client.try_get("/v1/models") else { return true };
        let status = answer.status;
        refused = Some(answer);
        status == 503
    });
    if let Some(answer) = refused.filter(|answer| answer.status == 503) {
        assert_eq!((answer.code().as_str(), answer.header("retry-after")), ("draining", Some("1")));
    }
}

/// A stream keeps the server alive meanwhile.
fn drain_with_a_stream(config: &Config) -> (Keyweir, Connection) {
    let keyweir = config.start();
    let mut stream = keyweir.connect();
    stream.send(chat(&endless_stream()));
    stream.until_head_and("\"T");
    (keyweir, stream)
}

#[test]
fn readiness_says_503_for_as_long_as_the_drain_lasts() {
    let mock = MockProvider::start();
    let (keyweir, _stream) = drain_with_a_stream(&Config::pool(&mock, &["sk-ok-1"]).grace("1m"));
    keyweir.signal("TERM");
    eventually("the end of listening", || std::net::TcpStream::connect(keyweir.proxy).is_err());
    let ready = keyweir.admin("GET", "/readyz");
    assert!(ready.status == 503 && ready.text().contains("not-draining failed"), "{}", ready.text());
    assert_eq!(keyweir.admin("GET", "/livez").status, 200);
    assert_eq!(keyweir.metric("keyweir_in_flight_requests{pool=\"p\"}"), 1.0, "a drain can be watched");
}

#[test]
fn during_the_delay_requests_are_served_and_clients_told_to_leave() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-ok-1"]).delay("2s").start();
    let mut kept = keyweir.connect();
    let http2 = Http2::open(keyweir.proxy);
    keyweir.signal("TERM");
    eventually("not ready", || keyweir.admin("GET", "/readyz").status == 503);
    kept.send(chat(&json!({})));
    let answer = kept.response();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    kept.expect_closed();
    assert_eq!(keyweir.chat(&json!({})).status, 200, "new connections too");
    assert_eq!(http2.post("/v1/chat/completions", &json!({})).finish().status, 200);
    let probe = keyweir.send(request("GET", "/readyz", &[], b""));
    assert_eq!(probe.status, 503, "at the proxy listener too");
    assert_eq!(keyweir.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_the_delay_too() {
    let mock = MockProvider::start();
    let (mut keyweir, mut stream) = drain_with_a_stream(&Config::pool(&mock, &["sk-ok-1"]).delay("1h"));
    keyweir.signal("TERM");
    eventually("not ready", || keyweir.admin("GET", "/readyz").status == 503);
    keyweir.signal("INT");
    assert_eq!(keyweir.wait().code(), Some(0));
    assert!(!stream.rest().1);
}

#[test]
fn a_kept_connection_is_told_to_go_elsewhere() {
    let mock = MockProvider::start();
    let config = Config::pool(&mock, &["sk-ok-1"]).grace("1m");
    let keyweir = config.start();
    let mut kept = keyweir.connect();
    kept.send(chat(&json!({})));
    assert_eq!(kept.response().status, 200);
    let mut finite = keyweir.connect();
    finite.send(chat(&slow_stream()));
    finite.until_head_and("\"T");
    let mut stream = keyweir.connect();
    stream.send(chat(&endless_stream()));
    stream.until_head_and("\"T");
    keyweir.signal("TERM");
    eventually("the drain", || keyweir.log().contains("New requests are refused"));
    let expect_refusal = |mut kept: Connection| {
        kept.send(chat(&json!({})));
        let answer = kept.response();
        assert_eq!((answer.status, answer.code().as_str()), (503, "draining"));
        assert_eq!((answer.header("retry-after"), answer.header("connection")), (Some("1"), Some("close")));
        kept.expect_closed();
    };
    expect_refusal(kept);
    assert!(finite.rest().1, "a running stream ends");
    expect_refusal(finite);
}

#[test]
fn an_idle_connection_is_not_kept_through_a_drain() {
    let mock = MockProvider::start();
    let (keyweir, _stream) = drain_with_a_stream(&Config::pool(&mock, &["sk-ok-1"]).grace("1m"));
    let mut idle = keyweir.connect();
    keyweir.signal("TERM");
    idle.expect_closed();
    assert_eq!(keyweir.admin("GET", "/readyz").status, 503, "the server itself goes on");
}

/// Starts the binary, which must refuse to run; its exit code and what it says.
fn refused(dir: &Path, args: &[&str]) -> (i32, String) {
    let mut child = spawn(dir, args, &[]);
    eventually("the refusal", || child.try_wait().unwrap().is_some());
    let code = child.wait().unwrap().code().unwrap();
    (code, fs::read_to_string(dir.join("stderr.log")).unwrap() + &fs::read_to_string(dir.join("stdout.log")).unwrap())
}

#[test]
fn a_taken_port_is_named() {
    let mock = MockProvider::start();
    let config = Config::pool(&mock, &["sk-ok-1"]);
    let running = config.start();
    for (setting, address) in [
        ("server.proxy.listen", running.proxy),
        ("server.admin.listen", running.admin),
        ("server.metrics.listen", running.metrics),
    ] {
        let dir = new_directory();
        let mut addresses = [free_address(), free_address(), free_address()];
        addresses[["server.proxy.listen", "server.admin.listen", "server.metrics.listen"]
            .iter()
            .position(|name| *name == setting)
            .unwrap()] = address;
        fs::write(dir.join("keyweir.yaml"), config.yaml(addresses)).unwrap();
        fs::write(dir.join("keys.yaml"), "p: [sk-ok-1]\n").unwrap();
        let (code, text) = refused(&dir, &["run", "-c", "keyweir.yaml"]);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(setting) && text.contains(&address.to_string()), "{text}");
        fs::remove_dir_all(dir).unwrap();
    }
    assert_eq!(running.chat(&json!({})).status, 200, "the running one is not disturbed");
}

#[test]
fn a_bad_configuration_is_refused_with_its_place() {
    let dir = new_directory();
    let missing = refused(&dir, &["run", "-c", "nowhere.yaml"]);
    assert!(missing.0 == 1 && missing.1.contains("nowhere.yaml"), "{missing:?}");
    for (text, place) in [
        ("pools:\n  p: {provider: nobody}\n", "keyweir.yaml:2:"),
        ("pools:\n  p: {provider: generic, targets: [{url: \"http://127.0.0.1:1\"}], retrys: {}}\n", "keyweir.yaml:2:"),
        ("pools:\n  p: [\n", "keyweir.yaml:"),
        ("server:\n  limits: {body: 1 banana}\n", "keyweir.yaml:2:"),
        ("clients:\n  tokens: [{name: a, token: \"${KEYWEIR_NO_SUCH_VARIABLE}\"}]\n", "keyweir.yaml:2:"),
    ] {
        fs::write(dir.join("keyweir.yaml"), text).unwrap();
        for command in ["run", "check"] {
            let (code, said) = refused(&dir, &[command, "-c", "keyweir.yaml"]);
            assert!(code == 1 && said.contains(place), "{command} {text:?}: {code} {said}");
        }
    }
    fs::write(dir.join("keyweir.yaml"), "pools:\n  p: {provider: openai}\nkeys_file: keys.yaml\n").unwrap();
    fs::write(dir.join("keys.yaml"), "p:\n- {key: sk-canary-in-a-bad-file, wieght: 2}\n").unwrap();
    let (code, said) = refused(&dir, &["run", "-c", "keyweir.yaml"]);
    assert!(code == 1 && said.contains("keys.yaml:2:") && !said.contains("canary"), "{said}");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn wrong_usage_is_status_2() {
    let dir = new_directory();
    assert_eq!(refused(&dir, &["frobnicate"]).0, 2);
    assert_eq!(refused(&dir, &["run", "--no-such-option"]).0, 2);
    fs::remove_dir_all(dir).unwrap();
}

fn first_run_token(keyweir: &Keyweir, which: &str) -> String {
    let text = fs::read_to_string(keyweir.file("first-run.txt")).unwrap();
    text.lines().find_map(|line| line.strip_prefix(which)).unwrap().trim().to_owned()
}

#[test]
fn a_first_run_makes_tokens_and_keeps_them() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-ok-1"]).clients("").start();
    let path = keyweir.file("first-run.txt");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let token = first_run_token(&keyweir, "client token:");
    let ask = |keyweir: &Keyweir| {
        keyweir.send(format!("GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n")).status
    };
    assert_eq!((ask(&keyweir), keyweir.chat(&json!({})).status), (200, 401));
    assert!(keyweir.log().contains("first-run.txt") && !keyweir.log().contains(&token), "{}", keyweir.log());
    keyweir.restart();
    assert_eq!(ask(&keyweir), 200, "the same token after a restart");
    assert!(!keyweir.log().contains(&token));
}

#[test]
fn a_server_can_listen_on_a_unix_socket_and_several_addresses() {
    let mock = MockProvider::start();
    let second = free_address();
    let dir = new_directory();
    let socket = dir.join("proxy.sock");
    let keyweir =
        Config::pool(&mock, &["sk-ok-1"]).also_listen(&format!("\"{second}\", \"unix:{}\"", socket.display())).start();
    let mut other = Connection::open(second);
    other.send(request("GET", "/v1/models", &[], b""));
    assert_eq!(other.response().status, 200);
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    std::io::Write::write_all(&mut stream, &request("GET", "/v1/models", &["Connection: close"], b"")).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    drop(keyweir);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_listener_that_is_lost_is_not_silently_missing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mock = MockProvider::start();
    let mut keyweir =
        Config::pool(&mock, &["sk-ok-1"]).also_listen(&format!("\"{}\"", taken.local_addr().unwrap())).launch();
    assert_eq!(keyweir.wait().code(), Some(1));
    assert!(keyweir.log().contains("server.proxy.listen"), "{}", keyweir.log());
}

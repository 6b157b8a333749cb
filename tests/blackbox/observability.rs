//! What an operator sees: metrics, the admin listener, the older balancers' endpoints.

use serde_json::json;

use crate::harness::{Config, Connection, MockProvider, eventually, request};

#[test]
fn the_metrics_have_their_names() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-429-1", "sk-401-1", "sk-ok-1"]).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    keyweir.send(request("POST", "/nowhere", &[], b""));
    // A request is counted when it is over, a moment after its answer.
    eventually("the last request's count", || keyweir.metrics_text().contains("code=\"404\""));
    let text = keyweir.metrics_text();
    for name in [
        "keyweir_requests_total",
        "keyweir_request_duration_seconds",
        "keyweir_time_to_first_byte_seconds",
        "keyweir_overhead_seconds",
        "keyweir_in_flight_requests",
        "keyweir_upstream_attempts_total",
        "keyweir_retries_total",
        "keyweir_keys",
        "keyweir_key_state",
        "keyweir_key_transitions_total",
        "keyweir_config_last_reload_successful",
        "keyweir_config_last_reload_success_timestamp_seconds",
        "keyweir_log_dropped_total",
        "keyweir_build_info",
        "process_resident_memory_bytes",
    ] {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} is missing");
    }
    for (series, value) in [
        ("keyweir_requests_total{code=\"200\",outcome=\"ok\",pool=\"p\"}", 1.0),
        ("keyweir_requests_total{code=\"404\",outcome=\"rejected\",pool=\"\"}", 1.0),
        ("keyweir_upstream_attempts_total{key=\"429-1\",pool=\"p\",result=\"rate_limited\"}", 1.0),
        ("keyweir_upstream_attempts_total{key=\"401-1\",pool=\"p\",result=\"unauthorized\"}", 1.0),
        ("keyweir_upstream_attempts_total{key=\"ok-1\",pool=\"p\",result=\"ok\"}", 1.0),
        ("keyweir_keys{pool=\"p\",state=\"ready\"}", 1.0),
        ("keyweir_keys{pool=\"p\",state=\"cooling\"}", 1.0),
        ("keyweir_keys{pool=\"p\",state=\"disabled\"}", 1.0),
        ("keyweir_key_state{key=\"401-1\",pool=\"p\",state=\"disabled\"}", 1.0),
        ("keyweir_key_state{key=\"401-1\",pool=\"p\",state=\"ready\"}", 0.0),
        ("keyweir_key_transitions_total{pool=\"p\",reason=\"unauthorized\",to=\"disabled\"}", 1.0),
        ("keyweir_retries_total{pool=\"p\",reason=\"rate_limited\"}", 1.0),
        ("keyweir_in_flight_requests{pool=\"p\"}", 0.0),
        ("keyweir_request_duration_seconds_count{pool=\"p\"}", 1.0),
        ("keyweir_config_last_reload_successful", 1.0),
    ] {
        assert_eq!(keyweir.metric(series), value, "{series} in\n{text}");
        assert!(text.contains(series), "{series} is missing");
    }
    assert!(text.contains("pingora=\"0.9.1\""), "the versions are told");
}

#[test]
fn nothing_a_client_types_becomes_a_label() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    for i in 0..20 {
        let body = json!({"model": format!("typed-{i}")});
        assert_eq!(keyweir.send(crate::harness::post(&format!("/v1/models/typed-{i}"), &body)).status, 404);
        keyweir.send(format!("TYPED{i} /typed-{i} HTTP/1.1\r\nHost: typed\r\n\r\n"));
    }
    assert!(!keyweir.metrics_text().to_lowercase().contains("typed"));
}

#[test]
fn the_admin_listener_asks_for_its_token() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-429-1", "sk-ok-1"]).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    let bare = |method: &str, path: &str, line: &str| {
        let mut connection = Connection::open(keyweir.admin);
        connection.send(format!("{method} {path} HTTP/1.1\r\n{line}Content-Length: 0\r\n\r\n"));
        connection.response().status
    };
    let host = "Host: localhost\r\n";
    for path in ["/stats", "/blacklist", "/balance", "/api/v1/pools", "/api/v1/pools/p/keys"] {
        assert_eq!(bare("GET", path, host), 401, "{path}");
        let client_token = format!("{host}Authorization: Bearer {}\r\n", crate::harness::TOKEN);
        assert_eq!(bare("GET", path, &client_token), 401, "{path}: a client's token is no admin's");
        assert_eq!(keyweir.admin("GET", path).status, 200, "{path}");
    }
    assert_eq!(bare("POST", "/reload-keys", host), 401);
    for path in ["/", "/livez", "/readyz", "/healthz", "/health", "/info"] {
        assert_eq!(bare("GET", path, host), 200, "{path}");
        assert_eq!(bare("GET", path, "Host: evil.test\r\n"), 421, "{path} under a foreign name");
    }
    let stats = keyweir.admin("GET", "/stats").json();
    assert_eq!((stats["totalKeys"].as_u64(), stats["activeKeys"].as_u64()), (Some(2), Some(1)));
    let other = keyweir.admin("GET", "/stats?shape=modelscope-balance").json();
    assert_eq!(other["429-1"]["healthy"], false, "{other}");
    let blacklist = keyweir.admin("GET", "/blacklist").json();
    assert_eq!((blacklist["total"].as_u64(), blacklist["blacklist"][0]["name"].as_str()), (Some(1), Some("429-1")));
}

#[test]
fn readiness_may_require_usable_keys() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-401-1"]).start();
    assert_eq!(keyweir.admin("GET", "/readyz?require=keys").status, 200);
    assert_eq!(keyweir.chat(&json!({})).status, 503);
    assert_eq!(keyweir.admin("GET", "/readyz?require=keys").status, 503);
    assert_eq!(keyweir.admin("GET", "/readyz").status, 200, "a provider's trouble is no reason to leave rotation");
}

#[test]
fn a_metrics_token_is_asked_for() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).metrics_token("a-token-for-prometheus").start();
    let ask = |line: &str| {
        let mut connection = Connection::open(keyweir.metrics);
        connection.send(format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{line}\r\n"));
        connection.response().status
    };
    assert_eq!((ask(""), ask("Authorization: Bearer a-token-for-prometheus\r\n")), (401, 200));
}

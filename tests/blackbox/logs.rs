//! What is logged, and that logging never holds up a request.

use std::fs;

use serde_json::json;

use crate::harness::{Config, Keyweir, MockProvider, eventually, post, request};

#[test]
fn an_access_line_says_who_asked_for_what_and_how_it_went() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-429-1", "sk-ok-2"]).start();
    let body = json!({"model": "gpt-4o", "messages": []});
    let answer = keyweir.send(post("/v1/chat/completions?alt=sse&key=HUSH", &body));
    assert_eq!(answer.status, 200);
    let line = keyweir.access_line(answer.header("x-request-id").unwrap());
    let text = |name: &str| line[name].as_str().unwrap_or_else(|| panic!("no {name}: {line}")).to_owned();
    assert!(text("time").ends_with('Z'));
    for (name, value) in [
        ("client", "127.0.0.1".to_owned()),
        ("token", "test".into()),
        ("method", "POST".into()),
        ("path", "/v1/chat/completions".into()),
        ("pool", "p".into()),
        ("key", "ok-2".into()),
        ("model", "gpt-4o".into()),
        ("outcome", "ok".into()),
        ("upstream", mock.to_string()),
    ] {
        assert_eq!(text(name), value, "{name}");
    }
    let number = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("no {name}: {line}"));
    assert_eq!((number("status"), number("attempts")), (200.0, 2.0));
    assert_eq!(number("bytes_in"), body.to_string().len() as f64);
    assert_eq!(number("bytes_out"), answer.body.len() as f64);
    assert!(0.0 < number("first_byte_ms") && number("first_byte_ms") <= number("duration_ms"), "{line}");
}

#[test]
fn lines_for_people_hold_the_same() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).log("format: text, access: stdout").start();
    let answer = keyweir.chat(&json!({}));
    let id = answer.header("x-request-id").unwrap();
    eventually("the access line", || keyweir.access_log().ends_with('\n'));
    let line = keyweir.access_log();
    for part in [
        "Z 200 POST /v1/chat/completions ",
        "ms outcome=ok first_byte=",
        " attempts=1 in=",
        " pool=p key=ok-1 model=gpt-4o ",
        &format!(" id={id} client=127.0.0.1\n"),
    ] {
        assert!(line.contains(part), "{part:?} in {line}");
    }
    assert!(
        keyweir.log().contains(" INFO  keyweir::server::listen: keyweir is ready. listening="),
        "{}",
        keyweir.log()
    );
}

#[test]
fn a_log_file_survives_its_rotation() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).log("access: access.log").start();
    let log = keyweir.file("access.log");
    let lines = |path: &std::path::Path| fs::read_to_string(path).unwrap_or_default().lines().count();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    eventually("the first line", || lines(&log) == 1);
    let old = keyweir.file("access.log.1");
    fs::rename(&log, &old).unwrap();
    keyweir.signal("HUP");
    eventually("the new file", || log.exists());
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    eventually("the second line", || lines(&log) == 1);
    assert_eq!(lines(&old), 1);
}

fn dropped(keyweir: &Keyweir) -> f64 {
    keyweir.metric("keyweir_log_dropped_total")
}

#[test]
fn a_full_disk_costs_lines_and_no_request() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-ok-1"]).log("access: /dev/full").start();
    for n in 1..=3 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
        eventually("the lost line's count", || dropped(&keyweir) == f64::from(n));
    }
    assert_eq!(keyweir.log().matches("cannot write /dev/full").count(), 1, "said once: {}", keyweir.log());
    keyweir.signal("TERM");
    assert_eq!(keyweir.wait().code(), Some(0));
}

#[test]
fn a_stuck_pipe_costs_lines_and_no_request() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &["sk-ok-1"]).stuck_stdout().start();
    let mut connection = keyweir.connect();
    let path = format!("/nowhere/{}", "x".repeat(600));
    let refused = request("GET", &path, &[&format!("X-Request-Id: {}", "y".repeat(128))], b"");
    eventually("lost lines", || {
        for _ in 0..500 {
            connection.send(&refused);
            assert_eq!(connection.response().status, 404);
        }
        dropped(&keyweir) > 0.0
    });
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    keyweir.signal("TERM");
    assert_eq!(keyweir.wait().code(), Some(0), "nor does it hold up the end");
}

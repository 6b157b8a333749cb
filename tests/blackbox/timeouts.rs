//! Each deadline towards a provider: what the client gets when it passes, and what is tried again before.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Config, Deaf, Http2, Keyweir, MockProvider, Response, Scripted, chat, chunk, request};

const PATH: &str = "/v1/chat/completions";
const THREE: &[&str] = &["sk-hang-1", "sk-hang-2", "sk-hang-3"];

fn expect_timeout(keyweir: &Keyweir, answer: &Response, attempts: u32) {
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"), "{}", answer.text());
    assert_eq!(answer.attempts(), attempts, "one wait is repeated, a third would cost more than it can gain");
    assert_eq!(keyweir.marked(), [""; 0], "no key's fault");
    let line = keyweir.access_line(answer.header("x-request-id").unwrap());
    assert_eq!((line["status"].as_u64(), line["outcome"].as_str()), (Some(504), Some("provider_error")));
    assert_eq!(line["attempts"], attempts);
    let text = keyweir.metrics_text();
    let timeouts = text.lines().filter(|line| line.contains("result=\"timeout\""));
    assert_eq!(timeouts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u32>().ok()).sum::<u32>(), attempts);
}

#[test]
fn connecting_takes_no_longer_than_connect() {
    let deaf = Deaf::start();
    let mute = Scripted::start(|mut peer| peer.closed());
    for (target, what) in [(format!("http://{deaf}"), "TCP"), (format!("https://{mute}"), "TLS")] {
        let keyweir = Config::pool_with(&target, "timeouts: {connect: 300ms}", THREE).start();
        let answer = keyweir.chat(&json!({}));
        assert_eq!(answer.status, 504, "{what}");
        expect_timeout(&keyweir, &answer, 2);
    }
}

#[test]
fn a_head_takes_no_longer_than_first_byte() {
    for opening in ["", "HTTP/1.1 200 OK\r\nX-Half: ", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"] {
        let provider = Scripted::start(move |mut peer| {
            if peer.request().is_some() {
                peer.send(opening);
                peer.closed();
            }
        });
        let keyweir = Config::pool_with(&provider, "timeouts: {first_byte: 300ms}", THREE).start();
        expect_timeout(&keyweir, &keyweir.chat(&json!({})), 2);
        assert_eq!(provider.connections(), 2, "{opening:?}");
    }
}

#[test]
fn a_timeout_is_told_to_http2_clients_too() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(&mock, "timeouts: {first_byte: 300ms}", THREE).start();
    let answer = Http2::open(keyweir.proxy).post(PATH, &json!({})).finish();
    assert!(answer.is_complete);
    expect_timeout(&keyweir, &answer, 2);
}

/// A body too large to be kept is sent once.
#[test]
fn a_streamed_request_that_times_out_is_not_repeated() {
    let mock = MockProvider::start();
    let settings = "timeouts: {first_byte: 300ms, idle: 300ms}";
    let keyweir = Config::pool_with(&mock, settings, THREE).limits("buffer: 64KiB, body: 1MiB").start();
    let answer = keyweir.send(request("POST", PATH, &[], &[b'x'; 100_000]));
    expect_timeout(&keyweir, &answer, 1);
}

#[test]
fn a_provider_that_reports_a_timeout_is_asked_once_more() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1", "sk-ok-2", "sk-ok-3", "sk-ok-4"]).start();
    for status in [408, 504, 524] {
        let body = json!({"error": {"message": "too slow"}});
        let answer = keyweir.chat(&json!({"mock": {"status": status, "body": body}}));
        assert_eq!((answer.status, answer.attempts()), (status, 2));
        assert_eq!(answer.text(), body.to_string(), "the provider's own words");
    }
    assert_eq!(keyweir.marked(), [""; 0]);
}

/// Two deadlines at once: the shorter one counts.
#[test]
fn an_attempt_takes_no_longer_than_total() {
    let mock = MockProvider::start();
    for (key, members) in [("sk-hang-", json!({})), ("sk-stall-", json!({"stream": true})), ("sk-stall-", json!({}))] {
        let keys = ["1", "2", "3"].map(|n| format!("{key}{n}"));
        let keys = keys.each_ref().map(String::as_str);
        let settings = "timeouts: {first_byte: 1h, hold: 1h, idle: 1h, total: 400ms}";
        let keyweir = Config::pool_with(&mock, settings, &keys).start();
        expect_timeout(&keyweir, &keyweir.chat(&members), 2);
    }
}

#[test]
fn an_answer_under_way_takes_no_longer_than_total() {
    let mock = MockProvider::start();
    let settings = "timeouts: {hold: 100ms, idle: 1h, total: 500ms}";
    let keyweir = Config::pool_with(&mock, settings, &["sk-stall-1", "sk-ok-2"]).start();
    let whole = keyweir.chat(&json!({}));
    assert_eq!((whole.status, whole.is_complete), (200, false), "half a JSON text does not end as if it were whole");
    expect_broken(&keyweir, &mock, &whole);
}

fn expect_broken(keyweir: &Keyweir, mock: &MockProvider, answer: &Response) {
    assert_eq!(answer.attempts(), 1);
    assert_eq!(mock.asked("sk-ok-2"), 0, "nothing is tried again once the client has a byte");
    let line = keyweir.access_line(answer.header("x-request-id").unwrap());
    assert_eq!(line["outcome"], "broken", "{line}");
}

#[test]
fn nothing_is_tried_again_after_the_first_byte() {
    let mock = MockProvider::start();
    for (key, members) in [
        ("sk-cut-1", json!({"stream": true, "mock": {"events": 4, "interval_ms": 1}})),
        ("sk-stall-1", json!({"stream": true})),
        ("sk-stall-1", json!({})),
    ] {
        let settings = "timeouts: {hold: 100ms, idle: 300ms}";
        let keyweir = Config::pool_with(&mock, settings, &[key, "sk-ok-2"]).start();
        let answer = keyweir.chat(&members);
        assert_eq!((answer.status, answer.is_complete), (200, false), "{key} {members}");
        expect_broken(&keyweir, &mock, &answer);
    }
}

#[test]
fn no_attempt_starts_after_the_deadline() {
    let mock = MockProvider::start();
    let settings = "timeouts: {first_byte: 400ms}, retry: {deadline: 100ms}";
    let keyweir = Config::pool_with(&mock, settings, &["sk-hang-1", "sk-ok-2"]).start();
    expect_timeout(&keyweir, &keyweir.chat(&json!({})), 1);
    assert_eq!(mock.asked("sk-ok-2"), 0);
}

/// Pieces that keep coming must not hold an answer back for ever.
#[test]
fn an_answer_is_held_no_longer_than_hold() {
    for kind in ["application/json", "text/event-stream"] {
        let (done, is_done) = channel::<()>();
        let is_done = Arc::new(Mutex::new(is_done));
        let provider = Scripted::start(move |mut peer| {
            while peer.request().is_some() {
                peer.send(format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"));
                let is_done = is_done.lock().unwrap();
                while is_done.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
                    peer.send(chunk("\n"));
                }
                peer.send(chunk("data: {}\n\n") + &chunk(""));
            }
        });
        let keyweir = Config::pool_with(&provider, "timeouts: {hold: 200ms}", &["sk-ok-1"]).start();
        let mut connection = keyweir.connect();
        connection.send(chat(&Value::Null));
        assert_eq!(connection.head().status, 200, "{kind}");
        done.send(()).unwrap();
        let (rest, is_complete) = connection.rest();
        assert!(is_complete && rest.ends_with("data: {}\n\n"), "{kind}: {rest:?}");
    }
}

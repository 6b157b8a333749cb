//! What a client token may do: its pools and models, and how much of everything. Beyond that no key is spent.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;

use serde_json::{Value, json};

use crate::harness::{Config, Keyweir, MockProvider, Response, TOKEN, chat, eventually, post, request};

/// Pool `p` with one token that has these settings.
fn limited(mock: &MockProvider, settings: &str) -> Config {
    Config::pool(mock, &["sk-ok-1", "sk-ok-2"]).clients(&format!("tokens: [{{name: ci, token: {TOKEN}, {settings}}}]"))
}

fn refused(answer: &Response) -> (u16, String) {
    (answer.status, answer.code())
}

fn wait(answer: &Response) -> u64 {
    assert_eq!(refused(answer), (429, "client_limit".into()), "{}", answer.text());
    answer.header("retry-after").and_then(|seconds| seconds.parse().ok()).expect("Retry-After")
}

/// The only token, as the admin API shows it.
fn shown(keyweir: &Keyweir) -> Value {
    let list = keyweir.admin("GET", "/api/v1/tokens");
    assert!(!list.text().contains(TOKEN), "the token itself is not shown");
    list.json()["items"][0].clone()
}

/// Sends this many chats at once and gives how many were served; all others must be `client_limit`.
fn served_of(keyweir: &Keyweir, threads: usize, each: usize) -> u64 {
    let served = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut connection = keyweir.connect();
                for _ in 0..each {
                    connection.send(chat(&json!({})));
                    let answer = connection.response();
                    match answer.status {
                        200 => drop(served.fetch_add(1, SeqCst)),
                        _ => assert!(wait(&answer) >= 1),
                    }
                }
            });
        }
    });
    served.into_inner()
}

#[test]
fn a_token_is_kept_to_its_pools() {
    let mock = MockProvider::start();
    let keyweir = limited(&mock, "pools: [p]").and_pool("q", &mock, "", &["sk-ok-3"]).top("default_pool: q").start();
    let ask = |path: &str| keyweir.send(request("GET", path, &[], b""));
    assert_eq!(ask("/p/v1/models").status, 200);
    for path in ["/q/v1/models", "/v1/models", "/openai/q/v1/models", "/q/v1/files"] {
        assert_eq!(refused(&ask(path)), (403, "pool_denied".into()), "{path}");
    }
    assert_eq!(mock.count("requests"), 1);
}

#[test]
fn a_token_is_kept_to_its_models() {
    let mock = MockProvider::start();
    let keyweir = limited(&mock, "models: [\"gpt-4o\", \"Qwen/*\"]").start();
    let raw = |headers: &[&str], body: &str| {
        let answer = keyweir.send(request("POST", "/v1/chat/completions", headers, body.as_bytes()));
        if answer.status == 200 { (200, String::new()) } else { refused(&answer) }
    };
    for model in ["gpt-4o", "Qwen/Qwen3-8B"] {
        assert_eq!(keyweir.chat(&json!({"model": model})).status, 200, "{model}");
    }
    let asked = mock.count("requests");
    for model in ["gpt-4o-mini", "", "qwen/x", "GPT-4O"] {
        assert_eq!(refused(&keyweir.chat(&json!({"model": model}))), (403, "model_denied".into()), "{model}");
    }
    let denied = (403, "model_denied".to_owned());
    let bad = (400, "bad_request".to_owned());
    assert_eq!(raw(&[], r#"{"model":"gpt\u002d5"}"#), denied, "escapes hide nothing");
    assert_eq!(raw(&[], r#"{"Model":"gpt-5"}"#), denied);
    assert_eq!(raw(&[], r#"{"model":"gpt-4o","model":"gpt-5"}"#), bad, "nobody knows which one counts");
    assert_eq!(raw(&[], "no JSON"), bad);
    assert_eq!(raw(&["Content-Encoding: gzip"], r#"{"model":"gpt-4o"}"#), (415, "bad_request".into()));
    let form =
        |model: &str| format!("--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--b--\r\n");
    let multipart = ["Content-Type: multipart/form-data; boundary=b"];
    assert_eq!(raw(&multipart, &form("whisper-1")), denied);
    let azure = post("/p/openai/deployments/gpt-5/chat/completions", &json!({"messages": []}));
    assert_eq!(refused(&keyweir.send(azure)), denied);
    let socket = [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    for path in ["/v1/responses", "/v1/responses?model=gpt-5", "/v1/chat/completions?model=gpt-5"] {
        let answer = keyweir.send(request("GET", path, &socket, b""));
        assert_eq!(refused(&answer), denied, "{path}");
    }
    assert_eq!(mock.count("requests"), asked, "no key was spent");
    assert_eq!(keyweir.send(request("GET", "/v1/models", &[], b"")).status, 200, "lists name no model");
    assert_eq!(raw(&[], "{}").0, 200, "the provider's own model");
    let passed = mock.count("requests");
    let _the_mocks_own_business = raw(&multipart, &form("gpt-4o"));
    assert_eq!(mock.count("requests"), passed + 1);
}

#[test]
fn no_more_requests_pass_than_a_minute_or_a_day_has() {
    let mock = MockProvider::start();
    for (settings, longest) in [("rpm: 5", 60), ("rpd: 5", 86_400), ("rpm: 5, rpd: 100, tpm: 1000000", 60)] {
        let before = mock.count("requests");
        let keyweir = limited(&mock, settings).start();
        assert_eq!(served_of(&keyweir, 8, 5), 5, "{settings}");
        let answer = keyweir.chat(&json!({}));
        let seconds = wait(&answer);
        assert!((1..=longest).contains(&seconds), "{settings}: {seconds}");
        assert_eq!(answer.header("x-should-retry") == Some("false"), seconds > 60, "{settings}: {seconds}");
        assert_eq!(mock.count("requests"), before + 5, "{settings}: no key was spent");
        let token = shown(&keyweir);
        assert_eq!((token["requests"].as_u64(), token["refused"].as_u64()), (Some(5), Some(36)), "{token}");
        keyweir.signal("HUP");
        eventually("the reload", || keyweir.log().contains("Reloaded"));
        assert!(wait(&keyweir.chat(&json!({}))) >= 1, "{settings}: a reload gives nothing back");
    }
}

#[test]
fn no_more_requests_run_at_once_than_allowed() {
    let mock = MockProvider::start();
    let keyweir = limited(&mock, "concurrency: 2").start();
    let long = chat(&json!({"stream": true, "mock": {"events": 100_000, "interval_ms": 20}}));
    let mut open: Vec<_> = (0..2).map(|_| keyweir.connect()).collect();
    for connection in &mut open {
        connection.send(&long);
        connection.until_head_and("T");
    }
    assert_eq!(served_of(&keyweir, 4, 5), 0);
    assert_eq!(shown(&keyweir)["in_flight"], 2);
    assert_eq!(mock.count("requests"), 2, "no key was spent");
    open.pop();
    eventually("the place of a client that left", || keyweir.chat(&json!({})).status == 200);
    drop(open);
    eventually("both places", || shown(&keyweir)["in_flight"] == 0);
}

#[test]
fn a_client_that_asks_one_after_the_other_is_never_one_too_many() {
    let mock = MockProvider::start();
    let keyweir = limited(&mock, "concurrency: 1").start();
    for round in 0..150 {
        let stream = json!({"stream": round % 3 == 0, "mock": {"events": 2, "interval_ms": 0}});
        let answer =
            if round % 2 == 0 { keyweir.chat(&stream) } else { keyweir.send(request("GET", "/v1/models", &[], b"")) };
        assert_eq!(answer.status, 200, "request {round}: {}", answer.text());
    }
}

#[test]
fn tokens_are_counted_by_what_the_answer_tells() {
    let mock = MockProvider::start();
    let keyweir = limited(&mock, "tpm: 1000000").start();
    let (mut asked, mut answered) = (0, 0);
    for round in 0..6 {
        let members = json!({"stream": round % 2 == 0, "stream_options": {"include_usage": true}, "mock": {"events": 7, "interval_ms": 1}});
        let mut connection = keyweir.connect();
        connection.send(chat(&members));
        let answer = connection.response();
        let text = answer.text();
        let usage = text.rsplit_once("\"usage\":{").unwrap().1.split_once('}').unwrap().0;
        let usage: Value = serde_json::from_str(&format!("{{{usage}}}")).unwrap();
        let line = keyweir.access_line(answer.header("x-request-id").unwrap());
        assert_eq!((&line["tokens_in"], &line["tokens_out"]), (&usage["prompt_tokens"], &usage["completion_tokens"]));
        asked += usage["prompt_tokens"].as_u64().unwrap();
        answered += usage["completion_tokens"].as_u64().unwrap();
    }
    let token = shown(&keyweir);
    assert_eq!((token["tokens_in"].as_u64(), token["tokens_out"].as_u64()), (Some(asked), Some(answered)));
    let counted =
        |kind| keyweir.metric(&format!("keyweir_tokens_total{{model=\"gpt-4o\",pool=\"p\",type=\"{kind}\"}}"));
    eventually("the counts", || (counted("prompt"), counted("completion")) == (asked as f64, answered as f64));
}

#[test]
fn tokens_of_text_are_limited_by_the_minute() {
    let mock = MockProvider::start();
    let ask = |keyweir: &Keyweir, members: &Value| {
        let answer = keyweir.chat(members);
        if answer.status != 200 {
            assert!((1..=60).contains(&wait(&answer)));
        }
        answer.status == 200
    };
    let told = limited(&mock, "tpm: 200").start();
    let served = (0..50).take_while(|_| ask(&told, &json!({}))).count();
    assert!((2..20).contains(&served), "{served}");
    let token = shown(&told);
    let used = token["tokens_in"].as_u64().unwrap() + token["tokens_out"].as_u64().unwrap();
    assert!((150..300).contains(&used), "a limit of 200 ended at {used}");
    // A stream that tells nothing counts by its events.
    let silent = limited(&mock, "tpm: 200").start();
    assert!(ask(&silent, &json!({"stream": true, "mock": {"events": 300, "interval_ms": 0}})));
    // A stream's end is noted a moment after its last byte.
    eventually("the stream's tokens to count", || !ask(&silent, &json!({})));
    // A provider's refusal costs nothing.
    let failing =
        Config::pool(&mock, &["sk-ok-1"]).clients(&format!("tokens: [{{name: ci, token: {TOKEN}, tpm: 200}}]"));
    let failing = failing.start();
    for _ in 0..50 {
        assert_eq!(failing.chat(&json!({"mock": {"status": 400}})).status, 400);
    }
}

#[test]
fn what_reached_no_provider_is_given_back() {
    let mock = MockProvider::start();
    let keyweir =
        Config::pool(&mock, &["sk-429-1"]).clients(&format!("tokens: [{{name: ci, token: {TOKEN}, rpm: 2}}]")).start();
    for round in 0..10 {
        let answer = keyweir.chat(&json!({}));
        assert_eq!(refused(&answer), (429, "all_keys_cooling".into()), "request {round}");
    }
    assert_eq!(shown(&keyweir)["requests"], 1, "one was sent");
}

#[test]
fn a_budget_is_kept_over_a_restart_and_told() {
    let mock = MockProvider::start();
    let prices = "prices: {\"gpt-*\": {input: 1000, output: 20000}}";
    let tokens = format!("tokens: [{{name: ci, token: {TOKEN}, budget: {{amount: 1, per: day}}}}]");
    let mut keyweir = Config::pool_with(&mock, prices, &["sk-ok-1"]).clients(&tokens).start();
    assert_eq!(keyweir.chat(&json!({"model": "free"})).status, 200);
    assert_eq!(shown(&keyweir)["spent"]["day"], 0.0, "no price, no cost");
    let served = (0..50).take_while(|_| keyweir.chat(&json!({})).status == 200).count();
    assert!((2..20).contains(&served), "{served}");
    let answer = keyweir.chat(&json!({}));
    assert!((1..=86_400).contains(&wait(&answer)) && answer.text().contains("budget"), "{}", answer.text());
    let token = shown(&keyweir);
    assert_eq!(token["budget"], json!({"amount": 1.0, "per": "day"}));
    let spent = token["spent"]["day"].as_f64().unwrap();
    assert!((1.0..3.0).contains(&spent), "{token}");
    assert_eq!(token["spent"]["month"], token["spent"]["day"]);
    eventually("the store to know", || {
        keyweir.metric("keyweir_store_pending") == 0.0 && keyweir.metric("keyweir_store_up") == 1.0
    });
    keyweir.restart();
    assert_eq!(shown(&keyweir)["spent"]["day"].as_f64(), Some(spent), "a restart gives nothing back");
    assert!(wait(&keyweir.chat(&json!({}))) >= 1);
}

#[test]
fn an_expired_token_is_no_token() {
    let mock = MockProvider::start();
    let tokens = format!(
        "tokens: [{{name: old, token: {TOKEN}, expires: 2020-01-01}}, {{name: new, token: kw-another-client-token, expires: \"2999-12-31T23:59:59+08:00\"}}]"
    );
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).clients(&tokens).start();
    let answer = keyweir.chat(&json!({}));
    assert_eq!(refused(&answer), (401, "unauthorized".into()));
    assert!(answer.text().contains("expired"), "{}", answer.text());
    let with = |token: &str| String::from_utf8(chat(&json!({}))).unwrap().replace(TOKEN, token);
    assert_eq!(keyweir.send(with("kw-another-client-token")).status, 200);
    assert_eq!(shown(&keyweir)["expired"], true);
}

#[test]
fn failed_authentications_are_counted_and_logged_without_the_token() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
    let ask = |line: &str| keyweir.send(format!("GET /v1/models HTTP/1.1\r\nHost: a\r\n{line}\r\n")).status;
    for _ in 0..40 {
        assert_eq!(ask("Authorization: Bearer kw-guess-CANARY\r\n"), 401);
    }
    assert_eq!((ask(""), ask("x-api-key: \r\n")), (401, 401));
    let counted = |reason| keyweir.metric(&format!("keyweir_client_auth_failures_total{{reason=\"{reason}\"}}"));
    assert_eq!((counted("unknown"), counted("missing"), counted("expired")), (40.0, 2.0, 0.0));
    let lines = || keyweir.log().lines().filter(|line| line.contains("A client was refused")).count();
    eventually("the log", || lines() >= 10);
    let log = keyweir.log();
    assert!(lines() < 40, "a flood of failures is no flood of lines");
    assert!(log.contains("127.0.0.1") && !log.contains("CANARY"), "{log}");
}

//! What crosses the proxy: nothing of the client reaches the provider that it does not need, nothing of the account the client.

use serde_json::{Value, json};

use crate::harness::{Config, Http2, MockProvider, TOKEN, request};

const PATH: &str = "/v1/chat/completions";
const KEY: &str = "sk-ok-canary";

/// Headers no provider may see, with values that are easy to find.
const PRIVATE: &[&str] = &[
    "X-Api-Key: LEAK-1",
    "X-Goog-Api-Key: LEAK-2",
    "Api-Key: LEAK-3",
    "Proxy-Authorization: Basic LEAK-4",
    "Cookie: session=LEAK-5",
    "OpenAI-Organization: LEAK-6",
    "OpenAI-Project: LEAK-7",
    "Forwarded: for=LEAK-8",
    "X-Forwarded-For: 203.0.113.9",
    "X-Forwarded-Host: LEAK-10",
    "X-Forwarded-Proto: LEAK-11",
    "X-Forwarded-Anything: LEAK-12",
    "Via: 1.1 LEAK-13",
    "TE: trailers, LEAK-14",
    "Keep-Alive: timeout=LEAK-15",
    "Proxy-Connection: LEAK-16",
    "Upgrade: LEAK-17",
    "HTTP2-Settings: LEAK-18",
    "Connection: close, X-Private",
    "Connection: x-nominated",
    "X-Private: LEAK-19",
    "X-Nominated: LEAK-20",
    "Trailer: LEAK-21",
];

fn headers(seen: &Value, name: &str) -> Vec<String> {
    let all = seen["headers"].as_array().unwrap().iter();
    let named = all.filter(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name));
    named.map(|pair| pair[1].as_str().unwrap().to_owned()).collect()
}

/// What every request to the provider must look like.
fn expect_clean(seen: &Value, host: &str) {
    let text = seen.to_string();
    for private in ["LEAK", TOKEN, "203.0.113.9", "keyweir.test"] {
        assert!(!text.contains(private), "{private} in {seen:#}");
    }
    for name in [
        "cookie",
        "forwarded",
        "via",
        "te",
        "expect",
        "keep-alive",
        "proxy-connection",
        "x-private",
        "x-nominated",
        "x-forwarded-for",
        "openai-organization",
        "openai-project",
        "x-api-key",
        "trailer",
        "http2-settings",
    ] {
        assert_eq!(headers(seen, name), [""; 0], "{name}");
    }
    assert_eq!(headers(seen, "authorization"), [format!("Bearer {KEY}")]);
    assert_eq!(headers(seen, "host"), [host]);
    assert_eq!(headers(seen, "accept-encoding"), ["identity"]);
}

#[test]
fn the_provider_sees_nothing_of_the_client() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &[KEY]).limits("buffer: 64KiB, body: 1MiB").start();
    let lines: Vec<&str> = PRIVATE.iter().copied().chain(["Accept-Encoding: gzip, br", "X-Kept: yes"]).collect();
    let target = format!("{PATH}?key={TOKEN}&alt=sse");
    assert_eq!(keyweir.send(request("POST", &target, &lines, b"{}")).status, 200);
    let expecting: Vec<&str> = lines.iter().copied().chain(["Expect: 100-continue"]).collect();
    assert_eq!(keyweir.send(request("POST", &target, &expecting, b"{}")).status, 200);
    let big = vec![b'x'; 100 * 1024];
    assert_eq!(keyweir.send(request("POST", &target, &lines, &big)).status, 200, "streamed");
    let last = mock.last();
    assert_eq!(last.len(), 3);
    for (seen, length) in last.iter().zip(["2", "2", "102400"]) {
        expect_clean(seen, &mock.to_string());
        assert_eq!(headers(seen, "upgrade"), [""; 0]);
        assert_eq!(headers(seen, "x-kept"), ["yes"], "what is not private passes");
        assert_eq!(seen["path"], "/v1/chat/completions?alt=sse");
        assert_eq!(headers(seen, "content-length"), [length]);
    }
}

#[test]
fn an_http2_request_arrives_as_proper_http1() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &[KEY]).limits("buffer: 64KiB, body: 1MiB").start();
    let client = Http2::open(keyweir.proxy);
    let private = [
        ("cookie", "LEAK-1"),
        ("x-api-key", "LEAK-2"),
        ("x-forwarded-for", "203.0.113.9"),
        ("te", "trailers"),
        ("accept-encoding", "gzip"),
        ("content-type", "application/json"),
    ];
    for size in [2, 100 * 1024] {
        let mut exchange = client.begin("POST", PATH, &private, false);
        exchange.send(format!("{{}}{}", " ".repeat(size - 2)), true);
        assert_eq!(exchange.answer().finish().status, 200);
    }
    let last = mock.last();
    last.iter().for_each(|seen| expect_clean(seen, &mock.to_string()));
    assert_eq!(headers(&last[0], "content-length"), ["2"]);
    assert_eq!(headers(&last[1], "transfer-encoding"), ["chunked"]);
}

#[test]
fn configured_headers_go_upstream() {
    let mock = MockProvider::start();
    let settings = "headers: {x-team: blue, user-agent: keyweir-test}";
    let keyweir = Config::pool_with(&mock, settings, &[]).start();
    keyweir.write_keys(&format!("p:\n- {{key: {KEY}, headers: {{OpenAI-Organization: org-of-the-key}}}}\n"));
    keyweir.signal("HUP");
    crate::harness::eventually("the key", || {
        keyweir.send(request("POST", PATH, &["OpenAI-Organization: LEAK"], b"{}")).status == 200
    });
    let seen = mock.last().pop().unwrap();
    assert_eq!(headers(&seen, "x-team"), ["blue"]);
    assert_eq!(headers(&seen, "user-agent"), ["keyweir-test"]);
    assert_eq!(headers(&seen, "openai-organization"), ["org-of-the-key"]);
}

#[test]
fn the_client_sees_nothing_of_the_account() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &[KEY]).start();
    let members = json!({"mock": {"headers": {
        "set-cookie": "account=LEAK",
        "openai-project": "LEAK",
        "x-ratelimit-limit-requests": "LEAK",
        "x-ratelimit-remaining-tokens": "LEAK",
        "alt-svc": "h3=LEAK",
        "keyweir-key": "LEAK",
        "keep-alive": "timeout=5",
        "x-kept": "yes",
    }}});
    for status in [200, 404] {
        let mut members = members.clone();
        if status != 200 {
            members["mock"]["status"] = status.into();
        }
        let over_http2 = Http2::open(keyweir.proxy).post(PATH, &members).finish();
        for answer in [keyweir.chat(&members), over_http2] {
            assert_eq!(answer.status, status);
            assert!(!format!("{:?}", answer.headers).contains("LEAK"), "{:?}", answer.headers);
            for name in ["openai-organization", "set-cookie", "keep-alive", "keyweir-key", "alt-svc"] {
                assert_eq!(answer.header(name), None, "{name}");
            }
            assert_eq!(answer.header("x-kept"), Some("yes"));
            assert!(answer.header("x-upstream-request-id").unwrap().starts_with("req_"));
            assert_eq!((answer.header("keyweir-attempts"), answer.header("keyweir-pool")), (Some("1"), Some("p")));
        }
    }
}

#[test]
fn a_request_keeps_its_id_or_gets_one() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &[KEY]).start();
    let given = keyweir.send(request("POST", PATH, &["X-Request-Id: my-own-id"], b"{}"));
    assert_eq!(given.header("x-request-id"), Some("my-own-id"));
    assert_eq!(keyweir.access_line("my-own-id")["status"], 200);
    let made =
        [keyweir.chat(&json!({})), keyweir.chat(&json!({}))].map(|a| a.header("x-request-id").unwrap().to_owned());
    assert_ne!(made[0], made[1]);
    let refused = keyweir.send("GET /nowhere HTTP/1.1\r\nHost: a\r\nX-Request-Id: refused-1\r\n\r\n");
    assert_eq!((refused.status, refused.header("x-request-id")), (401, Some("refused-1")));
    let long = format!("X-Request-Id: {}", "x".repeat(1000));
    let answer = keyweir.send(request("POST", PATH, &[&long], b"{}"));
    assert!(answer.header("x-request-id").unwrap().len() < 200, "an id of any length would fill the logs");
}

#[test]
fn the_keys_name_is_told_only_to_whom_it_may_be() {
    let mock = MockProvider::start();
    let tokens = format!(
        "tokens: [{{name: test, token: {TOKEN}}}, {{name: operator, token: kw-token-of-the-operator, reveal_key: true}}]"
    );
    let keyweir = Config::pool(&mock, &[KEY]).clients(&tokens).start();
    assert_eq!(keyweir.chat(&json!({})).header("keyweir-key"), None);
    let mut connection = keyweir.connect();
    let request = String::from_utf8(crate::harness::chat(&json!({}))).unwrap();
    connection.send(request.replace(TOKEN, "kw-token-of-the-operator"));
    assert_eq!(connection.response().header("keyweir-key"), Some("ok-canary"));
}

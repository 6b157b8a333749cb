//! What one answer means for other keys: those of the account, those that come first.

use serde_json::{Value, json};

use crate::harness::{Config, Keyweir, MockProvider, Peer, Program, Scripted, eventually, request};

const OK: &str = r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#;

/// A provider that answers the keys that begin so with this status, more headers and body. Others are served.
fn provider(limited: &'static str, status: u16, headers: &'static str, body: &'static str) -> Scripted {
    Scripted::start(move |mut peer: Peer| {
        while let Some((head, _)) = peer.request() {
            match head.contains(&format!("Bearer secret-{limited}")) {
                true => {
                    peer.send(format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
                }
                false => peer.answer(200, OK),
            }
        }
    })
}

fn keys(keys: &[(&str, &str)]) -> String {
    let entry = |(name, account): &(&str, &str)| format!("{{key: secret-{name}, name: {name}, account: {account}}}");
    keys.iter().map(entry).collect::<Vec<_>>().join(", ")
}

fn served(keyweir: &Keyweir, name: &str) -> u64 {
    keyweir.key(name)["requests"].as_u64().unwrap()
}

const LIMITED: &str =
    r#"{"error":{"message":"Rate limit reached. Please try again in 90s.","code":"rate_limit_exceeded"}}"#;

#[test]
fn a_limit_on_one_key_is_a_limit_on_its_account_whoever_the_provider_is() {
    for name in ["generic", "openai", "groq"] {
        let provider = provider("a", 429, "", LIMITED);
        let accounts = keys(&[("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")]);
        let keyweir = Config::pool(&provider, &[]).provider(name).keys(&accounts).start();
        let answer = keyweir.chat(&json!({}));
        assert_eq!((answer.status, answer.attempts()), (200, 2), "{name}: the next key is another account's");
        assert_eq!(keyweir.marked(), ["a1", "a2", "a3"], "{name}");
        assert_eq!((0..5).map(|_| keyweir.chat(&json!({})).attempts()).max(), Some(1), "{name}");
        assert_eq!(["a1", "a2", "a3"].map(|key| served(&keyweir, key)), [1, 0, 0], "{name}");
    }
}

#[test]
fn a_keys_own_limit_is_its_own() {
    const OWN: &str = r#"{"error":{"message":"Key limit exceeded (monthly limit).","code":403}}"#;
    let provider = provider("a1", 403, "", OWN);
    let accounts = keys(&[("a1", "a"), ("a2", "a")]);
    let keyweir = Config::pool(&provider, &[]).provider("openrouter").keys(&accounts).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    assert_eq!(keyweir.marked(), ["a1"]);
}

#[test]
fn limits_of_one_account_after_the_other_behind_one_proxy_are_the_proxys() {
    let provider = provider("a", 429, "Retry-After: 3\r\n", LIMITED);
    let proxy = Program::microsocks(None);
    let behind = |name: &str| format!("{{key: secret-{name}, name: {name}, egress: \"{}\"}}", proxy.url("socks5://"));
    let names = ["a1", "a2", "a3", "a4", "a5", "a6"];
    let keys = names.map(behind).join(", ");
    let keyweir = Config::pool(&provider, &[]).keys(&format!("{keys}, {{key: secret-b, name: b}}")).start();
    let answer = keyweir.chat(&json!({}));
    assert_eq!(
        (answer.status, answer.attempts()),
        (200, 5),
        "more than half of them, then the one that leaves directly"
    );
    assert_eq!(names.map(|name| served(&keyweir, name)), [1, 1, 1, 1, 0, 0], "two are spared");
    assert_eq!(keyweir.marked(), names, "and rest with the proxy");
    assert_eq!((0..5).map(|_| keyweir.chat(&json!({})).attempts()).max(), Some(1));
    eventually("the proxy's return", || keyweir.state("a6").0 == "ready");
}

#[test]
fn a_key_with_nothing_left_is_asked_last_and_still_used() {
    let left = "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 6m0s\r\n";
    let provider = provider("a", 200, left, OK);
    let three = keys(&[("a1", "a"), ("a2", "a"), ("b1", "b")]);
    let keyweir = Config::pool(&provider, &[]).provider("openai").keys(&three).start();
    for _ in 0..7 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    assert_eq!(["a1", "a2", "b1"].map(|key| served(&keyweir, key)), [1, 0, 6], "the account comes last");
    assert_eq!(keyweir.marked(), [""; 0], "it is no mark");
    let chances = keyweir.admin("GET", "/api/v1/explain?pool=p&model=gpt-4o").json();
    let last_for = chances["items"][0]["last_for"].as_f64().unwrap();
    assert!((300.0..=360.0).contains(&last_for), "{chances}");
    assert_eq!(keyweir.chat(&json!({"model": "another"})).status, 200);
    assert_eq!(served(&keyweir, "a1") + served(&keyweir, "a2"), 2, "for another model they have their turns");

    let b1 = keyweir.key("b1")["id"].as_str().unwrap().to_owned();
    assert_eq!(keyweir.admin("POST", &format!("/api/v1/keys/{b1}/disable")).status, 200);
    for _ in 0..4 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    assert_eq!(served(&keyweir, "a1") + served(&keyweir, "a2"), 6, "nobody else is there");
}

#[test]
fn what_is_left_may_be_garbage() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1", "sk-ok-2"]).provider("openai").start();
    for (left, reset) in [("-1", "6m0s"), ("0", "-5s"), ("0", "soon"), ("", "1m"), ("99", "1m"), ("NaN", "9999-12-31")]
    {
        let headers = json!({"x-ratelimit-remaining-requests": left, "x-ratelimit-reset-requests": reset});
        assert_eq!(keyweir.chat(&json!({"mock": {"headers": headers}})).status, 200);
    }
    let chances = keyweir.admin("GET", "/api/v1/explain?pool=p&model=gpt-4o").json();
    assert!(chances["items"].as_array().unwrap().iter().all(|key| key["last_for"].is_null()), "{chances}");
    assert_eq!(["ok-1", "ok-2"].map(|key| served(&keyweir, key)), [3, 3]);
}

#[test]
fn a_header_path_or_scope_the_client_chose_disables_nothing_in_a_thousand_requests() {
    let said = |status: u16, body: Value| json!({"mock": {"status": status, "body": body}});
    let error = |message: &str, code: &str| json!({"error": {"message": message, "type": "invalid_request_error", "code": code}});
    let scopes = "You have insufficient permissions for this operation. Missing scopes: api.files.read. Check that you have \
                  the correct role in your organization, and if you're using a restricted API key, that it has the \
                  necessary scopes.";
    let chosen = [
        said(401, error("OpenAI-Organization header should match organization for API key", "mismatched_organization")),
        said(401, error("No such organization: org-abc.", "invalid_organization")),
        said(403, error(scopes, "missing_scope")),
        said(401, json!({"error": {"message": scopes}})),
        said(403, error("Project `proj_x` does not have access to model `gpt-5`", "model_not_found")),
        said(404, error("Invalid URL (POST /v1/nothing)", "unknown_url")),
    ];
    for provider in ["openai", "generic"] {
        let mock = MockProvider::start();
        let keyweir = Config::pool(&mock, &["sk-ok-1", "sk-ok-2", "sk-ok-3"]).provider(provider).start();
        for turn in 0..1000 {
            keyweir.chat(&chosen[turn % chosen.len()]);
        }
        let disabled = keyweir.admin("GET", "/api/v1/pools/p/keys?state=disabled").json();
        assert_eq!(disabled["total"], 0, "{provider}: {disabled}");
        assert_eq!(keyweir.marked(), [""; 0], "{provider}");
    }
}

#[test]
fn a_foreign_organization_header_does_not_reach_the_provider() {
    let provider = Scripted::start(|mut peer: Peer| {
        while let Some((head, _)) = peer.request() {
            match head.to_ascii_lowercase().contains("openai-organization") {
                true => peer.answer(401, r#"{"error":{"code":"mismatched_organization","message":"no"}}"#),
                false => peer.answer(200, OK),
            }
        }
    });
    let keyweir = Config::pool(&provider, &["sk-ok-1"]).provider("openai").start();
    let foreign = request("POST", "/v1/chat/completions", &["OpenAI-Organization: org-foreign"], b"{\"model\":\"m\"}");
    assert_eq!(keyweir.send(foreign).status, 200);
}

#[test]
fn a_dead_key_tells_when_it_is_asked_again() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-401-1", "sk-ok-2", "sk-ok-3", "sk-ok-4"]).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    assert_eq!(keyweir.state("401-1").0, "disabled");
    assert!(keyweir.key("401-1")["recheck_at"].as_str().is_some_and(|time| time.ends_with('Z')));
    assert!(keyweir.key("ok-2")["recheck_at"].is_null());
    let id = keyweir.key("401-1")["id"].as_str().unwrap().to_owned();
    keyweir.admin("POST", &format!("/api/v1/keys/{id}/disable"));
    assert!(keyweir.key("401-1")["recheck_at"].is_null(), "an operator's word stands");
}

//! What providers' own words come to, for their keys and for clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::{Value, json};

use crate::harness::{Config, Keyweir, MockProvider, Peer, Scripted};

/// A provider that answers each key, by the beginning of its name, in its own words: status, more headers, body. Others are served.
fn provider(answers: &'static [(&str, u16, &str, &str)]) -> Scripted {
    Scripted::start(move |mut peer: Peer| {
        while let Some((head, _)) = peer.request() {
            match answers.iter().find(|(key, ..)| head.contains(&format!("Bearer secret-{key}"))) {
                Some((_, status, headers, body)) => {
                    let length = body.len();
                    peer.send(format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n{body}"));
                }
                None => peer.answer(200, r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#),
            }
        }
    })
}

/// The seconds until a key is back.
fn back_in(keyweir: &Keyweir, name: &str) -> f64 {
    keyweir.key(name)["back_in"].as_f64().unwrap()
}

fn named(keys: &[(&str, &str)]) -> String {
    let entry = |(key, account): &(&str, &str)| match *account {
        "" => format!("{{key: secret-{key}, name: {key}}}"),
        account => format!("{{key: secret-{key}, name: {key}, account: {account}}}"),
    };
    keys.iter().map(entry).collect::<Vec<_>>().join(", ")
}

const MOONSHOT_UNPAID: &str = r#"{"error":{"message":"Your account org-CANARY<ak-CANARY> is suspended due to insufficient balance, please recharge your account","type":"exceeded_current_quota_error"}}"#;

#[test]
fn an_account_without_money_rests_with_all_its_keys() {
    let provider = provider(&[("k-a1", 429, "", MOONSHOT_UNPAID), ("k-a2", 429, "", MOONSHOT_UNPAID)]);
    let keys = named(&[("k-a1", "a"), ("k-a2", "a"), ("k-b1", "b")]);
    let keyweir = Config::pool(&provider, &[]).provider("moonshot").keys(&keys).start();
    let answer = keyweir.chat(&json!({}));
    assert_eq!((answer.status, answer.attempts()), (200, 2), "the sibling is not even asked");
    for name in ["k-a1", "k-a2"] {
        assert_eq!(keyweir.state(name), ("cooling".into(), "exhausted".into()));
        assert!((21_000.0..=21_600.0).contains(&back_in(&keyweir, name)), "{}", keyweir.key(name));
    }
    let matches = "keyweir_rule_matches_total{mode=\"enforce\",pool=\"p\",rule=\"moonshot-balance\"}";
    assert_eq!(keyweir.metric(matches), 1.0);
}

#[test]
fn a_limit_on_one_model_leaves_the_others_to_the_account() {
    const LIMITED: &str =
        r#"{"message":"Request was rejected due to rate limiting. Details:TPM limit reached.","data":null}"#;
    let is_limited = Arc::new(AtomicBool::new(true));
    let limited = is_limited.clone();
    let provider = Scripted::start(move |mut peer: Peer| {
        while let Some((_, body)) = peer.request() {
            let body: Value = serde_json::from_slice(&body).unwrap();
            match body["model"] == "small" && limited.load(SeqCst) {
                true => peer.answer(429, LIMITED),
                false => peer.answer(200, r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#),
            }
        }
    });
    let keys = named(&[("k-a1", "a"), ("k-a2", "a")]);
    let keyweir = Config::pool(&provider, &[]).provider("siliconflow").keys(&keys).start();
    let answer = keyweir.chat(&json!({"model": "small"}));
    assert_eq!((answer.status, answer.code().as_str(), answer.attempts()), (429, "all_keys_cooling", 1));
    is_limited.store(false, SeqCst);
    assert_eq!(keyweir.chat(&json!({"model": "small"})).attempts(), 0, "the account rests for this model");
    assert_eq!(keyweir.chat(&json!({"model": "large"})).status, 200);
}

#[test]
fn a_busy_provider_marks_no_key_and_speaks_for_itself() {
    const BUSY: &str = r#"{"error":{"code":"1305","message":"该模型当前访问量过大,请您稍后再试"}}"#;
    let provider = provider(&[("k-", 429, "", BUSY)]);
    let keyweir = Config::pool(&provider, &[]).provider("zhipu").keys(&named(&[("k-1", ""), ("k-2", "")])).start();
    for _ in 0..5 {
        let answer = keyweir.chat(&json!({}));
        assert_eq!((answer.status, answer.text()), (429, BUSY.to_owned()));
    }
    assert_eq!(keyweir.marked(), [""; 0]);
}

#[test]
fn a_dead_key_may_be_a_400_and_a_403_may_be_the_prompt() {
    const DEAD: &str = r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***CANARY. You can obtain one"}"#;
    let xai = provider(&[("k-1", 400, "", DEAD)]);
    let keyweir = Config::pool(&xai, &[]).provider("xai").keys(&named(&[("k-1", ""), ("k-2", "")])).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    assert_eq!(keyweir.state("k-1"), ("disabled".into(), "unauthorized".into()));

    const LONG: &str =
        r#"{"error":{"message":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097"}}"#;
    let together = provider(&[("k-", 403, "", LONG)]);
    let keyweir = Config::pool(&together, &[]).provider("together").keys(&named(&[("k-1", ""), ("k-2", "")])).start();
    let answer = keyweir.chat(&json!({}));
    assert_eq!((answer.status, answer.attempts(), answer.text()), (403, 1, LONG.to_owned()));
    assert_eq!(keyweir.marked(), [""; 0]);
}

#[test]
fn a_model_nobody_has_is_the_clients_mistake() {
    const UNKNOWN: &str = r#"{"error":{"message":"The model `gpt-9` does not exist or you do not have access to it.","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#;
    let provider = provider(&[("k-", 404, "", UNKNOWN)]);
    let keys = named(&[("k-1", ""), ("k-2", ""), ("k-3", "")]);
    let keyweir = Config::pool(&provider, &[]).provider("openai").keys(&keys).start();
    for _ in 0..5 {
        let answer = keyweir.chat(&json!({"model": "gpt-9"}));
        assert_eq!((answer.status, answer.attempts(), answer.text()), (404, 2, UNKNOWN.to_owned()));
    }
    assert_eq!(keyweir.marked(), [""; 0]);
}

#[test]
fn a_prompt_quoted_in_an_error_marks_nothing() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1", "sk-ok-2"]).start();
    let quoting = json!({"error": {"message": "Invalid value: 'my api key is invalid, balance 0'", "code": null}});
    for status in [400, 422] {
        for _ in 0..50 {
            let answer = keyweir.chat(&json!({"mock": {"status": status, "body": quoting}}));
            assert_eq!((answer.status, answer.attempts()), (status, 1));
        }
    }
    assert_eq!(keyweir.marked(), [""; 0]);
}

#[test]
fn what_the_client_chose_disables_nothing_however_often() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &["sk-ok-1", "sk-ok-2", "sk-ok-3"]).provider("openai").start();
    let foreign = json!({"status": 401, "body": {"error": {"code": "mismatched_organization",
        "message": "OpenAI-Organization header should match organization for API key"}}});
    let lacking = json!({"status": 401, "body": {"error": {"code": null,
        "message": "You have insufficient permissions for this operation. Missing scopes: api.files.read"}}});
    for answer in [foreign, lacking] {
        for _ in 0..500 {
            keyweir.chat(&json!({"mock": answer}));
        }
    }
    assert_eq!(keyweir.marked(), [""; 0]);
    assert_eq!(keyweir.chat(&json!({})).status, 200);
}

#[test]
fn a_stated_reset_is_kept_and_an_absurd_one_is_not() {
    let limited = |headers: Value| {
        json!({"mock": {"status": 429, "headers": headers,
        "body": {"error": {"code": "rate_limit_exceeded", "message": "limited"}}}})
    };
    for (headers, least, most) in [
        (json!({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}), 340.0, 360.0),
        (json!({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}), 3500.0, 3600.0),
        (json!({"retry-after": "-5"}), 0.0, 5.0),
    ] {
        let mock = MockProvider::start();
        let keyweir = Config::pool(&mock, &["sk-ok-1"]).start();
        assert_eq!(keyweir.chat(&limited(headers.clone())).code(), "all_keys_cooling");
        let left = back_in(&keyweir, "ok-1");
        assert!((least..=most).contains(&left), "{headers}: {left}");
    }
}

#[test]
fn a_pools_own_rules_come_first_and_can_be_tried_without_acting() {
    let rules = |mode: &str| {
        format!(
            "rules: {{mode: {mode}, list: [{{id: teapot, status: [418], when: [{{message: \"^out of tea\"}}], \
             key: cooldown, reason: exhausted, rest: 2h, retry: other_key}}]}}"
        )
    };
    let teapot = json!({"mock": {"status": 418, "body": {"error": {"message": "out of tea"}}}});
    let metric =
        |mode: &str, rule: &str| format!("keyweir_rule_matches_total{{mode=\"{mode}\",pool=\"p\",rule=\"{rule}\"}}");
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(&mock, &rules("shadow"), &["sk-ok-1"]).start();
    assert_eq!(keyweir.chat(&teapot).status, 418);
    assert_eq!(keyweir.marked(), [""; 0]);
    assert_eq!(keyweir.metric(&metric("shadow", "teapot")), 1.0);
    assert_eq!(keyweir.metric(&metric("enforce", "generic-4xx")), 1.0);

    let keyweir = Config::pool_with(&mock, &rules("enforce"), &["sk-ok-1"]).start();
    let answer = keyweir.chat(&teapot);
    assert_eq!((answer.status, answer.code().as_str()), (429, "all_keys_cooling"));
    assert_eq!(answer.json()["error"]["provider_status"], 418);
    assert_eq!(keyweir.state("ok-1"), ("cooling".into(), "exhausted".into()));
    assert_eq!(keyweir.metric(&metric("enforce", "teapot")), 1.0);
}

#[test]
fn nothing_of_a_key_or_its_account_reaches_the_client() {
    let provider = provider(&[("k-1", 429, "OpenAI-Organization: org-CANARY\r\n", MOONSHOT_UNPAID)]);
    let keyweir = Config::pool(&provider, &[]).provider("moonshot").keys(&named(&[("k-1", "")])).start();
    let answer = keyweir.chat(&json!({}));
    assert_eq!((answer.status, answer.code().as_str()), (429, "all_keys_cooling"));
    assert_eq!(answer.json()["error"]["provider_code"], "exceeded_current_quota_error");
    assert!(!answer.text().contains("CANARY"), "{}", answer.text());
    assert!(!keyweir.log().contains("CANARY") && !keyweir.access_log().contains("CANARY"));
}

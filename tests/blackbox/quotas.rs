//! A key is asked for what its limits grant, and for no more.

use serde_json::{Value, json};

use crate::harness::{Config, Keyweir, MockProvider, chat, eventually};

fn key(keyweir: &Keyweir, name: &str) -> Value {
    let page = keyweir.admin("GET", "/api/v1/pools/p/keys").json();
    let keys = page["items"].as_array().unwrap().clone();
    keys.into_iter().find(|key| key["name"] == name).unwrap_or_else(|| panic!("no {name}: {page}"))
}

#[test]
fn a_key_at_its_limit_rests_while_others_serve() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &[])
        .keys("{key: sk-ok-1, name: small, limits: {rpm: 3, rpd: 100}}, {key: sk-ok-2, name: large}")
        .start();
    for _ in 0..10 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    assert_eq!((mock.asked("sk-ok-1"), mock.asked("sk-ok-2")), (3, 7));
    let small = key(&keyweir, "small");
    assert_eq!((&small["state"], &small["reason"]), (&json!("cooling"), &json!("limit")), "{small}");
    let back_in = small["back_in"].as_f64().unwrap();
    assert!(back_in > 30.0 && back_in <= 60.0, "{back_in}");
    assert_eq!(small["limits"], json!({"rpm": {"used": 3, "limit": 3}, "rpd": {"used": 3, "limit": 100}}));
    assert_eq!(key(&keyweir, "large")["limits"], json!({}));
    let why = keyweir.admin("GET", "/api/v1/explain?pool=p&model=gpt-4o").text();
    assert!(why.contains("\"limit\""), "{why}");
    let rests = "keyweir_key_transitions_total{pool=\"p\",reason=\"limit\",to=\"cooling\"}";
    assert_eq!(keyweir.metric(rests), 1.0, "{}", keyweir.metrics_text());
}

#[test]
fn whoever_finds_no_room_is_told_when_there_will_be_some() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &[]).keys("{key: sk-ok-1, limits: {rpm: 1}}").start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    let refused = keyweir.chat(&json!({}));
    assert_eq!((refused.status, refused.code().as_str()), (429, "all_keys_cooling"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((30..=60).contains(&wait), "{wait}");
    assert_eq!(mock.asked("sk-ok-1"), 1);
}

#[test]
fn no_more_requests_at_once_than_a_key_may_have() {
    let mock = MockProvider::start();
    let settings = "timeouts: {first_byte: 20s}";
    let keyweir =
        Config::pool_with(&mock, settings, &[]).keys("{key: sk-slow-1, name: slow, limits: {concurrency: 1}}").start();
    let mut first = keyweir.connect();
    first.send(chat(&json!({})));
    eventually("it is under way", || key(&keyweir, "slow")["in_flight"] == 1);
    let refused = keyweir.chat(&json!({}));
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    drop(first);
    eventually("its place is free", || key(&keyweir, "slow")["state"] == "ready");
    assert_eq!(key(&keyweir, "slow")["limits"]["concurrency"], json!({"used": 0, "limit": 1}));
}

#[test]
fn keys_of_one_account_share_its_tokens() {
    let mock = MockProvider::start();
    let limits = "account: a, limits: {tpm: 100000}";
    let keyweir = Config::pool(&mock, &[])
        .keys(&format!("{{key: sk-ok-1, name: one, {limits}}}, {{key: sk-ok-2, name: two, {limits}}}"))
        .start();
    let mut told = 0;
    for _ in 0..4 {
        told += keyweir.chat(&json!({})).json()["usage"]["total_tokens"].as_u64().unwrap();
    }
    assert!(told > 0);
    for name in ["one", "two"] {
        assert_eq!(
            key(&keyweir, name)["limits"]["tpm"],
            json!({"used": told, "limit": 100_000}),
            "as the provider told"
        );
    }
}

#[test]
fn a_restart_gives_no_day_back() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &[]).keys("{key: sk-ok-1, name: one, limits: {rpd: 3}}").start();
    let ask = |keyweir: &Keyweir| keyweir.chat(&json!({})).status;
    assert_eq!((ask(&keyweir), ask(&keyweir)), (200, 200));
    keyweir.signal("TERM");
    keyweir.restart();
    assert_eq!(key(&keyweir, "one")["limits"]["rpd"], json!({"used": 2, "limit": 3}));
    assert_eq!((ask(&keyweir), ask(&keyweir)), (200, 429));
    // Nor does a limit that comes later.
    let add = json!({"key": "sk-ok-2", "name": "two"});
    assert_eq!(keyweir.admin_json("POST", "/api/v1/pools/p/keys", &add).status, 201);
    let path = format!("/api/v1/keys/{}", key(&keyweir, "two")["id"].as_str().unwrap());
    assert_eq!((ask(&keyweir), ask(&keyweir)), (200, 200));
    eventually("the store knows", || key(&keyweir, "two")["today"]["requests"] == 2);
    let limited = keyweir.admin_json("PATCH", &path, &json!({"limits": {"rpd": 5}}));
    assert_eq!(limited.json()["limits"]["rpd"], json!({"used": 2, "limit": 5}));
}

#[test]
fn limits_are_set_and_taken_back_while_it_runs() {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, &[]).start();
    let add = json!({"key": "sk-ok-1", "name": "one", "limits": {"rpm": 1}});
    assert_eq!(keyweir.admin_json("POST", "/api/v1/pools/p/keys", &add).status, 201);
    let path = format!("/api/v1/keys/{}", key(&keyweir, "one")["id"].as_str().unwrap());
    let set = |limits: Value| keyweir.admin_json("PATCH", &path, &json!({"limits": limits}));
    let ask = || keyweir.chat(&json!({})).status;
    assert_eq!((ask(), ask()), (200, 429));
    assert_eq!(set(json!({"rpm": 2})).json()["limits"]["rpm"], json!({"used": 1, "limit": 2}));
    assert_eq!((ask(), ask()), (200, 429), "what was used counts");
    for (wrong, part) in [
        (json!({"rpm": 0}), "limits.rpm: must be a whole number, at least 1"),
        (json!({"rpm": -1}), "limits.rpm: must be a whole number, at least 1"),
        (json!({"rpn": 1}), "limits.rpn: unknown field; did you mean"),
        (json!("lots"), "limits: must be a mapping"),
    ] {
        let refused = set(wrong.clone());
        assert_eq!(refused.status, 422, "{wrong}");
        assert!(refused.text().contains(part), "{wrong}: {}", refused.text());
    }
    assert_eq!(set(Value::Null).json()["limits"], json!({}));
    assert!((0..5).all(|_| ask() == 200));
    let exported = keyweir.admin("GET", "/api/v1/pools/p/keys/export?format=yaml").text();
    assert!(!exported.contains("rpm"), "{exported}");
    assert_eq!(set(json!({"rpd": 9, "concurrency": 2})).status, 200);
    let exported = keyweir.admin("GET", "/api/v1/pools/p/keys/export?format=yaml").text();
    assert!(exported.contains("rpd") && exported.contains("concurrency"), "{exported}");
}

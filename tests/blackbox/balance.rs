//! What keys have left: asked of providers, shown, and acted upon.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Config, Keyweir, MockProvider, TOKEN, eventually, new_directory};

/// Often enough that a test need not wait.
const OFTEN: &str = "balance: {every: 100ms, minimum: 10}";
/// Never but when asked.
const ASKED: &str = "balance: {every: 0s, minimum: 10}";

fn start(mock: &MockProvider, provider: &str, settings: &str, keys: &[&str]) -> Keyweir {
    Config::pool_with(mock, settings, keys).provider(provider).start()
}

/// A pack of one's own: a built-in one, at home at the mock.
fn at_home(mock: &MockProvider, provider: &str, call: &str) -> String {
    let path = new_directory().join("mine.yaml");
    let call = call.replace("HOME", &format!("http://{mock}"));
    fs::write(&path, format!("extends: {provider}\nbase_urls: [\"http://{mock}/v1\"]\nbalance: {call}\n")).unwrap();
    path.display().to_string()
}

/// What a key has, e.g. `12.5 CNY`.
fn has(keyweir: &Keyweir, name: &str) -> Vec<String> {
    let key = keyweir.key(name);
    let amounts = key["balance"]["amounts"].as_array().cloned().unwrap_or_default();
    amounts.iter().map(|held| format!("{} {}", held["amount"], held["unit"].as_str().unwrap())).collect()
}

fn told(keyweir: &Keyweir, name: &str, amounts: &[&str]) {
    eventually(&format!("{name} to have {amounts:?}"), || has(keyweir, name) == amounts);
}

fn refresh(keyweir: &Keyweir) -> Value {
    let answer = keyweir.admin("GET", "/balance?refresh=true");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn every_provider_is_asked_in_its_own_way() {
    let mock = MockProvider::start();
    mock.control("balance", &json!({"amounts": {"CNY": "110.00", "USD": 0.1}}));
    let deepseek = "{url: \"HOME/user/balance\", list: /balance_infos, amount: /total_balance, unit: /currency}";
    let modelscope = "{url: \"HOME/openapi/v1/magicubes/balance\", amount: /data/available_balance, unit: magicubes}";
    for (provider, path, amounts) in [
        (at_home(&mock, "deepseek", deepseek), "/user/balance", &["110 CNY", "0.1 USD"][..]),
        (at_home(&mock, "modelscope", modelscope), "/openapi/v1/magicubes/balance", &["110 magicubes"]),
        ("moonshot".into(), "/v1/users/me/balance", &["110 unknown"]),
        ("openrouter".into(), "/v1/key", &["110 USD"]),
        ("siliconflow".into(), "/v1/user/info", &["110 unknown"]),
    ] {
        let keyweir = start(&mock, &provider, OFTEN, &["sk-ok-1"]);
        told(&keyweir, "ok-1", amounts);
        let asked = mock.last().into_iter().rev().find(|request| request["method"] == "GET").unwrap();
        assert_eq!((&asked["path"], &asked["key"]), (&json!(path), &json!("sk-ok-1")), "{provider}");
        let id = keyweir.key("ok-1")["id"].as_str().unwrap().to_owned();
        let key = keyweir.admin("GET", &format!("/api/v1/keys/{id}")).json();
        assert_eq!(key["balance"]["amounts"].as_array().unwrap().len(), amounts.len(), "{key}");
        assert!(key["balance"]["checked_at"].as_str().unwrap().starts_with("20"), "{key}");
        assert_eq!(key["balance"]["error"], Value::Null);
    }
}

#[test]
fn a_provider_that_does_not_tell_costs_no_key() {
    let mock = MockProvider::start();
    mock.control("balance", &json!({"key": "sk-ok-1", "status": 410}));
    mock.control("balance", &json!({"key": "sk-ok-2", "status": 404}));
    mock.control("balance", &json!({"key": "sk-ok-3", "status": 401}));
    mock.control("balance", &json!({"key": "sk-ok-4", "html": true}));
    mock.control("balance", &json!({"key": "sk-ok-5", "status": 500}));
    mock.control("balance", &json!({"key": "sk-ok-6", "amounts": {"CNY": null}}));
    let keys = ["sk-ok-1", "sk-ok-2", "sk-ok-3", "sk-ok-4", "sk-ok-5", "sk-ok-6"];
    let keyweir = start(&mock, "siliconflow", ASKED, &keys);
    let answer = refresh(&keyweir);
    assert_eq!((&answer["success"], &answer["totalBalance"]), (&json!(true), &Value::Null), "{answer}");
    for (index, key) in answer["keyBalances"].as_array().unwrap().iter().enumerate() {
        let unknown = (&json!(index + 1), &Value::Null, &json!(true));
        assert_eq!((&key["index"], &key["balance"], &key["isActive"]), unknown, "{answer}");
    }
    let error = |name: &str| keyweir.key(name)["balance"]["error"].as_str().map(str::to_owned);
    let errors = ["ok-1", "ok-2", "ok-3", "ok-4", "ok-5", "ok-6"].map(error);
    let words = ["unsupported", "unsupported", "refused", "not_understood", "server_error"];
    assert_eq!(errors[..5], words.map(|word| Some(word.to_owned())));
    assert_eq!(errors[5], None, "a key without a limit");
    assert!(keyweir.marked().is_empty());
    for _ in keys {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    let counted =
        |result: &str| keyweir.metric(&format!("keyweir_balance_checks_total{{pool=\"p\",result=\"{result}\"}}"));
    assert_eq!(["ok", "unsupported", "refused", "failed"].map(counted), [1.0, 2.0, 1.0, 2.0]);
}

#[test]
fn a_call_that_is_gone_is_not_made_again() {
    let mock = MockProvider::start();
    mock.control("balance", &json!({"status": 410}));
    let keyweir = start(&mock, "siliconflow", OFTEN, &["sk-ok-1", "sk-ok-2", "sk-ok-3", "sk-ok-4", "sk-ok-5"]);
    eventually("the provider to be given up", || keyweir.log().contains("tells no balances"));
    let counted = || keyweir.metric("keyweir_balance_checks_total{pool=\"p\",result=\"unsupported\"}");
    let asked = counted();
    assert!(asked >= 3.0, "{asked}");
    mock.control("balance", &json!({"amounts": {"CNY": "5"}}));
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    assert!(has(&keyweir, "ok-1").is_empty());
    refresh(&keyweir);
    told(&keyweir, "ok-5", &["5 unknown"]);
}

#[test]
fn a_key_with_too_little_rests_until_it_has_enough() {
    let mock = MockProvider::start();
    mock.control("balance", &json!({"key": "sk-ok-1", "amounts": {"USD": "9.99"}}));
    let keyweir = start(&mock, "openrouter", ASKED, &["sk-ok-1", "sk-ok-2"]);
    assert_eq!(refresh(&keyweir)["totalBalance"], json!(109.99));
    assert_eq!(keyweir.state("ok-1"), ("cooling".into(), "balance".into()));
    assert_eq!(keyweir.state("ok-2").0, "ready");
    let before = mock.asked("sk-ok-1");
    for _ in 0..4 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    assert_eq!(mock.asked("sk-ok-1"), before);
    assert!(keyweir.log().contains("A key has less left than the minimum: it rests."));
    let rests = "keyweir_key_transitions_total{pool=\"p\",reason=\"balance\",to=\"cooling\"}";
    assert_eq!(keyweir.metric(rests), 1.0);

    assert_eq!(keyweir.admin("GET", "/reset-keys").status, 200);
    assert_eq!(keyweir.state("ok-1").0, "cooling", "a reset gives it no money");
    mock.control("balance", &json!({"key": "sk-ok-1", "amounts": {"USD": "10"}}));
    eventually("the key to be used again", || {
        refresh(&keyweir);
        keyweir.state("ok-1").0 == "ready"
    });
    assert!(keyweir.log().contains("A key has enough left again."));
}

#[test]
fn other_rests_are_not_lifted_by_money() {
    let mock = MockProvider::start();
    let keyweir = start(&mock, "openrouter", ASKED, &["sk-rpm-1-a", "sk-ok-1"]);
    // The mock lets one request a minute through: the question for the balance takes it.
    refresh(&keyweir);
    for _ in 0..2 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    assert_eq!(keyweir.state("rpm-1-a"), ("cooling".into(), "rate_limited".into()));
    refresh(&keyweir);
    assert_eq!(keyweir.state("rpm-1-a"), ("cooling".into(), "rate_limited".into()));
}

#[test]
fn minimums_are_by_unit_and_change_with_the_file() {
    let mock = MockProvider::start();
    mock.control("balance", &json!({"key": "sk-ok-1", "amounts": {"CNY": "3", "USD": "0.5"}}));
    mock.control("balance", &json!({"key": "sk-ok-2", "amounts": {"CNY": "3", "USD": "1.5"}}));
    let call = "{url: \"HOME/user/balance\", list: /balance_infos, amount: /total_balance, unit: /currency}";
    let pack = at_home(&mock, "deepseek", call);
    let settings = "balance: {every: 1h, minimum: {CNY: 5, usd: 1}}";
    let keyweir = start(&mock, &pack, settings, &["sk-ok-1", "sk-ok-2"]);
    eventually("both to be known", || {
        keyweir.state("ok-1").1 == "balance" && has(&keyweir, "ok-2") == ["3 CNY", "1.5 USD"]
    });
    assert_eq!(keyweir.marked(), ["ok-1"], "what it has of any unit may be enough");
    keyweir.rewrite("minimum: {CNY: 5, usd: 1}", "minimum: 2");
    keyweir.reload();
    assert!(keyweir.marked().is_empty(), "what is known is judged anew");
    keyweir.rewrite("minimum: 2", "minimum: 4");
    keyweir.reload();
    assert_eq!(keyweir.marked(), ["ok-1", "ok-2"]);
    let refused = keyweir.chat(&json!({}));
    assert_eq!((refused.status, refused.code()), (429, "all_keys_cooling".into()));
}

#[test]
fn debts_rest_a_key_where_nothing_is_said() {
    let mock = MockProvider::start();
    mock.control("balance", &json!({"key": "sk-ok-1", "amounts": {"USD": -0.3}}));
    mock.control("balance", &json!({"key": "sk-ok-2", "amounts": {"USD": 0}}));
    let keyweir = start(&mock, "openrouter", "balance: {every: 100ms}", &["sk-ok-1", "sk-ok-2"]);
    told(&keyweir, "ok-1", &["-0.3 USD"]);
    told(&keyweir, "ok-2", &["0 USD"]);
    eventually("the debtor to rest", || keyweir.marked() == ["ok-1"]);
}

#[test]
fn a_question_that_hangs_holds_up_nobody() {
    let mock = MockProvider::start();
    mock.control("balance", &json!({"hang": true}));
    let keyweir = start(&mock, "openrouter", OFTEN, &["sk-ok-1", "sk-ok-2"]);
    let waits = || mock.last().iter().filter(|request| request["path"] == "/v1/key").count();
    eventually("both to be asked", || waits() >= 2);
    for _ in 0..20 {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
    }
    assert_eq!(keyweir.admin("GET", "/balance").json()["totalBalance"], Value::Null);
    assert!(keyweir.marked().is_empty());
    assert_eq!(waits(), 2, "one question for each key is enough");
}

#[test]
fn the_older_shape_tells_one_unit_on_both_listeners() {
    let mock = MockProvider::start();
    mock.control("balance", &json!({"key": "sk-ok-1", "amounts": {"CNY": "50.25", "USD": "1"}}));
    mock.control("balance", &json!({"key": "sk-ok-2", "amounts": {"CNY": "100.5", "USD": "2"}}));
    let call = "{url: \"HOME/user/balance\", list: /balance_infos, amount: /total_balance, unit: /currency}";
    let pack = at_home(&mock, "deepseek", call);
    let config = Config::pool_with(&mock, ASKED, &["sk-ok-1", "sk-ok-2"]).provider(&pack);
    let keyweir = config.proxy("status_endpoints: true").start();
    let client = |path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
        keyweir.send(head).json()
    };
    assert_eq!(client("/balance")["totalBalance"], Value::Null, "nobody asked so far");
    let told = client("/balance?refresh=true");
    assert_eq!((&told["success"], &told["totalBalance"]), (&json!(true), &json!(150.75)), "{told}");
    let first = &told["keyBalances"][0];
    assert_eq!((&first["index"], &first["balance"], &first["isActive"]), (&json!(1), &json!(50.25), &json!(true)));
    assert!(first["lastChecked"].as_str().unwrap().ends_with('Z'), "{told}");
    assert_eq!(keyweir.admin("GET", "/balance?unit=usd").json()["totalBalance"], json!(3));
    assert_eq!(keyweir.admin("GET", "/balance?unit=gold").json()["totalBalance"], Value::Null);
    let asked = mock.count("requests");
    assert_eq!(client("/balance")["totalBalance"], json!(150.75));
    assert_eq!(mock.count("requests"), asked, "what is known is not asked again");
    let gauge = |key: &str, unit: &str| {
        keyweir.metric(&format!("keyweir_key_balance{{key=\"{key}\",pool=\"p\",unit=\"{unit}\"}}"))
    };
    assert_eq!([gauge("ok-1", "CNY"), gauge("ok-2", "CNY"), gauge("ok-2", "USD")], [50.25, 100.5, 2.0]);
}

#[test]
fn balances_outlive_reloads_and_not_the_keys() {
    let mock = MockProvider::start();
    let keyweir = start(&mock, "openrouter", ASKED, &["sk-ok-1", "sk-ok-2"]);
    refresh(&keyweir);
    keyweir.set_keys(&["sk-ok-2", "sk-ok-3"]);
    keyweir.reload();
    assert_eq!(has(&keyweir, "ok-2"), ["100 USD"]);
    assert!(keyweir.key("ok-3")["balance"].is_null());
    keyweir.set_keys(&["sk-ok-1", "sk-ok-2"]);
    keyweir.reload();
    assert!(keyweir.key("ok-1")["balance"].is_null());
}

#[test]
fn nobody_is_asked_whose_pack_knows_no_call() {
    let mock = MockProvider::start();
    // DeepSeek's call has an address of its own, where this pool's keys have no business.
    for provider in ["openai", "deepseek"] {
        let keyweir = start(&mock, provider, OFTEN, &["sk-ok-1"]);
        let before = mock.count("requests");
        assert_eq!(refresh(&keyweir)["totalBalance"], Value::Null);
        assert_eq!((mock.count("requests"), keyweir.key("ok-1")["balance"].clone()), (before, Value::Null));
    }
}

#[test]
fn a_disabled_key_is_not_asked() {
    let mock = MockProvider::start();
    let keyweir = start(&mock, "openrouter", ASKED, &["sk-ok-1", "sk-ok-2"]);
    let id = keyweir.key("ok-1")["id"].as_str().unwrap().to_owned();
    assert_eq!(keyweir.admin("POST", &format!("/api/v1/keys/{id}/disable")).status, 200);
    assert_eq!(refresh(&keyweir)["totalBalance"], json!(100));
    assert_eq!((mock.asked("sk-ok-1"), mock.asked("sk-ok-2")), (0, 1));
}

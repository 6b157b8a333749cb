//! Keys that no request tests are probed, disabled ones come back, and keys are tested on demand.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyweir::config::KeyId;
use keyweir::store::{Audit, Mark, Run, Store, Subject};
use serde_json::{Value, json};

use crate::harness::{ADMIN_TOKEN, Config, Keyweir, MockProvider, PROGRESS, Scripted, eventually, free_address};

/// Nothing is probed but what is disabled, and that not within the time of a test.
const QUIET: &str = "probe: {every: 0s}";
const BRISK: &str = "probe: {every: 1s}";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn state(keyweir: &Keyweir, name: &str) -> String {
    keyweir.state(name).0
}

fn expect_state(keyweir: &Keyweir, name: &str, wanted: &str) {
    eventually(&format!("{name} is {wanted}"), || state(keyweir, name) == wanted);
}

fn probes(keyweir: &Keyweir, result: &str) -> f64 {
    keyweir.metric(&format!("keyweir_probes_total{{pool=\"p\",result=\"{result}\"}}"))
}

fn id(keyweir: &Keyweir, name: &str) -> String {
    keyweir.key(name)["id"].as_str().unwrap().to_owned()
}

fn test(keyweir: &Keyweir, name: &str) -> Value {
    let answer = keyweir.admin("POST", &format!("/api/v1/keys/{}/test", id(keyweir, name)));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The provider knows no key.
fn refuse_all(mock: &MockProvider) {
    mock.control("outage", &json!({"seconds": 600, "status": 401}));
}

/// It knows them again, and begins to count anew.
fn accept_again(mock: &MockProvider) {
    mock.control("reset", &json!({}));
}

/// What is done to the store while no server has it.
fn with_store(keyweir: &Keyweir, change: impl AsyncFnOnce(&Store)) {
    let mut settings = keyweir::config::load(&keyweir.file("keyweir.yaml")).unwrap().config.store;
    settings.directory = keyweir.file("");
    let store = Store::open(&settings).unwrap();
    futures::executor::block_on(change(&store));
    store.close().unwrap();
}

fn ago(seconds: u64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from((now - Duration::from_secs(seconds)).as_millis()).unwrap()
}

// === rounds ===

#[test]
fn keys_that_nobody_uses_are_probed_and_marked_as_by_a_request() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(&mock, BRISK, &["sk-ok-1", "sk-401-1", "sk-429-1", "sk-ok-2", "sk-500-1"]).start();
    expect_state(&keyweir, "401-1", "disabled");
    expect_state(&keyweir, "429-1", "cooling");
    assert_eq!(keyweir.state("401-1").1, "unauthorized");
    assert_eq!(keyweir.state("429-1").1, "rate_limited");
    // Neither is asked again before its time, however often the round comes by.
    let asked = [mock.asked("sk-401-1"), mock.asked("sk-429-1")];
    let rounds = mock.asked("sk-ok-1") + 3;
    eventually("three more rounds", || mock.asked("sk-ok-1") >= rounds);
    assert_eq!([mock.asked("sk-401-1"), mock.asked("sk-429-1")], asked);
    assert_eq!(asked[1], 1);
    assert_eq!(keyweir.marked(), ["401-1", "429-1"], "what fails at the provider is no key's fault");
    let results = ["valid", "limited", "dead", "unknown"].map(|result| probes(&keyweir, result));
    assert!(results[0] >= 3.0 && results[1] == 1.0 && results[2] == 1.0 && results[3] >= 1.0, "{results:?}");
    assert!(mock.last().iter().all(|request| request["path"] == "/v1/models"), "the call that costs nothing");
}

#[test]
fn a_key_that_serves_requests_is_not_probed() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(&mock, "probe: {every: 2s}", &[])
        .keys("{key: sk-ok-1, name: used}, {key: sk-ok-2, name: idle, priority: 1}")
        .start();
    let mut chats = 0;
    eventually("the idle key was probed three times", || {
        assert_eq!(keyweir.chat(&json!({})).status, 200);
        chats += 1;
        mock.asked("sk-ok-2") >= 3
    });
    assert_eq!(mock.asked("sk-ok-1"), chats);
}

#[test]
fn a_provider_that_is_down_or_refuses_everybody_costs_no_key_anything() {
    let keys = ["sk-ok-1", "sk-ok-2", "sk-ok-3", "sk-ok-4"];
    let down = Config::pool_with(free_address(), BRISK, &keys).start();
    let mock = MockProvider::start();
    refuse_all(&mock);
    let refusing = Config::pool_with(&mock, BRISK, &keys).start();
    eventually("failed probes", || probes(&down, "unknown") >= 3.0);
    eventually("refused probes", || probes(&refusing, "dead") >= 5.0);
    assert_eq!((down.marked(), refusing.marked()), (vec![], vec![]));
    assert!(refusing.log().contains("refuses every key that is probed"));
}

#[test]
fn dead_keys_are_found_where_one_works() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(&mock, BRISK, &["sk-401-1", "sk-401-2", "sk-401-3", "sk-401-4", "sk-ok-1"]).start();
    eventually("the dead ones are found", || keyweir.marked().len() == 4);
    assert_eq!(state(&keyweir, "ok-1"), "ready");
}

// === disabled keys ===

#[test]
fn the_plan_of_a_disabled_key_outlasts_a_restart_and_brings_it_back() {
    let mock = MockProvider::start();
    refuse_all(&mock);
    let mut keyweir = Config::pool_with(&mock, QUIET, &["sk-ok-1"]).start();
    keyweir.chat(&json!({}));
    expect_state(&keyweir, "ok-1", "disabled");
    let planned = keyweir.key("ok-1")["recheck_at"].clone();
    let seconds = |time: &Value| time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    assert!((seconds(&planned) - jiff::Timestamp::now().as_second()).abs_diff(3600) < 60, "{planned}");
    let shown = keyweir.admin("GET", "/api/v1/explain?pool=p").json();
    assert_eq!(seconds(&shown["items"][0]["next_probe"]), seconds(&planned));

    keyweir.restart();
    assert!(seconds(&keyweir.key("ok-1")["recheck_at"]).abs_diff(seconds(&planned)) <= 1);
    accept_again(&mock);

    // As if it had been disabled nearly an hour ago.
    keyweir.signal("TERM");
    keyweir.wait();
    with_store(&keyweir, async |store| {
        let mark = Mark {
            until: None,
            reason: "unauthorized".into(),
            by: "rule".into(),
            rests: 0,
            evidence: String::new(),
            since: ago(3598),
        };
        let audit = Audit { actor: "test".into(), action: "test".into(), ..Audit::default() };
        store.set_marks(vec![(KeyId::of("p", "sk-ok-1"), Subject::Own, Some(mark))], audit).await.unwrap();
    });
    keyweir.restart();
    expect_state(&keyweir, "ok-1", "ready");
    assert_eq!(keyweir.metric("keyweir_key_transitions_total{pool=\"p\",reason=\"accepted\",to=\"ready\"}"), 1.0);
    assert!(keyweir.log().contains("A key that was disabled works again."));
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    // And that outlasts a restart, too.
    keyweir.restart();
    assert_eq!(state(&keyweir, "ok-1"), "ready");
}

#[test]
fn reactivation_brings_back_what_works_and_leaves_what_is_dead_or_switched_off() {
    let mock = MockProvider::start();
    refuse_all(&mock);
    let settings = format!("{QUIET}, reactivate: {{every: 1s}}, retry: {{attempts: 1, key_attempts: 1}}");
    let keys = "{key: sk-ok-1, name: good}, {key: sk-401-1, name: dead, priority: 1}, \
                {key: sk-ok-2, name: off, priority: 2}, {key: sk-ok-3, name: spare, priority: 3}, \
                {key: sk-ok-4, name: spare-2, priority: 3}, {key: sk-ok-5, name: spare-3, priority: 3}";
    let keyweir = Config::pool_with(&mock, &settings, &[]).keys(keys).start();
    let off = keyweir.admin("POST", &format!("/api/v1/keys/{}/disable", id(&keyweir, "off")));
    assert_eq!(off.status, 200);
    keyweir.chat(&json!({}));
    keyweir.chat(&json!({}));
    expect_state(&keyweir, "good", "disabled");
    expect_state(&keyweir, "dead", "disabled");
    assert_eq!(mock.asked("sk-ok-2"), 0);
    accept_again(&mock);
    expect_state(&keyweir, "good", "ready");
    let asked = mock.asked("sk-401-1");
    eventually("it is tried again and again", || mock.asked("sk-401-1") >= asked + 2);
    assert_eq!(state(&keyweir, "dead"), "disabled");
    assert_eq!((keyweir.state("off").1.as_str(), mock.asked("sk-ok-2")), ("operator", 0));
}

#[test]
fn reactivation_without_a_probe_asks_nobody() {
    let mock = MockProvider::start();
    let settings = format!("{QUIET}, reactivate: {{every: 1s, probe: false}}");
    let keyweir = Config::pool_with(&mock, &settings, &["sk-401-1", "sk-ok-1"]).start();
    assert_eq!(keyweir.chat(&json!({})).status, 200);
    eventually("the key is tried again", || {
        keyweir.metric("keyweir_key_transitions_total{pool=\"p\",reason=\"reactivated\",to=\"ready\"}") >= 1.0
    });
    expect_state(&keyweir, "401-1", "ready");
    assert_eq!(mock.asked("sk-401-1"), 1, "by the request alone");
}

#[test]
fn a_reactivation_that_was_missed_is_caught_up_once() {
    let mock = MockProvider::start();
    refuse_all(&mock);
    let settings = format!("{QUIET}, reactivate: {{cron: \"0 0 1 1 *\", timezone: Asia/Shanghai, probe: false}}");
    let mut keyweir = Config::pool_with(&mock, &settings, &["sk-ok-1"]).start();
    keyweir.chat(&json!({}));
    expect_state(&keyweir, "ok-1", "disabled");
    let next = keyweir.admin("GET", "/api/v1/explain?pool=p").json()["items"][0]["next_probe"].clone();
    assert!(next.is_string(), "{next}");
    keyweir.restart();
    assert_eq!(state(&keyweir, "ok-1"), "disabled", "nothing was missed");
    keyweir.signal("TERM");
    keyweir.wait();
    with_store(&keyweir, async |store| {
        let kept = store.last_runs().await.unwrap();
        assert_eq!((kept.len(), kept[0].schedule.as_str()), (1, "0 0 1 1 * Asia/Shanghai"));
        store.note_run(Run { at: ago(1000 * 86_400), ..kept[0].clone() }).await.unwrap();
    });
    keyweir.restart();
    expect_state(&keyweir, "ok-1", "ready");
    assert_eq!(keyweir.metric("keyweir_key_transitions_total{pool=\"p\",reason=\"reactivated\",to=\"ready\"}"), 1.0);
    assert_eq!(keyweir.log().matches("Keys that rules disabled are tried again.").count(), 1);
}

// === on demand ===

#[test]
fn one_key_is_tested_and_what_it_showed_is_told() {
    let mock = MockProvider::start();
    let keys = ["sk-ok-1", "sk-401-1", "sk-429-1", "sk-500-1", "sk-ok-2"];
    let keyweir = Config::pool_with(&mock, QUIET, &keys).start();
    let valid = test(&keyweir, "ok-1");
    assert_eq!(valid["id"], id(&keyweir, "ok-1"));
    assert_eq!((&valid["pool"], &valid["name"]), (&json!("p"), &json!("ok-1")));
    assert!(valid["milliseconds"].is_u64());
    let told = |name: &str| {
        let test = test(&keyweir, name);
        let fields = ["ok", "outcome", "reason", "status", "effect", "state"].map(|field| test[field].clone());
        (Value::Array(fields.to_vec()), test["rule"].clone())
    };
    assert_eq!(told("ok-1"), (json!([true, "valid", "ok", 200, "none", "ready"]), Value::Null));
    let (dead, rule) = told("401-1");
    assert_eq!(dead, json!([false, "dead", "unauthorized", 401, "disabled", "disabled"]));
    assert!(rule.is_string());
    assert_eq!(told("401-1").0, json!([false, "dead", "unauthorized", 401, "none", "disabled"]));
    assert_eq!(told("429-1").0, json!([false, "limited", "rate_limited", 429, "rested", "cooling"]));
    assert_eq!(told("500-1").0, json!([false, "unknown", "server_error", 500, "none", "ready"]));

    // What an operator switched off stays off.
    let off = keyweir.admin("POST", &format!("/api/v1/keys/{}/disable", id(&keyweir, "ok-2")));
    assert_eq!(off.status, 200);
    assert_eq!(told("ok-2").0, json!([true, "valid", "ok", 200, "none", "disabled"]));

    assert_eq!(keyweir.admin("POST", "/api/v1/keys/nothing/test").status, 404);
    let audit = keyweir.admin("GET", "/api/v1/audit").json();
    let lines: Vec<_> =
        audit["items"].as_array().unwrap().iter().filter(|line| line["action"] == "keys.test").collect();
    assert_eq!((lines.len(), &lines[0]["actor"]), (7, &json!("admin")));
}

#[test]
fn a_test_brings_a_disabled_key_back() {
    let mock = MockProvider::start();
    refuse_all(&mock);
    let keyweir = Config::pool_with(&mock, QUIET, &["sk-ok-1"]).start();
    keyweir.chat(&json!({}));
    expect_state(&keyweir, "ok-1", "disabled");
    accept_again(&mock);
    let test = test(&keyweir, "ok-1");
    assert_eq!(
        (&test["outcome"], &test["effect"], &test["state"]),
        (&json!("valid"), &json!("returned"), &json!("ready"))
    );
    assert_eq!(keyweir.chat(&json!({})).status, 200);
}

#[test]
fn many_keys_are_tested_with_a_line_for_each() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(&mock, QUIET, &["sk-ok-1", "sk-401-1", "sk-429-1", "sk-ok-2"]).start();
    let ids = json!({"action": "test", "ids": [id(&keyweir, "ok-1"), id(&keyweir, "401-1")]});
    let answer = keyweir.begin_bulk(&[PROGRESS], &ids).response();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-ndjson")));
    let text = answer.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let progress: Vec<_> = lines.iter().map(|line| (line["done"].as_u64(), line["total"].as_u64())).collect();
    assert_eq!(progress, [(Some(1), Some(2)), (Some(2), Some(2)), (None, None)]);
    let mut outcomes: Vec<_> = lines[..2].iter().map(|line| line["key"]["outcome"].as_str().unwrap()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["dead", "valid"]);
    let report = &lines[2];
    assert_eq!((&report["matched"], &report["changed"]), (&json!(2), &json!(2)));
    assert_eq!(report["outcomes"], json!({"valid": 1, "limited": 0, "dead": 1, "unknown": 0}));
    assert_eq!(report["effects"], json!({"none": 1, "returned": 0, "rested": 0, "disabled": 1}));

    let ready = keyweir.begin_bulk(&[], &json!({"action": "test", "filter": {"q": "ok-"}})).response();
    assert_eq!((ready.status, &ready.json()["outcomes"]["valid"]), (200, &json!(2)), "{}", ready.text());
}

#[test]
fn tests_end_when_whoever_asked_for_them_leaves() {
    let mock = MockProvider::start();
    let keys: Vec<String> = (0..200).map(|number| format!("sk-hang-{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let settings = "probe: {every: 0s, concurrency: 2}, timeouts: {connect: 1s, first_byte: 1s}";
    let keyweir = Config::pool_with(&mock, settings, &keys).start();
    let mut connection = keyweir.begin_bulk(&[PROGRESS], &json!({"action": "test", "filter": {}}));
    connection.until_head_and("\"done\":1,");
    drop(connection);
    let mut before = mock.count("requests");
    let mut quiet = 0;
    // Two are under way at a time, for two seconds each.
    eventually("no more keys are tested", || {
        std::thread::park_timeout(Duration::from_millis(100));
        let now = mock.count("requests");
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
        quiet >= 40
    });
    assert!(before < 20, "{before}");
}

fn cli(keyweir: &Keyweir, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keyweir"))
        .args(["keys", "test", "--server", &format!("http://{}", keyweir.admin)])
        .args(args)
        .env("KEYWEIR_ADMIN_TOKEN", ADMIN_TOKEN)
        .output()
        .unwrap()
}

#[test]
fn the_command_tests_one_several_and_all() {
    let mock = MockProvider::start();
    let keyweir = Config::pool_with(&mock, QUIET, &["sk-ok-1", "sk-ok-2", "sk-429-1", "sk-401-1"]).start();
    let one = cli(&keyweir, &["ok-1"]);
    assert_eq!(one.status.code(), Some(0), "{}", text(&one.stderr));
    let table = text(&one.stdout);
    assert!(table.starts_with("KEY   RESULT  REASON  RULE  STATUS  TIME"), "{table}");
    assert!(table.contains("\nok-1  valid   ok      -     200 "), "{table}");
    let several = cli(&keyweir, &["ok-1", "429-1"]);
    assert_eq!(several.status.code(), Some(0), "a limited key works");
    assert!(
        text(&several.stdout).contains("2 keys: 0 dead, 1 limited, 0 unknown, 1 valid"),
        "{}",
        text(&several.stdout)
    );
    let all = cli(&keyweir, &["--all", "--format", "json"]);
    assert_eq!(all.status.code(), Some(1), "one is dead");
    let all: Value = serde_json::from_slice(&all.stdout).unwrap();
    assert_eq!((all["items"].as_array().unwrap().len(), &all["report"]["outcomes"]["dead"]), (4, &json!(1)));
    assert_eq!(state(&keyweir, "401-1"), "disabled");
    let nobody = cli(&keyweir, &["nobody"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).contains("no key with the name or id"));
}

#[test]
fn where_anybody_may_list_models_a_key_is_asked_for_a_chat_and_only_when_there_is_reason() {
    let (chats, keyless) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (counted, seen) = (chats.clone(), keyless.clone());
    let provider = Scripted::start(move |mut peer| {
        while let Some((head, body)) = peer.request() {
            let authorization = head.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization:"));
            if head.starts_with("GET ") {
                seen.fetch_or(authorization.is_none(), SeqCst);
                peer.answer(200, r#"{"data": [{"id": "tiny"}]}"#);
                continue;
            }
            counted.fetch_add(1, SeqCst);
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((&body["model"], &body["max_tokens"]), (&json!("tiny"), &json!(1)));
            if authorization.is_some_and(|line| line.contains("good")) {
                peer.answer(200, r#"{"choices": [{"message": {"content": "h"}}]}"#);
            } else {
                peer.answer(401, r#"{"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}"#);
            }
        }
    });
    let keyweir = Config::pool_with(&provider, BRISK, &["sk-good-1", "sk-bad-1", "sk-good-2"]).start();
    assert_eq!(test(&keyweir, "good-1")["outcome"], "valid");
    assert_eq!(test(&keyweir, "bad-1")["outcome"], "dead");
    assert_eq!(state(&keyweir, "bad-1"), "disabled");
    assert!(keyless.load(SeqCst), "it was found out without a key");
    // Rounds would have come by many times: chats cost money.
    let before = chats.load(SeqCst);
    assert_eq!(before, 2);
    assert!(keyweir.admin("GET", "/api/v1/explain?pool=p").json()["items"][0]["next_probe"].is_null());
}

#[test]
fn schedules_that_never_happen_are_refused_with_what_to_write() {
    let said = |reactivate: &str| {
        let keyweir = Config::pool_with("127.0.0.1:1", &format!("reactivate: {reactivate}"), &["sk-ok-1"]).launch();
        let check = Command::new(env!("CARGO_BIN_EXE_keyweir"))
            .args(["check", "-c"])
            .arg(keyweir.file("keyweir.yaml"))
            .output()
            .unwrap();
        (check.status.code(), text(&check.stdout) + &text(&check.stderr))
    };
    for (written, expected) in [
        ("{cron: \"0 0 30 2 *\"}", "pools.p.reactivate.cron: never happens"),
        ("{cron: \"0 25 * * *\"}", "pools.p.reactivate.cron: the hour can't be read; write * or 0-23"),
        ("{cron: \"0 0 0 * * *\"}", "pools.p.reactivate.cron: a cron line has five fields"),
        ("{cron: \"0 0 * * *\", timezone: Asia/Shangri-La}", "pools.p.reactivate.timezone: no time zone of this name"),
        ("{every: 10m, timezone: UTC}", "pools.p.reactivate.timezone: belongs to cron"),
        ("{every: 10ms}", "pools.p.reactivate.every: must be at least 1s"),
        ("{probe: true}", "pools.p.reactivate: write either"),
    ] {
        let (status, said) = said(written);
        assert_eq!(status, Some(1), "{written}: {said}");
        assert!(said.contains(expected), "{written}: {said}");
    }
}

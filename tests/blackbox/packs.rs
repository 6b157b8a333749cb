//! Providers described in a file of one's own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::harness::{Config, MockProvider, Peer, Scripted, eventually, new_directory};

const PACK: &str = r#"
extends: openai
auth: {header: x-secret, prefix: "Key "}
headers: {x-more: "1"}
rules:
  - id: tea
    status: [418]
    when: [{message: "^out of tea"}]
    key: cooldown
    rest: 2h
    retry: other_key
"#;

fn file(text: &str) -> PathBuf {
    let path = new_directory().join("mine.yaml");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_pack_of_ones_own_says_how_to_ask_and_what_answers_mean() {
    let provider = Scripted::start(|mut peer: Peer| {
        while let Some((head, _)) = peer.request() {
            let head = head.to_ascii_lowercase();
            match head.contains("x-secret: key sk-ok-1\r\n")
                && head.contains("x-more: 1")
                && !head.contains("authorization")
            {
                true => peer.answer(418, r#"{"error":{"message":"out of tea"}}"#),
                false => peer.answer(500, "{}"),
            }
        }
    });
    let keyweir = Config::pool(&provider, &["sk-ok-1"]).provider(&file(PACK).display().to_string()).start();
    assert_eq!(keyweir.chat(&json!({})).code(), "all_keys_cooling");
    assert_eq!(keyweir.state("ok-1"), ("cooling".into(), "rate_limited".into()));
    let inherited = json!({"pool": "p", "status": 401, "body": {"error": {"code": "invalid_api_key"}}});
    assert_eq!(keyweir.admin_json("POST", "/api/v1/verdict", &inherited).json()["rule"], "openai-dead");
    let common = json!({"pool": "p", "status": 451});
    assert_eq!(keyweir.admin_json("POST", "/api/v1/verdict", &common).json()["rule"], "generic-caller");
}

#[test]
fn a_changed_pack_is_read_again_and_a_broken_one_changes_nothing() {
    let mock = MockProvider::start();
    let path = file("rules: []");
    let keyweir = Config::pool(&mock, &["sk-ok-1"]).provider(&path.display().to_string()).start();
    let rule = || {
        let answer = json!({"pool": "p", "status": 418, "body": "out of tea"});
        keyweir.admin_json("POST", "/api/v1/verdict", &answer).json()["rule"].as_str().unwrap().to_owned()
    };
    assert_eq!(rule(), "generic-4xx");
    fs::write(&path, PACK).unwrap();
    eventually("the file to be noticed", || rule() == "tea");
    fs::write(&path, "rules: [{id: tea, key: explode, retry: none}]").unwrap();
    eventually("the mistake to be said", || keyweir.log().contains("mine.yaml:1:24: rules[0].key: "));
    assert_eq!(rule(), "tea");
    fs::write(&path, PACK.replace("id: tea", "id: coffee")).unwrap();
    eventually("the file to be noticed again", || rule() == "coffee");
}

#[test]
fn every_mistake_in_a_pack_is_named_with_its_place() {
    let text = "extends: nobody\n";
    let more = "extends: openai\nauth: {header: \"no header\"}\nreset_zone: Mars/Olympus\nunknown: 1\n\
                limit_headers: [{remaining: x-left}]\nprobe: {url: models, dead: [401]}\nrules:\n\
                \x20 - {id: A, key: keep, retry: none}\n  - {id: b, when: [{message: \"(\"}], key: keep, retry: none}\n";
    let said = |text: &str| {
        let pack = file(text);
        let config = "pools: {p: {provider: mine.yaml, targets: [\"http://127.0.0.1:1\"]}}\n";
        fs::write(pack.with_file_name("keyweir.yaml"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyweir"));
        let output =
            command.args(["check", "-c", "keyweir.yaml"]).current_dir(pack.parent().unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap()
    };
    assert!(said(text).contains("mine.yaml:1:10: extends: not a built-in pack"), "{}", said(text));
    let all = said(more);
    for line in [
        "mine.yaml:2:16: auth.header: not a header's name",
        "mine.yaml:3:13: reset_zone: no such time zone",
        "mine.yaml:4:1: unknown: ",
        "mine.yaml:5:17: limit_headers[0]: needs reset",
        "mine.yaml:6:14: probe.url: write a path",
        "mine.yaml:8:10: rules[0].id: must be lower-case",
        "mine.yaml:9:30: rules[1].when[0].message: not a regular expression",
    ] {
        assert!(all.contains(line), "{line}\n{all}");
    }
    assert!(said("rules: [").contains("mine.yaml:1:"), "no YAML at all");
}

#[test]
fn the_schema_of_packs_can_be_printed() {
    let output = Command::new(env!("CARGO_BIN_EXE_keyweir")).args(["schema", "--pack"]).output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["properties"]["extends"].is_object() && schema["properties"]["rules"].is_object(), "{schema}");
}

//! What users are told about their keys files.

use super::*;

const POOLS: &str = "pools: {modelscope: {provider: modelscope}, openai: {provider: openai}}\ndefault_pool: openai\n";

/// Loads two pools with this keys file.
fn keys(name: &str, file: &str, text: impl AsRef<[u8]>) -> (Result<Loaded, String>, String) {
    let folder = Folder::new(name);
    folder.file(file, text);
    let env = HashMap::from([("MS_KEY_2", "ms-2222")]);
    let config = format!("{POOLS}keys_file: {file}\n");
    let loaded = parse(&config, &folder.0.join("f.yaml"), &env).map_err(|problems| folder.shown(problems));
    let said = loaded.as_ref().map_or_else(
        |_| String::new(),
        |loaded| loaded.warnings.iter().map(|warning| folder.shown(warning)).collect::<Vec<_>>().join("\n"),
    );
    (loaded, said)
}

#[test]
fn keys_are_read_short_and_long() {
    let text = "\
modelscope:
  - ms-1111
  - key: \"${MS_KEY_2}\"
    name: alice-2
    account: alice
    weight: 2
    priority: 1
    headers: {x-org: o}
    disabled: true
";
    let (loaded, said) = keys("long", "keys.yaml", text);
    let keys = &loaded.unwrap().keys;
    assert_eq!((keys[0].len(), keys[1].len()), (2, 0));
    let [short, long] = &keys[0][..] else { panic!() };
    assert_eq!(short.key.expose(), "ms-1111");
    assert_eq!(short.id, KeyId::of("modelscope", "ms-1111"));
    assert_eq!(short.name, format!("key-{:.8}", short.id.to_string()));
    assert_eq!((long.key.expose(), long.name.as_str(), long.weight, long.priority), ("ms-2222", "alice-2", 2, 1));
    assert_eq!((long.account.as_deref(), long.disabled), (Some("alice"), true));
    assert_eq!(long.headers[0].0, "x-org");
    assert_eq!(said, "keys.yaml:6:13: modelscope[1].weight: warning: has no effect yet");
}

#[test]
fn bad_keys_are_named_by_line_without_their_text() {
    let text = "\
modelscope:
  - good
  - \"CANARY with space\"
  - \"CANARY\\nbreak\"
  - \"CANARYé\"
  - key: CANARY1
    name: twin
  - key: CANARY2
    name: twin
  - key: CANARY3
    name: my-CANARY3
  - {ky: CANARY4}
  - {CANARY5: x}
  - [CANARY6]
  - key: CANARY7
    limits: {rpm: 0}
    models: [\"qwen*\", \"q[\"]
    egress: \"http://u:CANARY@h:1/x\"
nosuch:
  - CANARY8
";
    let (loaded, _) = keys("bad", "keys.yaml", text);
    assert_eq!(
        loaded.unwrap_err(),
        "keys.yaml:3:5: modelscope[1]: contains a space; a key is visible ASCII characters without spaces\n\
         keys.yaml:4:5: modelscope[2]: contains a line break; a key is visible ASCII characters without spaces\n\
         keys.yaml:5:5: modelscope[3]: contains a character that is not ASCII; a key is visible ASCII characters without spaces\n\
         keys.yaml:9:11: modelscope[5].name: another key of this pool has this name; names are unique\n\
         keys.yaml:11:11: modelscope[6].name: the name contains the key, and names are shown; write another\n\
         keys.yaml:12:6: modelscope[7].ky: unknown field; did you mean key?\n\
         keys.yaml:13:5: modelscope[8].key: is missing; write text, or a mapping with credential or file\n\
         keys.yaml:13:6: modelscope[8].?: unknown field; write account, disabled, egress, headers, key, limits, models, name, priority or weight\n\
         keys.yaml:14:5: modelscope[9]: must be text, or a mapping with account, disabled, egress, headers, key, limits, models, name, priority or weight, not a list\n\
         keys.yaml:16:19: modelscope[10].limits.rpm: must be a whole number, at least 1\n\
         keys.yaml:17:23: modelscope[10].models[1]: not a glob; write a model's name, or e.g. qwen*\n\
         keys.yaml:18:13: modelscope[10].egress: a proxy's URL ends after its port; remove path, query and fragment\n\
         keys.yaml:19:1: nosuch: no such pool; write modelscope or openai"
    );
}

#[test]
fn duplicates_are_dropped_counted_and_a_disabled_one_wins() {
    let text = "openai:\n  - a\n  - b\n  - a\n  - {key: b, disabled: true}\nmodelscope: [a]\n";
    let (loaded, said) = keys("duplicates", "keys.yaml", text);
    let keys = loaded.unwrap().keys;
    assert_eq!((keys[0].len(), keys[1].len()), (1, 2));
    assert!(keys[1][1].disabled);
    assert_ne!(keys[0][0].id, keys[1][0].id);
    assert_eq!(said, "keys.yaml:4:5: openai: warning: 2 duplicates dropped (lines 4, 5)");
}

#[test]
fn text_files_belong_to_the_named_or_default_pool() {
    let text = "\u{feff}# mine\r\n\r\nsk-1\r\n  sk-2   # alice\r\nsk 3\r\n";
    let (loaded, _) = keys("text-bad", "keys.txt", text);
    let said = loaded.unwrap_err();
    assert_eq!(said, "keys.txt:5:1: openai: contains a space; a key is visible ASCII characters without spaces");
    let (loaded, _) = keys("text", "keys.txt", text.replace("sk 3", "sk-1"));
    let keys = loaded.unwrap().keys;
    assert_eq!(keys[1].iter().map(|key| key.key.expose()).collect::<Vec<_>>(), ["sk-1", "sk-2"]);
}

#[test]
fn every_import_format_can_be_a_keys_file() {
    let texts = |text: &str, file: &str| {
        let keys = keys("formats", file, text).0.unwrap().keys;
        let texts =
            |pool: usize| keys[pool].iter().map(|key| key.key.expose().to_owned()).collect::<Vec<_>>().join(" ");
        format!("{} | {}", texts(0), texts(1))
    };
    assert_eq!(texts("MODELSCOPE_API_KEY=ms-1\nAPI_KEYS=[\"sk-1\"]\n", ".env"), "ms-1 | sk-1");
    assert_eq!(texts("[\"sk-1\", {\"pool\": \"modelscope\", \"key\": \"ms-1\"}]", "keys.json"), "ms-1 | sk-1");
    assert_eq!(texts("server_address = \":1\"\napi_keys = [\"ms-1\"]\n", "config.toml"), "ms-1 | ");
    assert_eq!(texts("{\"api_keys\": [\"sk-1\"]}", "config.json"), " | sk-1");
    assert_eq!(texts("key,pool\nms-1,modelscope\nsk-1,\n", "keys.csv"), "ms-1 | sk-1");
    assert_eq!(texts("- sk-1\n- {key: \"${MS_KEY_2}\"}\n", "keys.yaml"), " | sk-1 ms-2222");
    assert_eq!(texts("sk-1, sk-2;sk-3", "keys.txt"), " | sk-1 sk-2 sk-3");

    let text = "[\n\"sk-1\",\n\"sk CANARY\",\n{\"pool\": \"other\", \"key\": \"sk-CANARY\"},\n{\"key\": \"sk-2\", \"egress\": \"ftp://CANARY\"}\n]";
    let said = keys("formats-bad", "keys.json", text).0.unwrap_err();
    assert_eq!(
        said,
        "keys.json:3:1: openai: contains a space; a key is visible ASCII characters without spaces\n\
         keys.json:4:1: file: for a pool that does not exist; write modelscope or openai\n\
         keys.json:5:1: openai.egress: not a proxy's URL; write e.g. socks5://user:pass@host:1080 (or http://, https://, socks5h://)"
    );
}

#[test]
fn what_another_format_tells_of_a_key_holds() {
    let text = "[{\"key\": \"sk-1\", \"name\": \"a\", \"models\": [\"m*\"], \"egress\": \"http://h:1\", \"headers\": {\"x-a\": \"b\"}}]";
    let keys = keys("formats-details", "keys.json", text).0.unwrap().keys;
    let key = &keys[1][0];
    assert_eq!((key.name.as_str(), key.models.as_slice()), ("a", &["m*".to_owned()][..]));
    assert_eq!(key.egress.as_ref().map(|egress| egress.name.to_string()).as_deref(), Some("http://h:1"));
    assert_eq!(key.headers.len(), 1);
}

#[test]
fn unreadable_keys_files_are_mistakes() {
    let (loaded, _) = keys("utf8", "keys.yaml", b"openai:\n  - sk-\xff\n");
    assert_eq!(loaded.unwrap_err(), "keys.yaml:2:8: file: not UTF-8; save the file as UTF-8");
    let (loaded, _) = keys("syntax", "keys.yaml", "openai: [sk-CANARY\n");
    let said = loaded.unwrap_err();
    assert!(said.starts_with("keys.yaml:") && said.contains("syntax: not YAML") && !said.contains("CANARY"), "{said}");
}

#[test]
fn configuration_and_keys_are_judged_in_one_run() {
    let folder = Folder::new("both");
    folder.file("keys.yaml", "opnai: [a]\n");
    let config = folder.file("f.yaml", "lgo: {}\npools: {openai: {provider: openai}}\n");
    let said = folder.shown(load(&config).unwrap_err());
    assert_eq!(
        said,
        "f.yaml:1:1: lgo: unknown field; did you mean log?\nkeys.yaml:1:1: opnai: no such pool; did you mean openai?"
    );
}

#[test]
fn a_hundred_thousand_keys_have_distinct_names() {
    let mut text = String::from("openai:\n");
    (0..100_000).for_each(|n| text.push_str(&format!("  - sk-{n}\n")));
    let (loaded, said) = keys("many", "keys.yaml", text);
    let keys = loaded.unwrap().keys;
    let names: std::collections::HashSet<&str> = keys[1].iter().map(|key| key.name.as_str()).collect();
    assert_eq!((keys[1].len(), names.len(), said.as_str()), (100_000, 100_000, ""));
}

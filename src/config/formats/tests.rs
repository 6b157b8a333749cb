//! What comes out of every format, and that nothing bad does.

use proptest::prelude::*;

use super::*;
use crate::config::KeyId;

fn keys(reading: &Reading) -> Vec<(&str, usize)> {
    reading.entries.iter().map(|entry| (entry.key.expose(), entry.line)).collect()
}

fn bad(reading: &Reading) -> Vec<String> {
    reading.bad.iter().map(ToString::to_string).collect()
}

#[test]
fn formats_are_told_apart() {
    for (content, expected) in [
        ("# mine\n\nmodelscope:\n  - k\n", Format::Yaml),
        ("{modelscope: [k]}", Format::Yaml),
        ("{\"modelscope\": [\"k\"]}", Format::Yaml),
        ("- k", Format::Yaml),
        ("", Format::Yaml),
        ("sk-1\nsk-2", Format::Text),
        ("-sk-1\n", Format::Text),
        ("sk-1, sk-2; sk-3", Format::Text),
        ("# x\nabcd==\n", Format::Text),
        ("AB12=\n", Format::Text),
        ("SILICONFLOW_API_KEY_1=sk-1", Format::Env),
        ("export API_KEYS=[\"a\"]", Format::Env),
        ("DATABASE_TYPE=\n", Format::Env),
        ("[\"a\", \"b\"]", Format::Json),
        ("[{\"key\": \"a\"}]", Format::Json),
        ("{\"api_keys\": [\"a\"], \"server_port\": \"8080\"}", Format::ModelscopeBalance),
        ("# x\nserver_address = \":8981\"\napi_keys = [\n\"a\"]\n", Format::ModelscopeBalancer),
        ("[auto_reactivation]\nenabled = true\n", Format::ModelscopeBalancer),
        ("pool,key,name\n,a,b\n", Format::Csv),
        ("key_value;group_name\n", Format::Csv),
    ] {
        assert_eq!(detect(content), expected, "{content}");
    }
}

#[test]
fn pasted_text_is_split_however_it_was_separated() {
    let text = "\u{feff}# mine\r\n\r\nsk-1, sk-2;sk-3  sk-4\r\n\"sk-5\",'sk-6'\r\nsk-7，sk-1\r\nthese are words\r\nsk é9\r\nsk-8 # bob\r\n";
    let reading = read(text);
    let expected =
        [("sk-1", 3), ("sk-2", 3), ("sk-3", 3), ("sk-4", 3), ("sk-5", 4), ("sk-6", 4), ("sk-7", 5), ("sk-8", 8)];
    assert_eq!(keys(&reading), expected);
    assert_eq!(reading.duplicates, [5]);
    assert_eq!(reading.bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [6, 7]);
}

#[test]
fn json_is_read_with_lines_and_what_it_says_of_keys() {
    let text = r#"[
  "sk-1",
  {"key": "sk-2", "name": "bob \ud83d\ude00", "account": "b", "weight": 2, "priority": 1, "enabled": false},
  {"api_key": "sk-3", "status": "invalid", "weight": "many"},
  {"nothing": 1}, 7, null,
  ["sk-4", "sk-1"],
  {"name": "DeepSeek", "path": "deepseek", "base_url": "https://api.deepseek.com/v1", "api_keys": ["sk-5"], "enabled": true},
  {"value": "sk-6", "status": "disabled", "last_failure_reason": "HTTP 401"}
]"#;
    let reading = read(text);
    assert_eq!(reading.format, Format::Json);
    assert_eq!(keys(&reading), [("sk-1", 2), ("sk-2", 3), ("sk-3", 4), ("sk-4", 6), ("sk-5", 7), ("sk-6", 8)]);
    let [_, second, third, _, fifth, sixth] = &reading.entries[..] else { panic!() };
    assert_eq!((second.name.as_deref(), second.account.as_deref()), (Some("bob 😀"), Some("b")));
    assert_eq!((second.weight, second.priority, second.disabled), (2, 1, true));
    assert_eq!((third.state, third.weight), (Some(State::Invalid), 1));
    assert_eq!((fifth.pool.as_deref(), fifth.provider.as_deref()), (Some("deepseek"), Some("deepseek")));
    assert_eq!(fifth.base_url.as_deref(), Some("https://api.deepseek.com/v1"));
    assert_eq!((sixth.state, sixth.disabled), (Some(State::Disabled), false));
    assert_eq!(reading.duplicates, [6]);
    assert_eq!(
        bad(&reading),
        [
            "line 4: weight is not a whole number from 1",
            "line 5: no key here; write the key alone, or a mapping with key, name, account, …",
            "line 5: no key here; write the key alone, or a mapping with key, name, account, …",
            "line 5: no key here; write the key alone, or a mapping with key, name, account, …",
        ]
    );
}

#[test]
fn broken_json_gives_what_stood_before() {
    let reading = read("[\n  \"sk-1\",\n  \"sk-2\",\n]");
    assert_eq!(keys(&reading), [("sk-1", 2), ("sk-2", 3)]);
    let reading = read("[\n  {\"key\": \"sk-1\"},\n  {\"key\": \"sk-2\"},\n  {\"key\": \"sk-CANARY");
    assert_eq!(keys(&reading), [("sk-1", 2), ("sk-2", 3)]);
    assert!(!reading.bad.is_empty() && !format!("{reading:?}").contains("CANARY"));
}

#[test]
fn keys_yaml_is_read_with_everything_it_may_hold() {
    let text = "\
modelscope:
  - ms-1
  - key: \"${MS_KEY}\"
    name: alice
    account: a
    limits: {rpm: 10, concurrency: 2}
    models: [\"qwen*\"]
    egress: http://u:p@h:1
    headers: {x-a: b}
    disabled: true
  - key: {file: /etc/passwd}
  - \"two words\"
  - ${UNSET}
siliconflow: [sk-1, sk-1]
other: sk-CANARY
empty:
";
    let env = HashMap::from([("MS_KEY", "ms-2")]);
    let reading = read_as(text, Format::Auto, &env);
    assert_eq!(keys(&reading), [("ms-1", 2), ("ms-2", 3), ("sk-1", 14)]);
    let alice = &reading.entries[1];
    assert_eq!(
        (alice.pool.as_deref(), alice.name.as_deref(), alice.disabled),
        (Some("modelscope"), Some("alice"), true)
    );
    let details = alice.details.as_ref().unwrap();
    assert_eq!((details.limits.rpm, details.limits.concurrency), (Some(10), Some(2)));
    assert_eq!((details.models.as_slice(), details.headers.len()), (&["qwen*".to_owned()][..], 1));
    assert_eq!(reading.duplicates, [14]);
    assert_eq!(
        bad(&reading),
        [
            "line 11: refers to a file or credential, which only a keys file may; write the key itself",
            "line 12: contains a space; a key is visible ASCII characters without spaces",
            "line 13: the environment variable UNSET is not set; set it or write ${UNSET:-default}",
            "line 15: not a list; write the pool's name, and its keys below it as a list",
        ]
    );
}

#[test]
fn the_older_balancers_configurations_are_read() {
    let toml = "server_address = \":8981\"\nadmin_token = \"CANARY\"\napi_keys = [\n  \"ms-1\",\n  \"ms-2\", # b\n  \"ms-1\",\n]\nbroken = = 1\n\n[auto_reactivation]\nenabled = true\n";
    let reading = read(toml);
    assert_eq!(keys(&reading), [("ms-1", 4), ("ms-2", 5)]);
    assert_eq!(reading.entries[0].provider.as_deref(), Some("modelscope"));
    assert_eq!((reading.duplicates.as_slice(), bad(&reading)), (&[6][..], vec!["line 8: not TOML".to_owned()]));

    let json = "{\n \"api_keys\": [\"ms-1\",\n  \"ms-2\"],\n \"target_url\": \"https://api-inference.modelscope.cn\", \"server_port\": \"8080\"\n}";
    let reading = read(json);
    assert_eq!(keys(&reading), [("ms-1", 2), ("ms-2", 3)]);
    assert_eq!(reading.entries[0].provider.as_deref(), Some("modelscope"));
}

#[test]
fn env_files_give_their_providers_keys_and_no_others() {
    let text = "\
SILICONFLOW_API_KEY_1=sk-1
SILICONFLOW_API_KEY_2='sk-2' # second
SILICONFLOW_BASE_URL=https://api.siliconflow.cn/v1
LB_API_KEY=CANARY-1
API_KEYS=[\"sk-3\",\"sk-4\"]
BASE_URL=https://api.moonshot.cn/v1
GROQ_API_KEYS=sk-5, sk-6
AUTH_TOKEN=CANARY-2
ALLOWED_TOKENS=[\"CANARY-3\"]
PROVIDERS_CONFIG=[
  {\"name\": \"a\", \"path\": \"a\", \"api_keys\": [\"sk-7\"], \"enabled\": false}]
what is this
";
    let reading = read(text);
    let expected = [("sk-1", 1), ("sk-2", 2), ("sk-3", 5), ("sk-4", 5), ("sk-5", 7), ("sk-6", 7), ("sk-7", 11)];
    assert_eq!(keys(&reading), expected);
    let hints: Vec<_> = reading.entries.iter().map(|entry| entry.provider.as_deref()).collect();
    let (sf, groq) = (Some("siliconflow"), Some("groq"));
    assert_eq!(hints, [sf, sf, Some("moonshot"), Some("moonshot"), groq, groq, None]);
    assert_eq!((reading.entries[6].pool.as_deref(), reading.entries[6].disabled), (Some("a"), true));
    assert_eq!(bad(&reading), ["line 12: not NAME=value"]);
}

#[test]
fn tables_are_read_by_their_columns() {
    let reading = read("Key;Name;Weight\nsk-1;alice;2\n\nsk-2;'=1+1;\n;nobody;1\n");
    assert_eq!(keys(&reading), [("sk-1", 2), ("sk-2", 4)]);
    assert_eq!(reading.entries[1].name.as_deref(), Some("=1+1"));
    assert_eq!(bad(&reading), ["line 5: is empty; write the key or remove the entry"]);
}

#[test]
fn long_texts_are_read_in_one_pass() {
    let list: String = (0..20_000).map(|n| format!("  \"sk-{n}\",\n")).collect();
    for (begin, end) in [("[\n", "\"sk-x\"]"), ("[\n", ""), ("API_KEYS=[\n", "\"sk-x\"]\n"), ("api_keys = [\n", "]\n")]
    {
        let reading = read(&format!("{begin}{list}{end}"));
        assert!(reading.entries.len() >= 20_000, "{begin}…{end}: {}", reading.entries.len());
    }
    let unclosed = format!("A=\"\n{list}B=1\n");
    assert_eq!(variables(&unclosed).0.len(), 2);
}

#[test]
fn names_that_give_a_key_away_are_left_out() {
    let reading = read(r#"[{"key": "sk-CANARY-1234567", "name": "sk-CANARY…"}, {"key": "sk-2", "name": "my sk-2"}]"#);
    assert!(reading.entries.iter().all(|entry| entry.name.is_none()));
    assert_eq!(reading.bad.len(), 2);
}

fn entry() -> impl Strategy<Value = Entry> {
    let text = || proptest::option::of("[ -~é中😀]{0,3}[a-z][ -~é中😀]{0,9}[a-z]");
    let key = "[A-Za-z0-9_/+.$=%~-]{0,30}[A-Z][0-9]{4}[A-Z]{2}";
    (key, text(), text(), 1..9u32, 0..9u32, any::<bool>()).prop_map(
        |(key, name, account, weight, priority, disabled)| {
            let mut entry = Entry::new(0, Secret::new(key));
            entry.pool = Some("p-1".into());
            entry.name = name.map(|name| name.trim().to_owned());
            entry.account = account.map(|account| account.trim().to_owned());
            Entry { weight, priority, disabled, ..entry }
        },
    )
}

fn distinct(mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut seen = std::collections::HashSet::new();
    entries.retain(|entry| seen.insert(KeyId::of("", entry.key.expose())));
    entries
}

type Shown<'a> = (&'a str, Option<&'a str>, Option<&'a str>, u32, u32, bool, Option<&'a str>);

fn shown(entry: &Entry) -> Shown<'_> {
    let (name, account) = (entry.name.as_deref(), entry.account.as_deref());
    (entry.key.expose(), name, account, entry.weight, entry.priority, entry.disabled, entry.pool.as_deref())
}

#[test]
fn no_keys_are_a_valid_keys_file_too() {
    let text = export(ExportFormat::Yaml, &[]);
    assert_eq!(text, "{}\n");
    let read = read_as(&text, Format::Yaml, &HashMap::new());
    assert!(read.entries.is_empty() && read.bad.is_empty(), "{:?}", read.bad);
}

#[test]
fn exported_yaml_is_yaml_1_1_too() {
    let account = "a\u{7f}b\u{85}c\u{9e}d\u{2028}e\u{feff}f\u{ffff}g密钥";
    let mut entry = Entry::new(0, Secret::new("sk-1".to_owned()));
    entry.account = Some(account.to_owned());
    let text = export(ExportFormat::Yaml, &[entry]);
    assert!(text.contains(r"\u0085c\u009ed\u2028e\ufefff\uffffg密钥"), "{text}");
    // An import refuses control characters in an account.
    let read: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    assert_eq!(read["default"][0]["account"].as_str(), Some(account));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_exported_is_read_back(entries in proptest::collection::vec(entry(), 1..20)) {
        let entries = distinct(entries);
        for (export_format, format) in
            [(ExportFormat::Yaml, Format::Yaml), (ExportFormat::Json, Format::Json), (ExportFormat::Csv, Format::Csv)]
        {
            let text = export(export_format, &entries);
            prop_assert_eq!(detect(&text), format, "{}", text);
            let reading = read(&text);
            prop_assert_eq!(bad(&reading), Vec::<String>::new());
            let (written, read): (Vec<_>, Vec<_>) =
                (entries.iter().map(shown).collect(), reading.entries.iter().map(shown).collect());
            prop_assert_eq!(written, read, "{}", text);
        }
        let text = export(ExportFormat::Text, &entries);
        let reading = read_as(&text, Format::Text, &HashMap::new());
        let (written, read): (Vec<_>, Vec<_>) =
            (entries.iter().map(|e| e.key.expose()).collect(), reading.entries.iter().map(|e| e.key.expose()).collect());
        prop_assert_eq!(written, read);
    }

    #[test]
    fn nothing_panics_and_nothing_is_given_away(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        harmless(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn nearly_right_texts_are_harmless(
        pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40),
    ) {
        harmless(&pieces.concat())?;
    }
}

const PIECES: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    ":",
    ": ",
    ",",
    "=",
    " = ",
    "\n",
    "\r\n",
    "\n  - ",
    "#",
    " # ",
    "\t",
    "\\",
    "$",
    "${",
    "&a ",
    "*a",
    "\u{feff}",
    "é",
    "key",
    "\"key\": ",
    "api_keys",
    "\"api_keys\": [",
    "API_KEYS=",
    "PROVIDERS_CONFIG=[",
    "[table]\n",
    "key,name\n",
    "CANARY-0123456789",
    "\"CANARY-9876543210\"",
    "weight: ",
    "1",
    "true",
    "null",
    "---\n",
    "name",
];

/// Reads it as everything; a canary appears in no message.
fn harmless(text: &str) -> Result<(), TestCaseError> {
    let formats = [
        Format::Auto,
        Format::Yaml,
        Format::Text,
        Format::Json,
        Format::Csv,
        Format::Env,
        Format::ModelscopeBalancer,
        Format::ModelscopeBalance,
    ];
    // YAML counts a lone carriage return as a line break.
    let lines = text.split(['\n', '\r']).count();
    for format in formats {
        let reading = read_as(text, format, &HashMap::new());
        for bad in &reading.bad {
            prop_assert!(!bad.message.contains("CANARY"), "{format:?}: {bad}");
            prop_assert!((1..=lines + 1).contains(&bad.line), "{format:?}: {bad}");
        }
        for entry in &reading.entries {
            prop_assert!(refusal(entry.key.expose()).is_none());
            prop_assert!(entry.name.as_ref().is_none_or(|name| !name.contains(entry.key.expose())));
        }
    }
    Ok(())
}

#[test]
fn a_long_list_is_read_in_pieces_with_the_lines_of_the_whole() {
    let lines: Vec<String> = (0..60_000)
        .map(|number| match number % 20_000 {
            1 => "# a comment, ü".to_owned(),
            7 => format!("sk-ok-{number:040}, sk-and-{number:040}"),
            9 => "prose is no key".to_owned(),
            _ => format!("sk-ok-{number:040}"),
        })
        .collect();
    let text = format!("\u{feff}{}\n", lines.join("\n"));
    let whole = read(&text);
    let mut read = incoming(&text, 77_777);
    assert_eq!(read.len(), 3);
    let place = |entry: &Entry| (entry.line, entry.key.expose().to_owned());
    let entries: Vec<_> = read.iter().flat_map(|piece| &piece.entries).map(place).collect();
    assert_eq!(entries, whole.entries.iter().map(place).collect::<Vec<_>>());
    let bad: Vec<_> = read.drain(..).flat_map(|piece| piece.bad).collect();
    assert_eq!((bad.len(), &bad), (3, &whole.bad));
    for text in ["", "sk-one-key-0000000000", "[\"sk-a-list-in-json-00\"]"] {
        assert_eq!(incoming(text, 1).len(), 1, "{text}");
    }
}

/// What is read of a text that comes in parts of that size.
fn incoming(text: &str, size: usize) -> Vec<Reading> {
    let mut incoming = Incoming::new(Format::Auto);
    let mut pieces: Vec<Reading> =
        text.as_bytes().chunks(size).filter_map(|part| incoming.take(part).expect("UTF-8")).collect();
    pieces.push(incoming.end().expect("UTF-8"));
    pieces
}

#[test]
fn a_long_text_without_a_key_per_line_is_read_at_its_end() {
    let keys: Vec<String> = (0..40_000).map(|number| format!("sk-ok-{number:040}")).collect();
    let json = serde_json::to_string_pretty(&keys).unwrap();
    let yaml = format!("pool:\n  - {}\n", keys.join("\n  - "));
    for (text, format) in [(json, Format::Json), (yaml, Format::Yaml), (keys.join(","), Format::Text)] {
        let read = incoming(&text, 65_536);
        assert_eq!((read.len(), read[0].format, read[0].entries.len()), (1, format, 40_000));
    }
}

#[test]
fn what_is_no_utf8_is_told_with_its_line() {
    let long = format!("{}\n", "sk-ok-0123456789".repeat(4)).repeat(40_000);
    let mut incoming = Incoming::new(Format::Auto);
    assert!(incoming.take(long.as_bytes()).expect("UTF-8").is_some());
    assert!(incoming.take(b"sk-ok-2\n").expect("not enough yet").is_none());
    assert!(incoming.take(b"sk-\xff\n").expect("not enough yet").is_none());
    assert_eq!(incoming.end().expect_err("bad bytes").line, 40_002);
    let mut short = Incoming::new(Format::Auto);
    assert!(short.take(b"sk-\xff\n").expect("not enough yet").is_none());
    assert_eq!(short.end().expect_err("bad bytes").line, 1);
}

#[test]
fn a_pool_whose_name_is_none_is_left_out() {
    // Longer than a key of YAML may be once it is escaped.
    let long = "\\u0000".repeat(230);
    for name in [long.as_str(), "p\\u001b"] {
        let read = read(&format!("[{{\"pool\": \"{name}\", \"key\": \"ms-sample-0001\"}}]"));
        assert_eq!((read.entries.len(), read.bad.len()), (1, 1), "{:?}", read.bad);
        for format in [ExportFormat::Yaml, ExportFormat::Json, ExportFormat::Csv] {
            assert_eq!(super::read(&export(format, &read.entries)).bad, [], "{format:?}");
        }
    }
}

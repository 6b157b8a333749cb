//! What the rules make of recorded answers of providers, and of hostile ones.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::io::Write;
use std::path::Path;

use base64::Engine as _;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use keyweir::verdict::case::{Case, Words};
use keyweir::verdict::{Action, Answer, Engine, Judgement, Retry, pack};
use proptest::prelude::*;

/// Percent of what the generic rules must get right.
const FLOOR: usize = 70;

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/classification/cases.jsonl");
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn now() -> Timestamp {
    "2025-12-01T00:00:00Z".parse().unwrap()
}

fn judge(provider: &str, status: Option<u16>, headers: &HeaderMap, body: &[u8]) -> Judgement {
    let engine = Engine::of_pack(pack::find(provider).unwrap());
    engine.judge(&Answer { status, headers, body, model: "m" }, now())
}

/// Rule, key and retry.
fn verdict(provider: &str, status: u16, body: &str) -> (String, Action, Retry) {
    let verdict = judge(provider, Some(status), &HeaderMap::new(), body.as_bytes()).verdict;
    (verdict.rule.to_string(), verdict.key, verdict.retry)
}

#[test]
fn every_recorded_answer_gets_the_expected_verdict() {
    for case in cases() {
        let engine = Engine::of_pack(pack::find(&case.provider).unwrap_or(pack::generic()));
        let words = case.judge(&engine, now());
        assert!(case.expected.as_ref().unwrap().is_met(&words), "{}: {words:?}, not {:?}", case.id, case.expected);
    }
}

/// How the generic rules do with each provider, as if it were one they know nothing of: key and retry, and what they do to
/// a key at all. `cargo test --test verdicts generic -- --nocapture` prints it.
#[test]
fn generic_rules_do_well_with_each_provider_that_is_left_out() {
    let engine = Engine::of_pack(pack::generic());
    let mut by_provider: std::collections::BTreeMap<String, [usize; 3]> = Default::default();
    for case in cases().into_iter().filter(|case| pack::find(&case.provider).is_some()) {
        let Words { rule, key, retry, .. } = case.judge(&engine, now());
        let expected = case.expected.unwrap();
        let (key, retry) = (serde_json::to_value(key).unwrap(), serde_json::to_value(retry).unwrap());
        let is_key = expected.key.as_deref() == key.as_str();
        let is_right = is_key && expected.retry.as_deref() == retry.as_str();
        let count = by_provider.entry(case.provider.clone()).or_default();
        *count = [count[0] + usize::from(is_right), count[1] + usize::from(is_key), count[2] + 1];
        if !is_right {
            eprintln!("{}: {key} {retry} by {rule}, expected {expected:?}", case.id);
        }
        assert!(key != "disable" || expected.key.as_deref() == Some("disable"), "{}: wrongly disabled", case.id);
    }
    let sum = |place: usize| by_provider.values().map(|count| count[place]).sum::<usize>();
    for (provider, [right, key, all]) in &by_provider {
        eprintln!("{provider:12} {right:3} of {all:3} right, {key:3} of the keys");
    }
    eprintln!("{:12} {:3} of {:3} right, {:3} of the keys", "all", sum(0), sum(2), sum(1));
    assert!(sum(0) * 100 >= sum(2) * FLOOR, "{} of {} right", sum(0), sum(2));
}

#[test]
fn a_prompt_in_an_error_touches_no_key() {
    let prompt = "my api key is invalid, balance 0, insufficient balance, your credit balance is too low, model gone, \
                  organization has been disabled, exceeded your current quota, daily limit reached, RPD, overdue";
    for pack in pack::PACKS.iter() {
        for body in [
            serde_json::json!({"error": {"message": format!("Invalid value: '{prompt}'"), "type": "invalid_request_error"}}),
            serde_json::json!({"error": {"message": "Invalid request", "param": prompt, "input": {"text": "API_KEY_INVALID"}}}),
            serde_json::json!({"message": format!("messages[0].content: \"{prompt}\" is not allowed"), "code": "bad_request"}),
            serde_json::json!({"detail": [{"loc": ["body"], "msg": "value error", "input": prompt}]}),
        ] {
            for status in [400, 422] {
                let (rule, key, retry) = verdict(&pack.name, status, &body.to_string());
                assert_eq!((key, retry), (Action::Keep, Retry::None), "{}: {rule} for {body}", pack.name);
            }
        }
    }
}

#[test]
fn what_the_client_or_the_operator_chose_disables_nothing() {
    for (status, body) in [
        (
            401,
            r#"{"error":{"message":"OpenAI-Organization header should match organization for API key","type":"invalid_request_error","code":"mismatched_organization"}}"#,
        ),
        (
            401,
            r#"{"error":{"message":"No such organization: org-abc.","type":"invalid_request_error","code":"invalid_organization"}}"#,
        ),
        (
            401,
            r#"{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: api.files.read"}}"#,
        ),
        (
            403,
            r#"{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: model.request"}}"#,
        ),
        (404, r#"{"error":{"message":"Invalid URL (GET /v1/nope)"}}"#),
        (405, ""),
    ] {
        for provider in ["openai", "generic"] {
            let (rule, key, _) = verdict(provider, status, body);
            assert_ne!(key, Action::Disable, "{provider}: {rule} for {body}");
        }
    }
}

#[test]
fn errors_are_read_in_every_wrapping() {
    let wrapped = [
        r#"{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}"#,
        r#"{"errors":{"message":"Incorrect API key provided"},"request_id":"1"}"#,
        r#"{"errors":[{"message":"Incorrect API key provided"}]}"#,
        r#"[{"error":{"message":"Incorrect API key provided"}}]"#,
        r#"{"error":"Incorrect API key provided"}"#,
        r#""Incorrect API key provided""#,
        r#"{"message":"Incorrect API key provided"}"#,
        r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"Incorrect API key provided"}"#,
        r#"{"error":{"message":"{\"error\":{\"message\":\"Incorrect API key provided\"}}"}}"#,
        "Incorrect API key provided",
        "event: error\ndata: {\"error\":{\"message\":\"Incorrect API key provided\"}}\n\n",
        "data: {\"error\":{\"message\":\"Incorrect API key provided\"}}\r\n\r\ndata: [DONE]\r\n\r\n",
        "error: {\"message\":\"Incorrect API key provided\"}\n\n",
        "\u{feff}{\"error\":{\"message\":\"Incorrect API key provided\"}}",
        r#"{"error":{"message":"Incorrect API key provided","param":[[[[[["#,
    ];
    for body in wrapped {
        assert_eq!(verdict("generic", 401, body).1, Action::Disable, "{body}");
    }
    let mut latin = br#"{"error":{"message":"Incorrect API key provided, d"#.to_vec();
    latin.extend_from_slice(b"\xe9sol\xe9\"}}");
    assert_eq!(judge("generic", Some(401), &HeaderMap::new(), &latin).verdict.key, Action::Disable);
    let html = "<!DOCTYPE html><title>Incorrect API key provided</title>";
    assert_eq!(verdict("generic", 401, html).1, Action::Keep, "a web page says nothing about a key");
}

#[test]
fn an_error_inside_a_200_is_an_error() {
    let (_, key, retry) =
        verdict("openai", 200, "data: {\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"x\"}}\n\n");
    assert_eq!((key, retry), (Action::CooldownModel, Retry::OtherKey));
    let content = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n";
    let late = verdict("openai", 200, &format!("{content}data: {{\"error\":{{\"message\":\"Overloaded\"}}}}\n\n"));
    assert_eq!((late.1, late.2), (Action::Keep, Retry::None), "nothing is retried after content");
    assert_eq!(verdict("openai", 200, content).0, "success");
    assert_eq!(verdict("openai", 200, "data: [DONE]\n\n").2, Retry::OtherTarget);
    assert_eq!(verdict("openai", 200, r#"{"object":"list","data":[]}"#).0, "success");
    assert_eq!(verdict("openai", 200, r#"{"object":"response","status":"failed","error":{"code":"x"}}"#).0, "success");
    assert_eq!(verdict("zhipu", 200, r#"{"code":401,"msg":"token expired","success":false}"#).1, Action::Disable);
}

#[test]
fn compressed_bodies_are_read() {
    let text = br#"{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}"#;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(text).unwrap();
    let zlib = zlib.finish().unwrap();
    let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    raw.write_all(text).unwrap();
    let raw = raw.finish().unwrap();
    let brotli =
        "G0oA4KwK7HY2ryyOERGm1+nzcdOitche3tcOgipbk0lhaanD0lducA0i8pUWHHIikN2D1gINPIbXMUgUgxMwUPKQu3WUULGnsn4yPQ==";
    let brotli = base64::engine::general_purpose::STANDARD.decode(brotli).unwrap();
    let zstd = zstd::encode_all(text.as_slice(), 0).unwrap();
    for (coding, body) in [
        ("gzip", &gzip),
        ("deflate", &zlib),
        ("deflate", &raw),
        ("", &gzip),
        ("br", &brotli),
        ("zstd", &zstd),
        ("", &zstd),
    ] {
        let headers = [(CONTENT_ENCODING, HeaderValue::from_static(coding))].into_iter().collect();
        let verdict = judge("generic", Some(401), &headers, body).verdict;
        assert_eq!(verdict.key, Action::Disable, "{coding}");
        let cut = judge("generic", Some(401), &headers, &body[..body.len() - 9]).verdict;
        // Zstandard's blocks are read whole, and so short a text is one.
        assert!(cut.key == Action::Disable || body == &zstd, "{coding}, cut off");
    }
}

#[test]
fn bodies_in_other_charsets_are_read() {
    let text = r#"{"error":{"code":"x","message":"该令牌额度已用尽，账户余额不足"}}"#;
    let (gbk, _, _) = encoding_rs::GBK.encode(text);
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let with_mark = [b"\xff\xfe", utf16.as_slice()].concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&gbk).unwrap();
    let gzip = gzip.finish().unwrap();
    for (charset, coding, body) in [
        ("gbk", "", &*gbk),
        ("GB2312", "", &gbk),
        ("\"gb18030\"", "", &gbk),
        ("gbk", "gzip", &gzip),
        ("utf-8", "gzip", &gzip),
        ("utf-16le", "", &utf16),
        ("utf-8", "", &with_mark),
        // Nothing said, something wrong said, something unknown said.
        ("", "", &gbk),
        ("utf-8", "", &gbk),
        ("gbk", "", text.as_bytes()),
        ("iso-8859-1", "", text.as_bytes()),
        ("utf-16", "", text.as_bytes()),
        ("klingon", "", text.as_bytes()),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, format!("application/json; charset={charset}").parse().unwrap());
        headers.insert(CONTENT_ENCODING, coding.parse().unwrap());
        let judgement = judge("generic", Some(403), &headers, body);
        assert_eq!(&*judgement.verdict.rule, "generic-billing", "{charset} {coding}: {:?}", judgement.answer.fields);
        if coding.is_empty() {
            let cut = judge("generic", Some(403), &headers, &body[..body.len() - 5]);
            assert_eq!(&*cut.verdict.rule, "generic-billing", "{charset}, cut off: {:?}", cut.answer.fields);
        }
    }
    let latin = b"{\"message\":\"cl\xe9 expir\xe9e, r\xe9essayez dans 30 s\"}";
    let headers = [(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=ISO-8859-1"))].into_iter().collect();
    assert_eq!(judge("generic", Some(429), &headers, latin).answer.fields.message, "clé expirée, réessayez dans 30 s");
}

#[test]
fn hostile_bodies_get_a_verdict() {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b'a'; 32 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    let gzip = [(CONTENT_ENCODING, HeaderValue::from_static("gzip"))].into_iter().collect();
    assert_eq!(&*judge("generic", Some(500), &gzip, &bomb).verdict.rule, "generic-5xx");
    let deep = format!("{{\"error\":{}", "[".repeat(100_000));
    let objects = "{\"error\":".repeat(100_000);
    let huge = format!("{{\"error\":{{\"message\":\"{}\"}}}}", "long ".repeat(20_000_000));
    for body in [&deep, &objects, &huge, &"data: {}\n\n".repeat(10_000)] {
        assert_eq!(verdict("generic", 503, body).1, Action::Keep);
        assert_eq!(verdict("generic", 429, body).1, Action::CooldownModel);
    }
}

#[test]
fn absurd_times_are_kept_within_bounds() {
    for value in [
        "-5",
        "99999999999999999999",
        "9999-12-31T23:59:59Z",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "1e308",
        "NaN",
        "\u{7f}",
    ] {
        for name in ["retry-after", "retry-after-ms", "x-ratelimit-reset-requests", "x-ratelimit-reset"] {
            let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else { continue };
            let headers = [(HeaderName::from_static(name), value)].into_iter().collect();
            let rest = judge("generic", Some(429), &headers, b"").verdict.until.unwrap().time.as_secs_f64();
            assert!((1.0..=3600.0).contains(&rest), "{name}: {rest}");
        }
    }
}

#[test]
fn every_pack_compiles() {
    for pack in pack::PACKS.iter() {
        assert_eq!(Engine::of_pack(pack).provider(), pack.name.as_str());
        assert!(pack.base_urls.iter().all(|url| url.starts_with("https://")), "{}", pack.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes, there is a verdict, and nothing rests longer than a rule allows.
    #[test]
    fn anything_gets_a_verdict(
        place in 0..22_usize,
        status in prop_oneof![Just(None), (100..1000_u16).prop_map(Some)],
        encoding in prop_oneof!["", "gzip", "deflate", "br", "identity", "nonsense"],
        kind in prop_oneof![
            "application/json", "text/html; charset=gb2312", "text/event-stream", "a/b; charset=(gbk|utf-16be|iso-2022-jp|big5)"
        ],
        reset in "[ -~]{0,30}",
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..2000),
            "(data: |event: error\n|error: )?\\PC{0,300}".prop_map(String::into_bytes),
            r#"[\[\]{}":,0-9a-z ]{0,400}"#.prop_map(String::into_bytes),
            r#"\{"(error|errors|message|code)": ?(\{"(code|message|status)": ?[0-9"a-z ]{0,40}\}|"[^"]{0,80}"|[0-9]{1,30}).{0,5}"#
                .prop_map(String::into_bytes),
        ],
    ) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        for name in ["retry-after", "x-ratelimit-reset-tokens", "anthropic-ratelimit-tokens-reset"] {
            headers.insert(name, reset.parse().unwrap());
        }
        let pack = &pack::PACKS[place];
        let verdict = judge(&pack.name, status, &headers, &body).verdict;
        let rests = matches!(verdict.key, Action::Cooldown | Action::CooldownModel);
        prop_assert_eq!(rests, verdict.until.is_some());
        prop_assert!(verdict.until.is_none_or(|rest| rest.time.as_secs() <= 31 * 86_400));
    }

    /// Where an answer is cut off does not turn it into a dead key.
    #[test]
    fn a_cut_answer_disables_only_what_the_whole_one_does(place in any::<prop::sample::Index>(), cut in 0.0..1.0_f64) {
        let cases = cases();
        let mut case = place.get(&cases).clone();
        let engine = Engine::of_pack(pack::find(&case.provider).unwrap_or(pack::generic()));
        let whole = case.judge(&engine, now());
        let text = case.body.as_str().unwrap_or_default().to_owned();
        let end = text.char_indices().map(|(at, _)| at).nth((text.chars().count() as f64 * cut) as usize);
        case.body = text.get(..end.unwrap_or(text.len())).unwrap().into();
        let part = case.judge(&engine, now());
        // A provider whose every 401 is a dead key says it with the status.
        let by_status = Case { body: "".into(), ..case.clone() }.judge(&engine, now());
        prop_assert!(part.key != Action::Disable || whole.key == Action::Disable || by_status.key == Action::Disable);
    }
}

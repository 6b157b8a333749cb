//! Any answer of a provider gets a verdict, and no rest is longer than a rule allows.
//!
//! The input reads like an answer, so that a finding can be understood at sight: `PACK STATUS`, header lines, an empty
//! line, the body. `0` for the status is an error inside a 200.

#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use keyweir::verdict::{Action, Answer, Engine, pack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.splitn(2, |&byte| byte == b'\n');
    let first = std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let (pack, status) = first.split_once(' ').unwrap_or((first, "429"));
    let status = status.parse().ok().filter(|status| (100..1000).contains(status));
    let mut rest = lines.next().unwrap_or_default();
    let mut headers = HeaderMap::new();
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let (line, next) = (&rest[..end], &rest[end + 1..]);
        rest = next;
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { break };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(line[colon + 1..].trim_ascii()))
        {
            headers.append(name, value);
        }
    }
    let engine = Engine::of_pack(pack::find(pack).unwrap_or(pack::generic()));
    let now = Timestamp::from_second(1_764_547_200).unwrap_or_default();
    let verdict = engine.judge(&Answer { status, headers: &headers, body: rest, model: "m" }, now).verdict;
    let rests = matches!(verdict.key, Action::Cooldown | Action::CooldownModel);
    assert_eq!(rests, verdict.until.is_some());
    assert!(verdict.until.is_none_or(|rest| rest.time.as_secs() <= 31 * 86_400));
});

//! A pack of the user's own is refused, or it judges.

#![no_main]

use http::HeaderMap;
use jiff::Timestamp;
use keyweir::verdict::pack::{Pack, PackText};
use keyweir::verdict::{Answer, Engine};
use libfuzzer_sys::fuzz_target;

const BODY: &[u8] =
    br#"{"error": {"message": "You exceeded your daily limit, try again in 7s", "code": "quota", "type": "limit"}}"#;

fuzz_target!(|text: &str| {
    let Ok(text) = serde_yaml::from_str::<PackText>(text) else { return };
    let Ok(pack) = Pack::new("own".into(), "own.yaml".into(), text) else { return };
    let engine = Engine::of_pack(&pack.into());
    for status in [None, Some(400), Some(401), Some(429), Some(503)] {
        engine.judge(&Answer { status, headers: &HeaderMap::new(), body: BODY, model: "m" }, Timestamp::UNIX_EPOCH);
    }
});

//! The header a key travels in, for each provider that has one of its own.

use serde_json::{Value, json};

use crate::harness::{Config, MockProvider, TOKEN, post};

const FORMS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

#[test]
fn each_provider_gets_its_key_where_it_looks_for_it() {
    let mock = MockProvider::start();
    let azure = "/p/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
    for (provider, base, path, form, seen) in [
        ("openai", "/v1", "/v1/chat/completions", "authorization", "/v1/chat/completions"),
        ("azure", "", azure, "api-key", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"),
        ("anthropic", "/v1", "/p/v1/messages?beta=true", "x-api-key", "/v1/messages?beta=true"),
        ("gemini", "/v1beta/openai", "/v1/chat/completions", "authorization", "/v1beta/openai/chat/completions"),
        (
            "gemini",
            "/v1beta",
            "/p/v1beta/models/gemini-2.5-pro:generateContent",
            "x-goog-api-key",
            "/v1beta/models/gemini-2.5-pro:generateContent",
        ),
    ] {
        let target = format!("http://{mock}{base}");
        let keyweir = Config::pool(&target, &["sk-ok-1"]).provider(provider).start();
        let before = mock.count("requests");
        // The mock may not know the path; what it was sent is what counts.
        let _answer = keyweir.send(post(path, &json!({"messages": []})));
        assert_eq!(mock.count("requests"), before + 1, "{provider} {base}");
        let last = mock.last().pop().unwrap();
        assert_eq!((last["path"].as_str(), last["key"].as_str()), (Some(seen), Some("sk-ok-1")), "{provider} {base}");
        let headers: Vec<(String, String)> = serde_json::from_value(last["headers"].clone()).unwrap();
        let forms: Vec<_> = headers.iter().filter(|(name, _)| FORMS.contains(&name.to_lowercase().as_str())).collect();
        assert_eq!(forms.len(), 1, "{forms:?}");
        assert_eq!(forms[0].0.to_lowercase(), form, "{provider} {base}");
        assert_eq!(forms[0].1.starts_with("Bearer "), form == "authorization");
        assert!(!Value::from(last["headers"].clone()).to_string().contains(TOKEN));
        let version = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("anthropic-version"));
        assert_eq!(version.is_some(), provider == "anthropic");
    }
}

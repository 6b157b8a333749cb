//! Keeps what names a key, an account or its owner out of remembered answers.
//!
//! Providers name in their errors the organisation, the project, the user and a part of the key. Beside the key itself,
//! which is known, these are found by their shapes, and rather too much is blanked than too little.

use http::HeaderName;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, PROXY_AUTHENTICATE, SET_COOKIE, TRANSFER_ENCODING,
    WWW_AUTHENTICATE,
};
use once_cell::sync::Lazy;
use regex::Regex;

use crate::telemetry::redact::scrub;

const BLANK: &str = "[redacted]";

static SHAPES: Lazy<Vec<(Regex, String)>> = Lazy::new(|| {
    const OWNER: &str =
        "organi[sz]ation|org|project|proj|account|acct|user|uid|customer|consumer|team|tenant|workspace|owner|email";
    let shapes = [
        // "organization": "…", "user_id": "…"
        (
            format!(
                r#"(?i)("(?:[a-z]+_)*(?:{OWNER})(?:_?(?:id|name|number|code))?"\s*:\s*)(?:"(?:[^"\\]|\\.)*"?|\d+)"#
            ),
            format!("${{1}}\"{BLANK}\""),
        ),
        // project 123, account number: a1, organization `acme`
        (
            format!(
                r#"(?i)\b((?:{OWNER})s?(?:[ _-]?(?:id|number|name|code))?["']?\s*[:=#]?\s*)(?:`[^`]*`|<[^>]*>|["']?[a-z_-]*\d[\w.-]*)"#
            ),
            format!("${{1}}{BLANK}"),
        ),
        // org-abc, proj_Abc, user_2x, projects/123; but not account_deactivated
        (
            concat!(
                r"\borg-[\w-]{3,}|\bprojects?/[\w-]+",
                r"|\b(?:org|proj|project|user|acct|account|team|tenant|ws)[-_][a-z_-]*[A-Z0-9][\w-]*"
            )
            .to_owned(),
            BLANK.to_owned(),
        ),
        (r"[\w.+-]+@[\w-]+\.[\w.-]+".to_owned(), BLANK.to_owned()),
        // A key of which the middle is hidden.
        (
            r"[A-Za-z0-9_-]*(?:\*{2,}|•{2,})[A-Za-z0-9_-]*|\b[A-Za-z0-9_-]{2,}(?:\.{3}|…)[A-Za-z0-9_-]{2,}".to_owned(),
            BLANK.to_owned(),
        ),
    ];
    shapes.into_iter().filter_map(|(shape, blank)| Some((Regex::new(&shape).ok()?, blank))).collect()
});

/// A text without secrets; `key` is the one that was used.
pub(super) fn text(text: &str, key: &str) -> String {
    let known = if key.is_empty() { text.to_owned() } else { text.replace(key, BLANK) };
    SHAPES.iter().fold(scrub(&known).into_owned(), |text, (shape, blank)| shape.replace_all(&text, blank).into_owned())
}

/// Whether a header names an account, or speaks of the body as it came.
pub(super) fn is_secret_header(name: &HeaderName) -> bool {
    const WORDS: [&str; 8] = ["organization", "project", "account", "user", "cookie", "auth", "tenant", "email"];
    let known = [
        &AUTHORIZATION,
        &CONTENT_ENCODING,
        &CONTENT_LENGTH,
        &PROXY_AUTHENTICATE,
        &SET_COOKIE,
        &TRANSFER_ENCODING,
        &WWW_AUTHENTICATE,
    ];
    known.contains(&name) || WORDS.iter().any(|word| name.as_str().contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_one() {
        assert_eq!(SHAPES.len(), 5);
    }

    #[test]
    fn neither_key_nor_account_survives() {
        for said in [
            "Incorrect API key provided: sk-proj-********NARY. You can find it",
            "key CANARY-is-odd is unknown",
            "Your account org-CANARY<ak-CANARY> is suspended",
            "Rate limit reached for gpt-4o in organization org-CANARY on tokens",
            "in organization `CANARY` service tier `on_demand`",
            "Rate limit of project CANARY1 exceeded",
            r#"{"error":{"message":"x"},"user_id":"user_CANARY"}"#,
            r#"{"organization":"CANARY \" CANARY","code":1}"#,
            r#"{"metadata":{"consumer":"projects/CANARY"}}"#,
            "quota for consumer 'project_number:1CANARY'",
            "contact CANARY@example.com",
            "Incorrect API key provided: xa***CANARY.",
            "sk-or...CANARY is disabled",
        ] {
            let clean = text(said, "CANARY-is-odd");
            assert!(!clean.contains("NARY"), "{clean}");
            assert!(clean.contains(BLANK), "{clean}");
        }
    }

    #[test]
    fn what_rules_read_is_left_alone() {
        for said in [
            r#"{"error":{"message":"Rate limit reached for requests: limit 3, used 3. Please try again in 20s.","type":"requests","code":"rate_limit_exceeded"}}"#,
            "You have exceeded today's quota for model Qwen/Qwen3-32B. Please try again tomorrow...",
            r#"{"error":{"code":"account_deactivated","type":"project_spend_limit_exceeded","guideline":"x"}}"#,
            "Your account is not active, please check your billing details",
            "该令牌额度已用尽",
        ] {
            assert_eq!(text(said, "hush"), said);
        }
    }
}

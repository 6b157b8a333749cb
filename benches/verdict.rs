//! What a verdict on a failing answer costs, with every pack loaded. `make bench` runs it.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use jiff::Timestamp;
use keyweir::verdict::{Answer, Engine, pack};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes of a body.
const SIZE: usize = 2048;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let engines: Vec<_> = pack::PACKS.iter().map(|pack| (pack.name.as_str(), Engine::of_pack(pack))).collect();
    let now = Timestamp::UNIX_EPOCH;
    let mut group = criterion.benchmark_group("a verdict on a body of 2 KiB");
    for (case, provider, status, kind, body) in cases() {
        let headers = headers(kind);
        let answer = Answer { status: Some(status), headers: &headers, body: body.as_bytes(), model: "gpt-4o" };
        let Some((_, engine)) = engines.iter().find(|(name, _)| *name == provider) else { continue };
        group.bench_function(BenchmarkId::from_parameter(case), |bencher| {
            bencher.iter_custom(|times| {
                let started = cpu_time();
                (0..times).for_each(|_| drop(black_box(engine.judge(black_box(&answer), now))));
                cpu_time() - started
            });
        });
    }
    group.finish();
    criterion.final_summary();
}

/// CPU time, which other work on the machine disturbs less than wall time.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What is measured, who says it, with which status and content type, and the body.
fn cases() -> Vec<(&'static str, &'static str, u16, &'static str, String)> {
    let limit = "Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Used 29000, \
                 Requested 2000. Please try again in 2s. Visit https://platform.example/account/rate-limits. ";
    let message =
        |text: &str| json!({"error": {"message": long(text), "type": "tokens", "code": "rate_limit_exceeded"}});
    let violation = json!({
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
        "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
        "quotaDimensions": {"location": "global", "model": "gemini-2.5-pro"}, "quotaValue": "5",
    });
    let details = json!({"error": {
        "code": 429, "status": "RESOURCE_EXHAUSTED", "message": "You exceeded your current quota.",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": vec![violation; 7]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"},
        ],
    }});
    let echo = json!({"error": {"message": format!("Invalid value: '{}'", long("my api key, 余额 and quota: ")), "code": null}});
    let page = format!("<!DOCTYPE html><html><body>{}</body></html>", long("<p>Bad gateway</p> "));
    vec![
        ("a limit, long message", "openai", 429, "application/json", message(limit).to_string()),
        ("a limit, unknown provider", "generic", 429, "application/json", message(limit).to_string()),
        ("a limit, many details", "gemini", 429, "application/json; charset=UTF-8", details.to_string()),
        ("an echoed prompt", "siliconflow", 400, "application/json", echo.to_string()),
        (
            "overloaded, plain text",
            "zhipu",
            503,
            "text/plain",
            long("upstream connect error or reset before headers, "),
        ),
        ("cut off", "deepseek", 500, "application/json", message(limit).to_string().chars().take(SIZE - 100).collect()),
        ("a web page", "generic", 502, "text/html", page),
    ]
}

fn long(text: &str) -> String {
    text.chars().cycle().take(SIZE - 100).collect()
}

fn headers(kind: &'static str) -> HeaderMap {
    let more = [
        ("date", "Fri, 05 Dec 2025 10:00:00 GMT"),
        ("server", "cloudflare"),
        ("x-ratelimit-remaining-requests", "99"),
        ("x-ratelimit-reset-requests", "6m0s"),
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "2.5s"),
        ("x-request-id", "req_0123456789abcdef"),
    ];
    let more = more.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    more.into_iter().chain([(CONTENT_TYPE, HeaderValue::from_static(kind))]).collect()
}

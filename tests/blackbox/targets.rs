//! Several base URLs share the requests; one that fails costs neither a client nor a key anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};

use crate::harness::{Config, Keyweir, MockProvider, Scripted, eventually, post};

const ANSWER: &str = r#"{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}"#;

/// A provider with one key that it fails, and that can be ill.
struct Site {
    provider: Scripted,
    /// Whatever comes is answered with 503, or not at all.
    is_ill: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
}

impl Site {
    /// `bad` is the key it answers with 500. `knows` tells whether it has the model.
    fn start(bad: &'static str, knows: fn(&str) -> bool) -> Self {
        let (is_ill, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (ill, count) = (is_ill.clone(), served.clone());
        let provider = Scripted::start(move |mut peer| {
            while let Some((head, body)) = peer.request() {
                let model = serde_json::from_slice::<Value>(&body).unwrap_or_default()["model"].to_string();
                if ill.load(SeqCst) {
                    peer.answer(503, r#"{"error":{"message":"down"}}"#);
                } else if !bad.is_empty() && head.contains(bad) {
                    peer.answer(500, r#"{"error":{"message":"this key and I"}}"#);
                } else if !knows(&model) {
                    peer.answer(404, r#"{"error":{"message":"The model does not exist","code":"model_not_found"}}"#);
                } else {
                    count.fetch_add(1, SeqCst);
                    peer.answer(200, ANSWER);
                }
            }
        });
        Self { provider, is_ill, served }
    }

    fn url(&self) -> String {
        format!("\"http://{}/v1\"", self.provider)
    }

    fn name(&self) -> String {
        self.provider.to_string()
    }

    fn served(&self) -> usize {
        self.served.load(SeqCst)
    }
}

fn in_front_of(sites: &[&Site], keys: &[&str]) -> Config {
    let urls: Vec<_> = sites.iter().map(|site| site.url()).collect();
    Config::pool("unused:1", keys).replace_targets(&urls.join(", "))
}

fn is_up(keyweir: &Keyweir, target: &str) -> bool {
    keyweir.metric(&format!("keyweir_target_up{{pool=\"p\",target=\"{target}\"}}")) == 1.0
}

fn serve(keyweir: &Keyweir, times: usize) {
    for _ in 0..times {
        let answer = keyweir.chat(&json!({}));
        assert_eq!(answer.status, 200, "after {} attempts: {}", answer.attempts(), answer.text());
    }
}

#[test]
fn two_of_three_targets_die_in_turn_with_a_bad_key_on_each_and_no_client_notices() {
    let sites = [Site::start("sk-a", |_| true), Site::start("sk-b", |_| true), Site::start("sk-c", |_| true)];
    let keyweir =
        in_front_of(&sites.each_ref(), &["sk-a", "sk-1", "sk-2", "sk-b", "sk-3", "sk-4", "sk-c", "sk-5"]).start();
    serve(&keyweir, 30);
    for ill in [0, 1] {
        sites[ill].is_ill.store(true, SeqCst);
        serve(&keyweir, 30);
        assert!(!is_up(&keyweir, &sites[ill].name()));
        sites[ill].is_ill.store(false, SeqCst);
        serve(&keyweir, 10);
        let before = sites[ill].served();
        eventually("its return", || {
            serve(&keyweir, 1);
            sites[ill].served() > before + 2
        });
        assert!(is_up(&keyweir, &sites[ill].name()));
    }
    let marked = keyweir.marked();
    assert!(marked.iter().all(|key| ["a", "b", "c"].contains(&key.as_str())), "no good key pays: {marked:?}");
}

#[test]
fn a_target_that_is_gone_is_passed_over_within_the_request() {
    let (mock, gone) = (MockProvider::start(), crate::harness::free_address());
    let targets = format!("\"http://{gone}/v1\", \"http://{mock}/v1\"");
    let keyweir = Config::pool("unused:1", &["sk-ok-1"]).replace_targets(&targets).start();
    serve(&keyweir, 12);
    assert_eq!(mock.asked("sk-ok-1"), 12, "with one key too");
    eventually("the checks", || !is_up(&keyweir, &gone.to_string()));
    let answer = keyweir.chat(&json!({}));
    assert_eq!((answer.status, answer.attempts()), (200, 1), "not asked any more");
    assert_eq!(keyweir.marked(), [""; 0]);
}

#[test]
fn a_host_that_does_not_resolve_is_an_unhealthy_target() {
    let mock = MockProvider::start();
    let targets = format!("\"http://nowhere.invalid/v1\", \"http://{mock}/v1\"");
    let keyweir = Config::pool("unused:1", &["sk-ok-1", "sk-ok-2"]).replace_targets(&targets).start();
    serve(&keyweir, 6);
    eventually("the checks", || !is_up(&keyweir, "nowhere.invalid"));
    assert_eq!(keyweir.marked(), [""; 0]);
}

#[test]
fn a_configured_page_decides_whether_a_target_is_asked() {
    let healthy = Arc::new(AtomicBool::new(true));
    let is_healthy = healthy.clone();
    let asked = Arc::<AtomicUsize>::default();
    let count = asked.clone();
    let checked = Scripted::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            if head.starts_with("GET /up ") {
                peer.answer(if is_healthy.load(SeqCst) { 200 } else { 503 }, "");
            } else {
                count.fetch_add(1, SeqCst);
                peer.answer(200, ANSWER);
            }
        }
    });
    let other = Site::start("", |_| true);
    let targets = format!("{{url: \"http://{checked}/v1\", health: {{every: 100ms, path: /up}}}}, {}", other.url());
    let keyweir = Config::pool("unused:1", &["sk-1"]).replace_targets(&targets).start();
    serve(&keyweir, 10);
    assert_eq!(asked.load(SeqCst), 5, "they take turns");
    healthy.store(false, SeqCst);
    eventually("the failed checks", || !is_up(&keyweir, &checked.to_string()));
    serve(&keyweir, 10);
    assert_eq!(asked.load(SeqCst), 5, "not asked");
    healthy.store(true, SeqCst);
    eventually("the passed checks", || is_up(&keyweir, &checked.to_string()));
    serve(&keyweir, 10);
    assert_eq!(asked.load(SeqCst), 10);
}

#[test]
fn a_model_that_one_target_lacks_is_asked_of_another() {
    let with = Site::start("", |_| true);
    let without = Site::start("", |model| !model.contains("rare"));
    let keyweir = in_front_of(&[&without, &with], &["sk-1"]).start();
    let mut attempts = 0;
    for _ in 0..10 {
        let answer = keyweir.chat(&json!({"model": "rare"}));
        assert_eq!(answer.status, 200, "{}", answer.text());
        attempts += answer.attempts();
    }
    assert_eq!(attempts, 11, "it is remembered where the model is");
    assert_eq!(keyweir.chat(&json!({"model": "nowhere-to-be-found"})).status, 200);
    let neither = in_front_of(&[&without, &Site::start("", |_| false)], &["sk-1", "sk-2", "sk-3"]).start();
    let answer = neither.chat(&json!({"model": "rare"}));
    assert_eq!((answer.status, answer.attempts()), (404, 2), "both were asked, once: {}", answer.text());
    assert_eq!(neither.marked(), [""; 0]);
}

#[test]
fn weights_and_paths_of_their_own() {
    let provider = Scripted::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            peer.answer(200, &ANSWER.replace("Hi", &path));
        }
    });
    let targets = format!("{{url: \"http://{provider}/a/v4\", weight: 3}}, \"http://{provider}/b\"");
    let keyweir = Config::pool("unused:1", &["sk-1"]).replace_targets(&targets).start();
    let body = json!({"model": "m", "messages": []});
    let answers: Vec<_> = (0..20).map(|_| keyweir.send(post("/v1/chat/completions", &body)).text()).collect();
    let count = |path: &str| answers.iter().filter(|answer| answer.contains(&format!("\"{path}\""))).count();
    assert_eq!((count("/a/v4/chat/completions"), count("/b/chat/completions")), (15, 5));
}

#[test]
fn while_all_targets_are_down_no_key_pays_and_all_are_back_at_once() {
    let sites = [Site::start("", |_| true), Site::start("", |_| true)];
    let keyweir = in_front_of(&sites.each_ref(), &["sk-1", "sk-2", "sk-3"]).start();
    serve(&keyweir, 4);
    sites.iter().for_each(|site| site.is_ill.store(true, SeqCst));
    for _ in 0..10 {
        assert_eq!(keyweir.chat(&json!({})).status, 503);
    }
    assert_eq!(keyweir.marked(), [""; 0]);
    sites.iter().for_each(|site| site.is_ill.store(false, SeqCst));
    serve(&keyweir, 10);
}

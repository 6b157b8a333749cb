//! `keyweir keys check` finds out which keys work, and goes on where it was stopped.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);

/// The mock provider; ends with the test.
struct Mock {
    process: Child,
    base: String,
}

impl Mock {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyweir"));
        let mut process = command.args(["mock", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let base = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
        Self { process, base }
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A folder of its own that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("keyweir-keys-check-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyweir"));
        command.args(["keys", "check"]).args(line.split_whitespace()).current_dir(&self.0);
        command.env("NO_PROXY", "127.0.0.1");
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn said(output: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[test]
fn keys_are_sorted_by_what_the_provider_says() {
    let (mock, folder) = (Mock::start(), Folder::new("sorted"));
    let text = "sk-ok-CANARY1\nsk-429-CANARY2\nsk-401-CANARY3\nsk-403-CANARY4\nsk-quota-CANARY5\nsk-ok-CANARY1\n\
                sk-err200-CANARY6\nsk-flaky-1-CANARY7\nthis is prose\n";
    folder.file("keys.txt", text);
    let (out, err, code) = said(&folder.run(&format!("keys.txt --base-url {} -j 3 --rate 1000", mock.base)));
    assert_eq!(code, Some(1), "{out}{err}");
    assert_eq!(folder.read("keys.txt.checked/valid.txt"), "sk-ok-CANARY1\nsk-flaky-1-CANARY7\n");
    assert_eq!(folder.read("keys.txt.checked/limited.txt"), "sk-429-CANARY2\nsk-quota-CANARY5\n");
    assert_eq!(folder.read("keys.txt.checked/dead.txt"), "sk-401-CANARY3\n");
    assert_eq!(folder.read("keys.txt.checked/unknown.txt"), "sk-403-CANARY4\nsk-err200-CANARY6\n");
    for name in ["valid", "limited", "dead", "unknown"] {
        let path = folder.0.join(format!("keys.txt.checked/{name}.txt"));
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    assert!(out.starts_with("keys.txt: 7 keys, 1 repeated\n  valid         2  keys.txt.checked/valid.txt\n"), "{out}");
    assert_eq!(err, "keys.txt:line 9: contains a space; a key is visible ASCII characters without spaces\n");
    assert!(!out.contains("CANARY"), "{out}");
    assert!(!folder.0.join("keys.txt.checked/unfinished.jsonl").exists());
}

#[test]
fn a_pool_of_a_configuration_says_whom_to_ask_and_how() {
    let (mock, folder) = (Mock::start(), Folder::new("pool"));
    let config = format!("pools: {{a: {{targets: [\"{}\"]}}, b: {{provider: openai}}}}\ndefault_pool: b\n", mock.base);
    folder.file("keyweir.yaml", &config);
    folder.file("mine.yaml", "a:\n  - {key: sk-ok-1, name: alice}\nb: [sk-401-2]\n");
    let (out, err, code) = said(&folder.run("mine.yaml -c keyweir.yaml --pool a --format json -o there"));
    assert_eq!(code, Some(0), "{out}{err}");
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&answer["total"], &answer["valid"], &answer["dead"]), (&1.into(), &1.into(), &0.into()));
    assert_eq!((&answer["keys"][0]["name"], &answer["keys"][0]["line"]), (&"alice".into(), &2.into()));
    assert_eq!(answer["files"]["valid"], "there/valid.txt");
}

/// An HTTP proxy that lets everything through; tells how many tunnels it opened.
fn proxy() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, tunnels) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let opened = tunnels.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                client.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let target = TcpStream::connect(head.split(' ').nth(1).unwrap()).unwrap();
            opened.fetch_add(1, SeqCst);
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            for (mut from, mut to) in [(client.try_clone().unwrap(), target.try_clone().unwrap()), (target, client)] {
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
    (address, tunnels)
}

#[test]
fn a_keys_own_proxy_is_used_and_one_that_is_gone_says_nothing_of_the_key() {
    let (mock, folder) = (Mock::start(), Folder::new("egress"));
    let (proxy, tunnels) = proxy();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Called as the default keys file is: it must not be taken for one.
    folder.file(
        "keys.yaml",
        &format!(
            "generic:\n  - {{key: sk-ok-CANARY1, egress: \"http://{proxy}\"}}\n  \
             - {{key: sk-ok-CANARY2, egress: \"http://{gone}\"}}\n  - sk-ok-CANARY3\n"
        ),
    );
    let line = format!("keys.yaml --base-url {} --rate 1000 -j 1 --format json", mock.base);
    let (out, err, code) = said(&folder.run(&line));
    assert_eq!(code, Some(0), "{out}{err}");
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    let outcomes: Vec<_> = answer["keys"].as_array().unwrap().iter().map(|key| key["outcome"].as_str()).collect();
    assert_eq!(outcomes, [Some("valid"), Some("unknown"), Some("valid")], "{out}{err}");
    assert_eq!(answer["keys"][1]["reason"], "egress", "{out}");
    assert!(tunnels.load(SeqCst) > 0 && !out.contains("CANARY"), "{out}");
}

#[test]
fn providers_that_list_models_to_anyone_are_asked_otherwise() {
    let (mock, folder) = (Mock::start(), Folder::new("chat"));
    folder.file("keys.json", "[\"sk-ok-1\", \"sk-401-2\", \"sk-429-3\"]");
    for provider in ["modelscope", "nvidia --model mock-model"] {
        let line = format!("keys.json --provider {provider} --base-url {} --rate 1000 --format json", mock.base);
        let (out, err, code) = said(&folder.run(&line));
        assert_eq!(code, Some(1), "{out}{err}");
        let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
        let counts = ["valid", "limited", "dead", "unknown"].map(|name| answer[name].as_u64().unwrap());
        assert_eq!(counts, [1, 1, 1, 0], "{provider}: {out}");
    }
}

#[test]
fn a_pack_says_what_is_asked_and_what_answers_show() {
    let (mock, folder) = (Mock::start(), Folder::new("probe"));
    folder.file("keyweir.yaml", &format!("pools: {{a: {{provider: mine.yaml, targets: [\"{}\"]}}}}\n", mock.base));
    folder.file("keys.txt", "sk-ok-1\nsk-401-2\n");
    let refused = r#"url: /chat/completions, body: '{"model": "{model}", "mock": {"status": 418}}'"#;
    let told = r#"url: /chat/completions, body: '{"mock": {"status": 200, "body": {"key": {"blocked": true}}}}'"#;
    for (probe, valid, dead) in [
        (format!("{refused}, dead: [401], alive: [418]"), 1, 1),
        (format!("{refused}, dead: [401, 418]"), 0, 2),
        (format!("{refused}, dead: [401]"), 0, 1),
        (format!("{told}, dead: [401], dead_if: [/key/blocked]"), 0, 2),
        (format!("{told}, dead: [401], dead_if: [/key/gone]"), 1, 1),
        ("method: GET, url: /models, dead: [401]".to_owned(), 1, 1),
    ] {
        folder.file("mine.yaml", &format!("probe: {{{probe}}}\n"));
        let line = "keys.txt -c keyweir.yaml --pool a --model m --rate 1000 --fresh --format json";
        let (out, err, _) = said(&folder.run(line));
        let answer: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}"));
        let counts = ["valid", "dead"].map(|name| answer[name].as_u64().unwrap());
        assert_eq!(counts, [valid, dead], "{probe}: {out}{err}");
    }
}

#[test]
fn a_run_that_was_killed_goes_on_where_it_stopped() {
    let (mock, folder) = (Mock::start(), Folder::new("resume"));
    let keys: String = (0..60).map(|n| format!("sk-rpm-1-{n}\n")).collect();
    folder.file("keys.txt", &keys);
    let line = format!("keys.txt --base-url {} -j 1", mock.base);
    let mut child = folder.command(&format!("{line} --rate 20")).stdout(Stdio::null()).spawn().unwrap();
    let state = folder.0.join("keys.txt.checked/unfinished.jsonl");
    let begun = Instant::now();
    while std::fs::read_to_string(&state).map_or(0, |text| text.lines().count()) < 5 {
        assert!(begun.elapsed() < DEADLINE, "nothing is written down");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!std::fs::read_to_string(&state).unwrap().contains("sk-"));

    // Each of these keys answers one request a minute: a key asked twice would be limited.
    let (out, err, code) = said(&folder.run(&format!("{line} --rate 1000")));
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(
        err.starts_with("going on where the last run stopped: ") && err.ends_with("of 60 keys are done\n"),
        "{err}"
    );
    let valid = folder.read("keys.txt.checked/valid.txt").lines().count();
    // The one that was being asked when the run was killed may have been asked twice.
    assert!(valid >= 59, "{out}");
}

#[test]
fn without_a_provider_or_with_one_that_is_gone_it_says_so() {
    let folder = Folder::new("nobody");
    folder.file("keys.txt", "sk-CANARY-1\n");
    let (out, err, code) = said(&folder.run("keys.txt"));
    assert_eq!((out.as_str(), code), ("", Some(2)));
    assert!(err.contains("--provider") && !err.contains("CANARY"), "{err}");

    let keys: String = (0..40).map(|n| format!("sk-CANARY-{n:03}\n")).collect();
    folder.file("keys.txt", &keys);
    // Nothing listens on a port just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (out, err, code) =
        said(&folder.run(&format!("keys.txt --base-url http://127.0.0.1:{port}/v1 -j 40 --rate 9999")));
    assert_eq!((out.as_str(), code), ("", Some(1)), "{err}");
    assert!(err.contains("cannot be reached") && !err.contains("CANARY"), "{err}");
}

#[test]
fn wrong_usage_exits_2() {
    let folder = Folder::new("usage");
    for line in ["", "keys.txt --provider a -c b", "keys.txt --pool a", "keys.txt -j 0", "keys.txt --rate 0"] {
        let (out, _, code) = said(&folder.run(line));
        assert_eq!((out.as_str(), code), ("", Some(2)), "{line}");
    }
}

//! A store that can't be written: requests are served on and say nothing of it, operators are told everywhere, and what
//! was learnt meanwhile is kept until it can be written.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use serde_json::{Value, json};

use crate::harness::{Config, Keyweir, MockProvider, PROGRESS, Response, eventually, new_directory};

const KEYS: &str = "/api/v1/pools/p/keys";

/// A file system of its own, as small as a test needs it. Gone with the test.
struct Disk(PathBuf);

impl Disk {
    /// `None` where nothing may be mounted, as for others than root.
    fn mount(size: &str) -> Option<Self> {
        let folder = new_directory();
        let size = format!("size={size},mode=0755");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder).output();
        if mount.is_ok_and(|done| done.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("Nothing may be mounted here: this is not tested.");
        fs::remove_dir(folder).unwrap();
        None
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        let error = loop {
            if let Err(error) = file.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }

    fn remount(&self, how: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0).status().unwrap();
        assert!(done.success(), "remounted {how}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A server that still runs has its files open.
        let _left = Command::new("umount").arg("--lazy").arg(&self.0).status();
        let _left = fs::remove_dir(&self.0);
    }
}

/// The way to a database server, which can be closed.
struct Way {
    address: SocketAddr,
    is_closed: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Way {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (is_closed, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let way = Self { address, is_closed: is_closed.clone(), open: open.clone() };
        thread::spawn(move || {
            for client in listener.incoming().map(Result::unwrap) {
                if is_closed.load(SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(server) else { continue };
                let mut open = open.lock().unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    open.push(from.try_clone().unwrap());
                    thread::spawn(move || {
                        let _broken = io::copy(&mut from, &mut to);
                        let _closed = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        way
    }

    fn close(&self) {
        self.is_closed.store(true, SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _closed = stream.shutdown(Shutdown::Both);
        }
    }

    fn reopen(&self) {
        self.is_closed.store(false, SeqCst);
    }
}

fn config(mock: &MockProvider, url: &str) -> Config {
    let config = Config::pool(mock, &["sk-ok-1", "sk-429-1", "sk-401-1", "sk-ok-2"]).log("access: \"off\"");
    config.top(&format!("store: {{url: \"{url}\"}}"))
}

fn file_url(folder: &Path) -> String {
    format!("sqlite://{}/keyweir.db", folder.display())
}

fn add(keyweir: &Keyweir, name: &str) -> Response {
    let key = json!({"key": format!("sk-ok-{name}"), "name": name, "note": "n".repeat(1000)});
    keyweir.admin_json("POST", KEYS, &key)
}

fn problem(answer: &Response) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

/// What an operator sees of the store.
fn is_up(keyweir: &Keyweir) -> bool {
    let ready = keyweir.admin("GET", "/readyz?verbose");
    assert_eq!(ready.status, 200, "a store that is down is no reason to send nothing here");
    let said = ready.text().contains("[+]store ok");
    assert_ne!(said, ready.text().contains("[-]store failed, requests are served on: "), "{}", ready.text());
    said && keyweir.metric("keyweir_store_up") == 1.0
}

fn series(keyweir: &Keyweir) -> u64 {
    let answer = keyweir.admin("GET", "/api/v1/stats/series");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["requests"].as_u64().unwrap()
}

/// Requests while the store is down: all are answered, and two keys are marked.
fn ask(keyweir: &Keyweir, times: u32) {
    for _ in 0..times {
        let answer = keyweir.chat(&json!({}));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(keyweir.marked(), ["429-1", "401-1"]);
}

/// Changes of every kind are refused in the same way, and none is made.
fn expect_refusals(keyweir: &Keyweir, expected: (u16, &str)) {
    let id = keyweir.key("ok-2")["id"].as_str().unwrap().to_owned();
    for (method, path, body) in [
        ("POST", KEYS, json!({"key": "sk-ok-refused", "name": "refused"})),
        ("POST", &*format!("/api/v1/keys/{id}/disable"), json!({})),
        ("POST", "/api/v1/tokens", json!({"name": "refused"})),
        ("PUT", "/api/v1/pools/p/settings", json!({"retry.attempts": 7})),
        ("POST", "/api/v1/pools", json!({"name": "refused", "targets": [{"url": "http://127.0.0.1:9/v1"}]})),
    ] {
        let answer = keyweir.admin_json(method, path, &body);
        let (status, code) = problem(&answer);
        assert_eq!((status, &*code), expected, "{method} {path}: {}", answer.text());
    }
    assert_eq!(keyweir.key_names().iter().filter(|name| *name == "refused").count(), 0);
    assert_eq!(keyweir.key("ok-2")["state"], "ready");
    assert_eq!(
        keyweir.admin("GET", "/api/v1/pools/p/settings").json()["settings"]["retry.attempts"]["origin"],
        "default"
    );
    assert!(!keyweir.admin("GET", "/api/v1/pools").text().contains("refused"));
}

/// Everything that was learnt and acknowledged is back after the store is, and outlives a crash.
fn expect_all_written(keyweir: &mut Keyweir, keys: &[String], requests: u64) {
    eventually("the store is written again", || is_up(keyweir));
    eventually("all is counted", || series(keyweir) == requests);
    // Sums are handed in once a second.
    let counted = Instant::now();
    eventually("two seconds", || counted.elapsed() > Duration::from_secs(2));
    eventually("nothing waits", || keyweir.metric("keyweir_store_pending") == 0.0);
    assert_eq!(keyweir.metric("keyweir_store_dropped"), 0.0);
    assert_eq!(add(keyweir, "after").status, 201);
    keyweir.signal("KILL");
    keyweir.restart();
    assert_eq!(keyweir.marked(), ["429-1", "401-1"]);
    assert_eq!(series(keyweir), requests);
    let names = keyweir.key_names();
    for name in keys.iter().map(String::as_str).chain(["ok-1", "ok-2", "after"]) {
        assert!(names.iter().any(|known| known == name), "{name} is lost");
    }
    assert!(!names.iter().any(|known| known == "refused"));
}

/// What SQLite has reserved already takes a few more changes, and those count: the keys that were added.
fn use_up_the_rest(keyweir: &Keyweir) -> Vec<String> {
    let (mut kept, mut number) = (Vec::new(), 32);
    let id = keyweir.key("ok-2")["id"].as_str().unwrap().to_owned();
    eventually("everything is refused", || {
        number += 1;
        let name = format!("early-{number}");
        let answers = [
            add(keyweir, &name),
            keyweir.admin_json("PUT", "/api/v1/pools/p/settings", &json!({"wait.queue": number})),
            keyweir.admin_json("POST", &format!("/api/v1/keys/{id}/reset"), &json!({})),
        ];
        if answers[0].status == 201 {
            kept.push(name);
        }
        answers.iter().all(|answer| {
            let (status, code) = problem(answer);
            assert!(status < 300 || (status, &*code) == (507, "store_full"), "{}", answer.text());
            status == 507
        })
    });
    kept
}

#[test]
fn a_full_disk_stops_no_request_and_loses_nothing() {
    let Some(disk) = Disk::mount("6m") else { return };
    let mock = MockProvider::start();
    let mut keyweir = config(&mock, &file_url(&disk.0)).start();
    eventually("it is up", || is_up(&keyweir));
    disk.fill();
    let kept = use_up_the_rest(&keyweir);
    ask(&keyweir, 30);
    eventually("it is said", || !is_up(&keyweir));
    expect_refusals(&keyweir, (507, "store_full"));
    eventually("what waits is told", || keyweir.metric("keyweir_store_pending") > 0.0);
    disk.free();
    expect_all_written(&mut keyweir, &kept, 30);
}

#[test]
fn what_an_import_committed_before_the_disk_was_full_is_there() {
    let Some(disk) = Disk::mount("6m") else { return };
    let mock = MockProvider::start();
    let mut keyweir = config(&mock, &file_url(&disk.0)).start();
    let keys: String = (0..40_000).map(|number| format!("sk-ok-{number:064}\n")).collect();
    let path = format!("{KEYS}/import");
    let lines = keyweir.begin_admin("POST", &path, &[PROGRESS], keys.as_bytes()).response().text();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let Some((last, lots)) = lines.split_last() else { panic!("no answer") };
    assert_eq!(last["code"], "store_full", "{last}");
    let committed = lots.last().map_or(0, |lot| lot["done"].as_u64().unwrap());
    assert!(committed > 0 && committed < 40_000, "{lots:?}");
    let total = |keyweir: &Keyweir| keyweir.admin("GET", &format!("{KEYS}?limit=1")).json()["total"].as_u64().unwrap();
    assert_eq!(total(&keyweir), 4 + committed);
    keyweir.signal("KILL");
    keyweir.restart();
    assert_eq!(total(&keyweir), 4 + committed);
}

#[test]
fn a_disk_that_is_read_only_at_the_start_is_taken_up_once_it_is_not() {
    for is_clean in [true, false] {
        let Some(disk) = Disk::mount("16m") else { return };
        let mock = MockProvider::start();
        let mut keyweir = config(&mock, &file_url(&disk.0)).start();
        assert_eq!(add(&keyweir, "early").status, 201);
        keyweir.signal(if is_clean { "TERM" } else { "KILL" });
        keyweir.wait();
        disk.remount("ro");
        keyweir.restart();
        eventually("it is said", || !is_up(&keyweir));
        ask(&keyweir, 30);
        expect_refusals(&keyweir, (503, "store_unavailable"));
        disk.remount("rw");
        eventually("what was stored is taken up", || keyweir.key_names().contains(&"early".into()));
        expect_all_written(&mut keyweir, &["early".into()], 30);
    }
}

/// The database servers there are, each behind a way that can be closed.
fn servers() -> Vec<(String, Way)> {
    let url = |name| std::env::var(name).ok();
    let behind = |url: String| {
        let (before, rest) = url.split_once('@').unwrap();
        let (address, _) = rest.split_once('/').unwrap();
        let way = Way::to(address.parse().unwrap());
        let base = format!("{before}@{}", way.address);
        (base, url, way)
    };
    let urls = [url("KEYWEIR_TEST_POSTGRES"), url("KEYWEIR_TEST_MYSQL")];
    urls.into_iter().flatten().map(behind).map(|(base, url, way)| (format!("{base}/{}", database(&url)), way)).collect()
}

/// A database of the test's own; the server and all it holds go when the tests are over.
fn database(url: &str) -> String {
    use sea_orm::ConnectionTrait;
    let name = format!("keyweir_outage_{}", std::process::id());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = sea_orm::Database::connect(url).await.unwrap();
        server.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
        server.close().await.unwrap();
    });
    name
}

#[test]
fn a_database_server_that_goes_away_is_waited_for() {
    for (url, way) in servers() {
        let mock = MockProvider::start();
        let mut keyweir = config(&mock, &url).start();
        assert_eq!(add(&keyweir, "early").status, 201);
        way.close();
        ask(&keyweir, 30);
        eventually("it is said", || !is_up(&keyweir));
        expect_refusals(&keyweir, (503, "store_unavailable"));
        way.reopen();
        expect_all_written(&mut keyweir, &["early".into()], 30);

        keyweir.signal("KILL");
        keyweir.wait();
        way.close();
        keyweir.restart();
        assert_eq!(keyweir.chat(&json!({})).status, 200);
        assert!(!is_up(&keyweir));
        way.reopen();
        eventually("what was stored is taken up", || keyweir.key_names().contains(&"after".into()));
        eventually("and the marks", || keyweir.marked() == ["429-1", "401-1"]);
    }
}

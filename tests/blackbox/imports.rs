//! Keys are added as they come, however many there are and however slowly.

use serde_json::{Value, json};

use crate::harness::{ADMIN_TOKEN, Config, Connection, Keyweir, MockProvider, PROGRESS, eventually};

const IMPORT: &str = "/api/v1/pools/p/keys/import";
/// More than is read at once.
const MANY: usize = 60_000;

/// A text of that many keys, from `first` on.
fn text(first: usize, keys: usize) -> String {
    (first..first + keys).map(|number| format!("sk-ok-{number:040}\n")).collect()
}

/// Begins an import whose text has yet to come.
fn begin(keyweir: &Keyweir, header: &str) -> Connection {
    let mut connection = Connection::open(keyweir.admin);
    connection.send(format!(
        "POST {IMPORT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n{header}\r\n\r\n"
    ));
    connection
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn total(keyweir: &Keyweir) -> u64 {
    keyweir.admin("GET", "/api/v1/pools/p/keys?limit=1").json()["total"].as_u64().unwrap()
}

#[test]
fn every_line_is_told() {
    let keyweir = Config::pool(MockProvider::start(), &["sk-ok-1"]).start();
    let import =
        |headers: &[&str], text: &str| keyweir.begin_admin("POST", IMPORT, headers, text.as_bytes()).response();
    let report = import(&[], "# mine\nsk-ok-1\nsk-ok-2\nsk-ok-2\nnot a key\n").json();
    assert_eq!(
        report["added"].as_u64().unwrap() + report["duplicates"].as_u64().unwrap(),
        report["total"].as_u64().unwrap() + 1,
        "{report}"
    );
    let lines = import(&[PROGRESS], "sk-ok-7 sk-ok-8");
    let lines: Vec<Value> = lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0], &lines[1]["added"]), (&json!({"done": 2, "total": 2}), &json!(2)));
}

#[test]
fn nobody_waits_for_a_slow_import_and_what_came_is_used() {
    let mock = MockProvider::start();
    let mut keyweir = Config::pool(&mock, &[]).start();
    let mut import = begin(&keyweir, &format!("Transfer-Encoding: chunked\r\n{PROGRESS}"));
    import.send(chunk(&text(0, MANY)));
    import.until_head_and("\"done\":40000,");
    assert_eq!(total(&keyweir), 0, "each change would build the pool anew");
    let known = format!("sk-ok-{:040}", 7);
    let beside = |keys: &str| keyweir.begin_admin("POST", IMPORT, &[], keys.as_bytes()).response().json();
    let report = beside(&format!("{known}\nsk-ok-beside-it\n"));
    assert_eq!((&report["added"], &report["duplicates"]), (&json!(1), &json!(1)), "{report}");
    let came = total(&keyweir);
    assert!((40_001..60_001).contains(&came), "{came} keys");
    assert_eq!(keyweir.chat(&json!({})).status, 200);

    import.send(chunk("sk-ok-beside-it\nsk-ok-last\n"));
    import.send("0\r\n\r\n");
    let (lines, is_whole) = import.rest();
    let report: Value = serde_json::from_str(lines.lines().next_back().unwrap()).unwrap();
    assert!(is_whole);
    assert_eq!((&report["total"], &report["added"]), (&json!(MANY + 2), &json!(MANY + 1)), "{report}");
    assert_eq!((&report["duplicates"], &report["failed"]), (&json!(1), &json!(0)), "{report}");
    assert_eq!(total(&keyweir), MANY as u64 + 2);
    keyweir.signal("KILL");
    keyweir.restart();
    assert_eq!(total(&keyweir), MANY as u64 + 2);
}

#[test]
fn two_imports_of_the_same_keys_add_them_once() {
    let keyweir = Config::pool(MockProvider::start(), &[]).start();
    let mut imports = [(); 2].map(|()| begin(&keyweir, &format!("Transfer-Encoding: chunked\r\n{PROGRESS}")));
    for part in 0..3 {
        imports.iter_mut().for_each(|import| import.send(chunk(&text(part * MANY / 2, MANY / 2))));
    }
    let report = |import: &mut Connection| {
        import.send("0\r\n\r\n");
        assert_eq!(import.head().status, 200);
        serde_json::from_str::<Value>(import.rest().0.lines().next_back().unwrap()).unwrap()
    };
    let added: Vec<Value> = imports.iter_mut().map(|import| report(import)["added"].take()).collect();
    let added: u64 = added.iter().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!((added, total(&keyweir)), (3 * MANY as u64 / 2, 3 * MANY as u64 / 2));
}

#[test]
fn an_import_that_breaks_off_leaves_what_it_added() {
    let keyweir = Config::pool(MockProvider::start(), &[]).start();
    let mut leaving = begin(&keyweir, &format!("Transfer-Encoding: chunked\r\n{PROGRESS}"));
    leaving.send(chunk(&text(0, MANY)));
    leaving.until_head_and("\"done\":40000,");
    drop(leaving);
    eventually("what was added is there", || total(&keyweir) >= 40_000);

    let mut silent = begin(&keyweir, "Transfer-Encoding: chunked");
    silent.send(chunk("sk-half-a-key"));
    drop(silent);
    let mut counted = begin(&keyweir, "Content-Length: 1000");
    counted.send("sk-half-a-key");
    drop(counted);

    let mut garbled = begin(&keyweir, "Transfer-Encoding: chunked");
    let first = total(&keyweir) as usize;
    garbled.send(chunk(&text(MANY, MANY)));
    garbled.send(b"4\r\nsk-\xff\r\n0\r\n\r\n");
    let answer = garbled.response();
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert_eq!((answer.status, detail.contains(&format!("line {}: not UTF-8", MANY + 1))), (400, true), "{detail}");
    let came = total(&keyweir) as usize - first;
    assert!((10_000..MANY).contains(&came), "{came} keys");
    let half = keyweir.admin("GET", "/api/v1/pools/p/keys/export?format=text").text();
    assert!(!half.contains("sk-half"), "a line without its end");
}

#[test]
fn what_is_too_long_is_refused() {
    let keyweir = Config::pool(MockProvider::start(), &[]).start();
    assert_eq!(begin(&keyweir, "Content-Length: 134217729").response().status, 413, "before any of it comes");
    let mut long = begin(&keyweir, "Transfer-Encoding: chunked");
    let comments = chunk(&"# nothing of use ################################################\n".repeat(16 * 1024));
    for _ in 0..129 {
        long.send(&comments);
    }
    long.send("0\r\n\r\n");
    assert_eq!(long.response().status, 413);
    assert_eq!(total(&keyweir), 0);
}

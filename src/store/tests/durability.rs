//! `kill -9` at any moment: what was acknowledged is there, and marks older than a second are.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const FOLDER: &str = "KEYWEIR_TEST_STORE_FOLDER";
/// Marks older than this must be there.
const DURABLE: Duration = Duration::from_secs(1);

/// Not a test of its own: the process that is killed. Writes keys, and tells of each that was acknowledged; and marks, and
/// tells of each when it was set.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let home = Home { folder: folder.into(), url: "sqlite://keyweir.db".into(), drop: None };
    let store = home.open();
    let start = store.load_blocking().unwrap().keys.len() / 2;
    let mut out = std::io::stdout();
    for number in start.. {
        store.journal().mark(id(&format!("mark-{number}")), Subject::Own, rest(1));
        writeln!(out, "mark {number}").unwrap();
        let keys = vec![new_key("pool", &format!("sk-{number}")), new_key("other", &format!("sk-{number}"))];
        block_on(store.add_keys(keys, audit("keys.add"))).unwrap();
        writeln!(out, "key {number}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let rounds = if std::env::var_os("KEYWEIR_TEST_ALL").is_some() { 200 } else { 20 };
    let home = Home::sqlite();
    let (mut last_key, mut marks) = (0, Vec::new());
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::durability::child", "--nocapture"])
            .env(FOLDER, &home.folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Some rounds last long enough for the journal.
        let wanted = 1 + round * 7 % 23;
        let (mut acknowledged, started) = (0, Instant::now());
        let long = Duration::from_millis(if round % 5 == 0 { 1300 } else { 0 });
        while acknowledged < wanted || started.elapsed() < long {
            let line = lines.next().expect("the child ended").unwrap();
            let line = line.rsplit("... ").next().unwrap();
            if let Some(number) = line.strip_prefix("key ") {
                last_key = number.parse().unwrap();
                acknowledged += 1;
            } else if let Some(number) = line.strip_prefix("mark ") {
                marks.push((number.to_owned(), Instant::now()));
            }
        }
        child.kill().unwrap();
        let killed = Instant::now();
        child.wait().unwrap();
        marks.retain(|(_, set)| killed.duration_since(*set) > DURABLE);

        let store = home.open();
        let snapshot = store.load_blocking().unwrap();
        let keys: std::collections::HashSet<KeyId> = snapshot.keys.iter().map(|key| key.id).collect();
        for number in 0..=last_key {
            let text = format!("sk-{number}");
            assert!(keys.contains(&KeyId::of("pool", &text)), "round {round}: {text} is lost");
            assert!(keys.contains(&KeyId::of("other", &text)), "round {round}: half of a write is lost");
        }
        assert_eq!(keys.len() % 2, 0, "round {round}: half of a write is there");
        let audited = block_on(store.audit(AuditFilter::default(), None, 1)).unwrap().rows;
        assert_eq!(audited.len(), 1);
        let kept = block_on(store.marks()).unwrap();
        for (number, _) in &marks {
            let mark = id(&format!("mark-{number}"));
            assert!(kept.iter().any(|kept| kept.key == mark), "round {round}: mark {number} is lost");
        }
        store.close().unwrap();
    }
    assert!(!marks.is_empty(), "no round lasted long enough to tell anything of marks");
}

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// A folder of this test's own, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("keyweir-access-log-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn open(&self, format: LogFormat) -> (AccessLog, PathBuf) {
        let path = self.0.join("access.log");
        (open(model::AccessLog::File(path.clone()), format), path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn settings(access: model::AccessLog, format: LogFormat) -> model::Log {
    model::Log { level: log::LevelFilter::Info, format, access }
}

fn open(access: model::AccessLog, format: LogFormat) -> AccessLog {
    AccessLog::open(&settings(access, format)).unwrap()
}

fn entry<'a>() -> Entry<'a> {
    Entry {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_751_711_400_007),
        request_id: "r-1",
        client: Some("192.0.2.7".parse().unwrap()),
        token: Some("ci"),
        method: "POST",
        path: b"/modelscope/v1/chat/completions",
        pool: Some("modelscope"),
        key: Some("alice-2"),
        model: Some("qwen3"),
        status: 200,
        outcome: Outcome::Ok,
        attempts: 2,
        bytes_in: 10,
        bytes_out: 2000,
        tokens: Some((12, 34)),
        duration: Duration::from_micros(12_345),
        first_byte: Some(Duration::from_micros(1_500)),
        upstream: Some("api-inference.modelscope.cn"),
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_json_line_says_everything() {
    let folder = Folder::new("json");
    let (log, path) = folder.open(LogFormat::Json);
    log.write(&entry());
    assert!(log.flush());
    let expected = r#"{"time":"2025-07-05T10:30:00.007Z","request_id":"r-1","client":"192.0.2.7","token":"ci","method":"POST","path":"/modelscope/v1/chat/completions","pool":"modelscope","key":"alice-2","model":"qwen3","status":200,"outcome":"ok","attempts":2,"bytes_in":10,"bytes_out":2000,"tokens_in":12,"tokens_out":34,"duration_ms":12.345,"first_byte_ms":1.500,"upstream":"api-inference.modelscope.cn"}"#;
    assert_eq!(lines(&path), [expected]);
}

#[test]
fn a_text_line_says_everything() {
    let folder = Folder::new("text");
    let (log, path) = folder.open(LogFormat::Text);
    log.write(&entry());
    assert!(log.flush());
    let expected = "2025-07-05T10:30:00.007Z 200 POST /modelscope/v1/chat/completions 12.345ms outcome=ok first_byte=1.5ms attempts=2 in=10 out=2000 tokens_in=12 tokens_out=34 pool=modelscope key=alice-2 model=qwen3 upstream=api-inference.modelscope.cn token=ci id=r-1 client=192.0.2.7";
    assert_eq!(lines(&path), [expected]);
}

#[test]
fn what_a_client_sends_cannot_forge_a_line() {
    let folder = Folder::new("forge");
    for format in [LogFormat::Json, LogFormat::Text] {
        let (log, path) = folder.open(format);
        let long = vec![b'a'; 5000];
        for path in [b"/x\n{\"status\":500}\"\\\xff\x1b[2J\0".as_slice(), "/\u{2028}é".as_bytes(), &long] {
            log.write(&Entry { path, model: Some("m\r\n\"x\""), request_id: "a\u{85}b", ..entry() });
        }
        assert!(log.flush());
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.chars().filter(|c| c.is_control() || *c == '\u{2028}').count(),
            3,
            "three line feeds: {text:?}"
        );
        for line in text.lines() {
            assert!(line.len() < 512 + 128 + 500, "{line}");
            if format == LogFormat::Json {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(line["model"], "m\r\n\"x\"");
                assert_eq!(line["status"], 200);
            }
        }
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn absent_fields_are_left_out() {
    let folder = Folder::new("absent");
    let (log, path) = folder.open(LogFormat::Json);
    let nothing = Entry { client: None, token: None, pool: None, key: None, model: None, ..entry() };
    log.write(&Entry { first_byte: None, upstream: None, tokens: None, ..nothing });
    assert!(log.flush());
    let line: serde_json::Value = serde_json::from_str(&lines(&path)[0]).unwrap();
    for field in ["client", "token", "pool", "key", "model", "first_byte_ms", "upstream", "tokens_in"] {
        assert!(line.get(field).is_none(), "{field}");
    }
}

#[test]
fn lines_of_many_threads_all_arrive_whole() {
    let folder = Folder::new("threads");
    let (log, path) = folder.open(LogFormat::Json);
    thread::scope(|scope| {
        for thread in 0..8_u32 {
            let log = &log;
            scope.spawn(move || {
                for number in 0..500_u64 {
                    log.write(&Entry { attempts: thread, bytes_in: number, ..entry() });
                }
            });
        }
    });
    drop(log);
    let mut next = [0_u64; 8];
    for line in lines(&path) {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let thread = usize::try_from(line["attempts"].as_u64().unwrap()).unwrap();
        assert_eq!(line["bytes_in"], next[thread], "a thread's lines keep their order");
        next[thread] += 1;
    }
    assert_eq!(next, [500; 8]);
}

#[test]
fn a_rotated_file_is_left_and_a_new_one_begun() {
    let folder = Folder::new("rotate");
    let (log, path) = folder.open(LogFormat::Json);
    log.write(&entry());
    let rotated = path.with_extension("log.1");
    fs::rename(&path, &rotated).unwrap();
    log.switch(log.prepare(&settings(model::AccessLog::File(path.clone()), LogFormat::Json)).unwrap());
    assert!(log.flush());
    log.write(&Entry { status: 404, ..entry() });
    assert!(log.flush());
    assert_eq!((lines(&rotated).len(), lines(&path).len()), (1, 1));
    assert!(lines(&path)[0].contains("\"status\":404"));
}

#[test]
fn a_full_disk_is_survived() {
    let log = open(model::AccessLog::File("/dev/full".into()), LogFormat::Json);
    let dropped = super::super::metrics::log_dropped_so_far();
    log.write(&entry());
    assert!(log.flush(), "a failing destination is not a stuck one");
    assert!(super::super::metrics::log_dropped_so_far() > dropped);
}

#[test]
fn an_access_log_that_is_off_does_nothing() {
    let log = open(model::AccessLog::Off, LogFormat::Json);
    log.write(&entry());
    assert!(log.flush());
}

#[test]
fn destination_and_format_change_without_a_lost_line() {
    let folder = Folder::new("switch");
    let (log, first) = folder.open(LogFormat::Json);
    let second = folder.0.join("second.log");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|_| log.write(&entry())));
        }
        for (path, format) in [(&second, LogFormat::Text), (&first, LogFormat::Text), (&first, LogFormat::Json)] {
            log.switch(log.prepare(&settings(model::AccessLog::File(path.clone()), format)).unwrap());
        }
    });
    log.switch(log.prepare(&settings(model::AccessLog::File(second.clone()), LogFormat::Text)).unwrap());
    log.write(&entry());
    drop(log);
    let (first, second) = (lines(&first), lines(&second));
    assert_eq!(first.len() + second.len(), 2001);
    assert!(second.last().unwrap().contains(" 200 POST "), "{:?}", second.last());
}

#[test]
fn a_destination_that_can_not_be_opened_changes_nothing() {
    let folder = Folder::new("refused");
    let (log, path) = folder.open(LogFormat::Json);
    let nowhere = folder.0.join("no/such/folder/access.log");
    assert!(log.prepare(&settings(model::AccessLog::File(nowhere), LogFormat::Json)).is_err());
    log.write(&entry());
    assert!(log.flush());
    assert_eq!(lines(&path).len(), 1);
}

/// `cargo test --release -- --ignored --nocapture per_request_cost`
#[test]
#[ignore = "a measurement, for a quiet machine"]
fn per_request_cost() {
    let log = open(model::AccessLog::File("/dev/null".into()), LogFormat::Json);
    let metrics = crate::telemetry::PoolMetrics::for_pool("cost");
    const REQUESTS: u32 = 1_000_000;
    let start = std::time::Instant::now();
    for _ in 0..REQUESTS {
        log.write(&Entry { time: SystemTime::now(), ..entry() });
    }
    let log_cost = start.elapsed() / REQUESTS;
    let start = std::time::Instant::now();
    for _ in 0..REQUESTS {
        let _in_flight = metrics.request_started();
        let duration = Duration::from_micros(500);
        metrics.request_finished(200, Outcome::Ok, duration, Some(duration), Some(duration));
    }
    println!("access log {log_cost:?}, metrics {:?} per request", start.elapsed() / REQUESTS);
}

//! The application log: `log` records through env_logger to standard error, as JSON or text.
//!
//! Two promises: only this program's own modules are ever more talkative than `warn`, and what speaks with the network
//! not even that, whatever level is asked for, because their output holds headers and bodies (Pingora's `debug` prints
//! whole requests, its `warn` a header's value); and a stuck standard error costs lines, not time (see `sink`). What
//! libraries do say is scrubbed.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use env_logger::fmt::Formatter;
use env_logger::{Builder, Logger, Target, WriteStyle};
use log::kv::{self, Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::line::{Stamp, json, sentence, word};
use super::redact;
use super::sink::{Output, Pace, Sink};
use crate::config::model::{self, LogFormat};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggerError {
    /// Standard error is closed or no thread can be started.
    #[error("cannot write the application log to standard error: {0}")]
    Output(#[from] io::Error),
    /// Called twice.
    #[error("the application log is already set up: {0}")]
    Again(#[from] log::SetLoggerError),
}

static SINK: OnceLock<Sink> = OnceLock::new();
static IS_TEXT: AtomicBool = AtomicBool::new(false);

/// Sets the application log up; once per process.
///
/// # Errors
///
/// See [`LoggerError`].
pub fn init(settings: &model::Log) -> Result<(), LoggerError> {
    if SINK.get().is_none() {
        let stderr = std::fs::File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let sink = Sink::start("app-log", Pace::Prompt, 1, Output::stream("standard error", Box::new(stderr)))?;
        // Lost only against another thread setting the log up at this moment; `Again` tells.
        drop(SINK.set(sink));
    }
    let style = match io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
        true => WriteStyle::Always,
        false => WriteStyle::Never,
    };
    log::set_boxed_logger(Box::new(Capped(build(format, style, Box::new(ToSink)))))?;
    set(settings);
    Ok(())
}

/// Changes the level of this program's own modules, and the form of all lines.
pub fn set(settings: &model::Log) {
    IS_TEXT.store(settings.format == LogFormat::Text, Ordering::Relaxed);
    log::set_max_level(settings.level);
}

/// Changes the level alone.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

fn format() -> LogFormat {
    if IS_TEXT.load(Ordering::Relaxed) { LogFormat::Text } else { LogFormat::Json }
}

/// Waits until everything logged so far is written; false where standard error is stuck. To be called before the
/// process ends, since the log is written by another thread.
pub fn flush() -> bool {
    SINK.get().is_none_or(Sink::flush)
}

/// env_logger writes each record in one piece.
struct ToSink;

impl Write for ToSink {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        if let Some(sink) = SINK.get() {
            sink.line(|out| out.write_all(record));
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Holds every module but our own to its cap.
struct Capped(Logger);

impl Log for Capped {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= cap(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if is_a_clients_fault(record) {
            if Level::Debug <= log::max_level() {
                self.0.log(&record.to_builder().level(Level::Debug).build());
            }
        } else if self.enabled(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        flush();
    }
}

fn is_ours(target: &str) -> bool {
    target.split("::").next() == Some("keyweir")
}

/// How talkative a module may be.
fn cap(target: &str) -> Level {
    let library = target.split("::").next().unwrap_or_default();
    match library {
        "keyweir" => Level::Trace,
        "h2" | "hyper" | "rustls" => Level::Error,
        _ if library.starts_with("pingora") => Level::Error,
        _ => Level::Warn,
    }
}

/// Pingora calls it an error when a client breaks off a handshake, as every port scan and TCP health check does.
fn is_a_clients_fault(record: &Record<'_>) -> bool {
    matches!(record.target(), "pingora_core::services::listening" | "pingora_core::apps")
        && record.args().to_string().contains("handshake error")
}

fn build(
    format: impl Fn() -> LogFormat + Send + Sync + 'static,
    style: WriteStyle,
    target: Box<dyn Write + Send>,
) -> Logger {
    let mut builder = Builder::new();
    // The level is `log`'s own, changed by `set`; env_logger lets through what passed it.
    builder.filter_level(LevelFilter::Trace).write_style(style).target(Target::Pipe(target));
    builder.format(move |out, record| match format() {
        LogFormat::Json => write_json(out, record),
        LogFormat::Text => write_text(out, record),
    });
    builder.build()
}

fn message(record: &Record<'_>) -> String {
    let text = record.args().to_string();
    if is_ours(record.target()) { text } else { redact::scrub(&text).into_owned() }
}

fn write_json(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let mut serializer = json(out);
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("time", &Stamp(SystemTime::now()))?;
    map.serialize_entry("level", level(record.level()))?;
    map.serialize_entry("target", record.target())?;
    map.serialize_entry("msg", &message(record))?;
    record.key_values().visit(&mut JsonPairs(&mut map)).map_err(io::Error::other)?;
    map.end()?;
    Ok(())
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// `TIME LEVEL target: message name=value …`
fn write_text(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let style = out.default_level_style(record.level());
    write!(out, "{} {style}{:5}{style:#} {}: ", Stamp(SystemTime::now()), record.level(), record.target())?;
    sentence(out, &message(record))?;
    record.key_values().visit(&mut TextPairs(out)).map_err(io::Error::other)
}

struct JsonPairs<'a, M>(&'a mut M);

impl<'kvs, M: SerializeMap> VisitSource<'kvs> for JsonPairs<'_, M> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        self.0.serialize_entry(key.as_str(), &JsonValue(&value)).map_err(|_| kv::Error::msg("cannot be written"))
    }
}

struct JsonValue<'a, 'kvs>(&'a Value<'kvs>);

impl Serialize for JsonValue<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.0;
        if let Some(value) = value.to_bool() {
            serializer.serialize_bool(value)
        } else if let Some(value) = value.to_u64() {
            serializer.serialize_u64(value)
        } else if let Some(value) = value.to_i64() {
            serializer.serialize_i64(value)
        } else if let Some(value) = value.to_f64() {
            serializer.serialize_f64(value)
        } else {
            serializer.collect_str(value)
        }
    }
}

struct TextPairs<'a>(&'a mut Formatter);

impl<'kvs> VisitSource<'kvs> for TextPairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        write!(self.0, " {key}=").and_then(|()| word(self.0, &value.to_string())).map_err(kv::Error::from)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a record becomes, once it is past `log`'s own level.
    fn logged(format: LogFormat, level: Level, target: &str, message: &str) -> String {
        let out = Captured::default();
        let logger = Capped(build(move || format, WriteStyle::Never, Box::new(out.clone())));
        let pairs = [("pool", Value::from("a b")), ("keys", Value::from(3))];
        let pairs: &[(&str, Value<'_>)] = &pairs;
        let mut record = Record::builder();
        record.level(level).target(target).key_values(&pairs);
        logger.log(&record.args(format_args!("{message}")).build());
        let bytes = out.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn libraries_never_get_past_their_cap() {
        let network = ["pingora_core::protocols", "pingora", "h2::codec", "rustls", "hyper::proto"];
        for target in network.into_iter().chain(["tokio_util", "keyweird"]) {
            for level in [Level::Info, Level::Debug, Level::Trace] {
                assert_eq!(logged(LogFormat::Json, level, target, "body"), "", "{target} at {level}");
            }
            assert_eq!(logged(LogFormat::Json, Level::Warn, target, "header").is_empty(), network.contains(&target));
            assert_ne!(logged(LogFormat::Json, Level::Error, target, "trouble"), "");
        }
        for target in ["keyweir", "keyweir::proxy"] {
            assert_ne!(logged(LogFormat::Json, Level::Trace, target, "detail"), "", "{target}");
        }
    }

    #[test]
    fn what_libraries_say_is_scrubbed() {
        let text = logged(LogFormat::Text, Level::Error, "pingora_proxy", "Fail to proxy: GET /v1/models?key=CANARY");
        assert!(text.contains("Fail to proxy") && !text.contains("CANARY"), "{text}");
    }

    #[test]
    fn json_lines_carry_the_values_with_their_types() {
        let text = logged(LogFormat::Json, Level::Info, "keyweir::config", "two\nlines \"quoted\"");
        assert_eq!(text.matches('\n').count(), 0, "the sink ends the line: {text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "info");
        assert_eq!(line["target"], "keyweir::config");
        assert_eq!(line["msg"], "two\nlines \"quoted\"");
        assert_eq!(line["pool"], "a b");
        assert_eq!(line["keys"], 3);
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn text_lines_stay_one_line() {
        let text = logged(LogFormat::Text, Level::Info, "keyweir::config", "plain \"words\"");
        assert!(text.ends_with("INFO  keyweir::config: plain \"words\" pool=\"a b\" keys=3"), "{text}");
        let text = logged(LogFormat::Text, Level::Info, "keyweir::config", "forged\nline\u{1b}[2J");
        assert!(!text.contains(char::is_control), "{text}");
    }
}

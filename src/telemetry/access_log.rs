//! One line per request, off the request's path.
//!
//! [`AccessLog::write`] formats into memory and returns; see `sink` for what happens then and for what is given up when
//! the destination cannot keep up. The query string has no field here, because keys travel in it; texts a client chose
//! are escaped and capped.

use std::io::{self, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;

use super::line::{Capped, JsonFields, member, stamp, word};
use super::metrics::Outcome;
use super::sink::{Output, Pace, Sink};
use crate::config::model::{self, LogFormat};

/// Longest path written, in bytes.
const PATH_MAX: usize = 512;
/// Longest model and request id written, in bytes.
const NAME_MAX: usize = 128;

/// What is said of one finished request.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// When it ended.
    pub time: SystemTime,
    /// Given by the client or made.
    pub request_id: &'a str,
    /// The client's address; `None` on unix sockets.
    pub client: Option<IpAddr>,
    /// The client token's name.
    pub token: Option<&'a str>,
    /// The HTTP method.
    pub method: &'a str,
    /// The path as it was sent, WITHOUT the query.
    pub path: &'a [u8],
    /// The pool it was routed to.
    pub pool: Option<&'a str>,
    /// The name of the key used last.
    pub key: Option<&'a str>,
    /// The model asked for.
    pub model: Option<&'a str>,
    /// The status sent to the client; 0 = none was.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Attempts made upstream.
    pub attempts: u32,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Body bytes to the client.
    pub bytes_out: u64,
    /// Tokens of text asked and answered, where the provider told.
    pub tokens: Option<(u64, u64)>,
    /// From the first byte of the head to the end.
    pub duration: Duration,
    /// From the same moment to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// Authority of the target used last.
    pub upstream: Option<&'a str>,
}

/// The access log.
pub struct AccessLog(ArcSwap<Destination>);

/// Where lines go and what they look like.
pub struct Destination {
    settings: model::AccessLog,
    format: LogFormat,
    sink: Option<Arc<Sink>>,
}

impl Destination {
    fn open(settings: &model::Log) -> io::Result<Self> {
        let sink = sink(&settings.access)?.map(Arc::new);
        Ok(Self { settings: settings.access.clone(), format: settings.format, sink })
    }
}

fn sink(destination: &model::AccessLog) -> io::Result<Option<Sink>> {
    let output = match destination {
        model::AccessLog::Off => return Ok(None),
        // A descriptor of its own: `Stdout` would copy every line through its buffer once more.
        model::AccessLog::Stdout => {
            let stdout = io::stdout().as_fd().try_clone_to_owned()?;
            Output::stream("standard output", Box::new(std::fs::File::from(stdout)))
        }
        model::AccessLog::File(path) => Output::file(path.clone())?,
    };
    let shards = 2 * thread::available_parallelism().map_or(1, usize::from);
    Sink::start("access-log", Pace::Batched, shards, output).map(Some)
}

impl AccessLog {
    /// Opens the destination and starts the writer thread.
    ///
    /// # Errors
    ///
    /// The file or standard output cannot be opened, or no thread can be started.
    pub fn open(settings: &model::Log) -> io::Result<Self> {
        Destination::open(settings).map(|destination| Self(ArcSwap::from_pointee(destination)))
    }

    /// Opens what the settings name for [`Self::switch`]; a destination that stays is not opened twice.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn prepare(&self, settings: &model::Log) -> io::Result<Destination> {
        let now = self.0.load();
        if now.settings == settings.access {
            return Ok(Destination { settings: now.settings.clone(), format: settings.format, sink: now.sink.clone() });
        }
        Destination::open(settings)
    }

    /// Writes there from the next line on. A file that stays is opened anew, after a rotation. May wait for the last
    /// lines to reach the old destination.
    pub fn switch(&self, destination: Destination) {
        let old = self.0.swap(Arc::new(destination));
        if let (Some(before), Some(after)) = (&old.sink, &self.0.load().sink)
            && Arc::ptr_eq(before, after)
        {
            after.reopen();
        }
        // A request that is writing its line must not be the last owner: closing a destination takes its time.
        while Arc::strong_count(&old) > 1 {
            thread::yield_now();
        }
    }

    /// Writes one line, or drops and counts it where there is no room.
    pub fn write(&self, entry: &Entry<'_>) {
        let destination = self.0.load();
        let Some(sink) = &destination.sink else { return };
        sink.line(|out| match destination.format {
            LogFormat::Json => write_json(out, entry),
            LogFormat::Text => write_text(out, entry),
        });
    }

    /// Waits until the lines so far are written; false where the destination is stuck.
    pub fn flush(&self) -> bool {
        self.0.load().sink.as_ref().is_none_or(|sink| sink.flush())
    }
}

/// One JSON object; fields that do not apply are left out. Written field by field, not through serde, because it is the
/// only text every request pays for.
fn write_json(out: &mut Vec<u8>, entry: &Entry<'_>) -> io::Result<()> {
    out.extend_from_slice(b"{\"time\":\"");
    stamp(out, entry.time);
    out.push(b'"');
    let mut line = JsonFields(out);
    line.text(member!("request_id"), &name(entry.request_id))?;
    if let Some(client) = entry.client {
        line.address(member!("client"), client)?;
    }
    line.some_text(member!("token"), entry.token.map(name))?;
    line.text(member!("method"), &name(entry.method))?;
    line.text(member!("path"), &Capped { bytes: entry.path, max: PATH_MAX })?;
    line.some_text(member!("pool"), entry.pool.map(name))?;
    line.some_text(member!("key"), entry.key.map(name))?;
    line.some_text(member!("model"), entry.model.map(name))?;
    line.number(member!("status"), entry.status.into());
    line.text(member!("outcome"), &name(entry.outcome.as_str()))?;
    line.number(member!("attempts"), entry.attempts.into());
    line.number(member!("bytes_in"), entry.bytes_in);
    line.number(member!("bytes_out"), entry.bytes_out);
    if let Some((tokens_in, tokens_out)) = entry.tokens {
        line.number(member!("tokens_in"), tokens_in);
        line.number(member!("tokens_out"), tokens_out);
    }
    line.milliseconds(member!("duration_ms"), entry.duration);
    if let Some(first_byte) = entry.first_byte {
        line.milliseconds(member!("first_byte_ms"), first_byte);
    }
    line.some_text(member!("upstream"), entry.upstream.map(name))?;
    out.push(b'}');
    Ok(())
}

fn name(text: &str) -> Capped<'_> {
    Capped { bytes: text.as_bytes(), max: NAME_MAX }
}

/// Milliseconds with the microseconds as decimals.
fn in_milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// `TIME STATUS METHOD PATH DURATIONms name=value …`
fn write_text(out: &mut Vec<u8>, entry: &Entry<'_>) -> io::Result<()> {
    stamp(out, entry.time);
    write!(out, " {} ", entry.status)?;
    word(out, &name(entry.method).text())?;
    out.push(b' ');
    word(out, &Capped { bytes: entry.path, max: PATH_MAX }.text())?;
    write!(out, " {}ms outcome={}", in_milliseconds(entry.duration), entry.outcome.as_str())?;
    if let Some(first_byte) = entry.first_byte {
        write!(out, " first_byte={}ms", in_milliseconds(first_byte))?;
    }
    write!(out, " attempts={} in={} out={}", entry.attempts, entry.bytes_in, entry.bytes_out)?;
    if let Some((tokens_in, tokens_out)) = entry.tokens {
        write!(out, " tokens_in={tokens_in} tokens_out={tokens_out}")?;
    }
    let texts = [
        ("pool", entry.pool),
        ("key", entry.key),
        ("model", entry.model),
        ("upstream", entry.upstream),
        ("token", entry.token),
        ("id", Some(entry.request_id)),
    ];
    for (label, text) in texts {
        if let Some(text) = text {
            write!(out, " {label}=")?;
            word(out, &name(text).text())?;
        }
    }
    entry.client.map_or(Ok(()), |client| write!(out, " client={client}"))
}

#[cfg(test)]
mod tests;

//! Event streams: a role delta, content deltas at a steady pace, a finish event, `[DONE]`.
//!
//! Each content is `T` and the send time: 20 digits, nanoseconds of `CLOCK_MONOTONIC`. A reader on the same machine
//! subtracts it from its own clock and has the transit time of every event.

use std::io;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::answers::{LAST_CHUNK, unix_time, usage, write_chunk, write_head};
use super::control::Settings;
use super::http::Connection;
use super::request::{Frame, Parameters};
use super::stats::{OpenStream, Stats};

/// One stream, decided before its first byte.
#[derive(Debug)]
pub(super) struct Stream {
    id: u64,
    pub(super) frame: Frame,
    headers: Vec<(String, String)>,
    /// JSON up to the delta, the same for all events.
    prefix: String,
    usage: Option<String>,
    events: u64,
    interval: Duration,
    ending: Ending,
}

/// How a stream goes on after its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// To `[DONE]`.
    Complete,
    /// The role delta, then `[DONE]`.
    NoContent,
    /// This event alone.
    Error(String),
    /// The role delta, then nothing more.
    Stall,
    /// Closed after half the events.
    Cut,
    /// Reset after so many events.
    Reset(u64),
}

impl Stream {
    pub(super) fn new(
        id: u64,
        asked: &Parameters<'_>,
        body_length: usize,
        settings: &Settings,
        ending: Ending,
    ) -> Stream {
        let model = Value::from(asked.model());
        let created = unix_time();
        let events = asked.mock.events.unwrap_or(settings.events);
        Stream {
            id,
            // A stream's length is never known.
            frame: if asked.mock.frame == Some(Frame::Close) { Frame::Close } else { Frame::Chunked },
            headers: asked.mock.headers.clone().into_iter().collect(),
            prefix: format!(
                r#"data: {{"id":"chatcmpl-{id:016x}","object":"chat.completion.chunk","created":{created},"model":{model}"#
            ),
            usage: asked.include_usage().then(|| usage(body_length, events)),
            events,
            interval: asked.mock.interval_ms.map_or(settings.interval, Duration::from_millis),
            ending: asked.mock.die_after.map_or(ending, Ending::Reset),
        }
    }

    /// Sends the stream; `true` = the connection can carry another request.
    pub(super) async fn send(self, connection: &mut Connection, stats: &Stats) -> io::Result<bool> {
        let open = OpenStream::new(stats);
        let mut out = Vec::with_capacity(1024);
        write_head(&mut out, 200, "text/event-stream; charset=utf-8", self.id, self.frame, 0, &self.headers);
        if let Ending::Error(event) = &self.ending {
            self.event(event, &mut out);
        } else {
            self.event(&self.delta(r#"{"role":"assistant","content":""}"#, "null"), &mut out);
        }
        let start = Instant::now();
        for at in 1..=self.contents() {
            connection.send(&out).await?;
            out.clear();
            if !self.interval.is_zero() {
                connection
                    .pause_until(start + self.interval.saturating_mul(u32::try_from(at).unwrap_or(u32::MAX)))
                    .await?;
            }
            self.event(&self.delta(&format!(r#"{{"content":"T{:020} "}}"#, monotonic_nanos()), "null"), &mut out);
        }
        connection.send(&out).await?;
        self.end(connection, open).await
    }

    /// How many content events go out.
    fn contents(&self) -> u64 {
        match self.ending {
            Ending::Complete => self.events,
            Ending::NoContent | Ending::Error(_) | Ending::Stall => 0,
            Ending::Cut => self.events.div_ceil(2),
            Ending::Reset(after) => after.min(self.events),
        }
    }

    async fn end(&self, connection: &mut Connection, open: OpenStream<'_>) -> io::Result<bool> {
        match self.ending {
            Ending::Stall => return Err(connection.gone().await),
            Ending::Cut => {
                open.cut();
                return Ok(false);
            }
            Ending::Reset(_) => {
                open.cut();
                connection.reset()?;
                return Ok(false);
            }
            Ending::Complete | Ending::NoContent | Ending::Error(_) => {}
        }
        let mut out = Vec::with_capacity(1024);
        self.write_ending(&mut out);
        connection.send(&out).await?;
        open.finished();
        Ok(self.frame != Frame::Close)
    }

    fn write_ending(&self, out: &mut Vec<u8>) {
        if self.ending == Ending::Complete {
            self.event(&self.delta("{}", r#""stop""#), out);
            if let Some(usage) = &self.usage {
                self.event(&format!("{},\"choices\":[],\"usage\":{usage}}}", self.prefix), out);
            }
        }
        if !matches!(self.ending, Ending::Error(_)) {
            self.event("data: [DONE]", out);
        }
        if self.frame == Frame::Chunked {
            out.extend_from_slice(LAST_CHUNK);
        }
    }

    /// A chunk with one choice.
    fn delta(&self, delta: &str, finish_reason: &str) -> String {
        let usage = if self.usage.is_some() { r#","usage":null"# } else { "" };
        format!(
            r#"{},"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish_reason}}}]{usage}}}"#,
            self.prefix
        )
    }

    /// Frames one event.
    fn event(&self, event: &str, out: &mut Vec<u8>) {
        let event = format!("{event}\n\n");
        match self.frame {
            Frame::Chunked => write_chunk(out, event.as_bytes()),
            Frame::Close | Frame::Length => out.extend_from_slice(event.as_bytes()),
        }
    }
}

/// The event of an error inside a stream.
pub(super) fn error_event() -> String {
    let error = json!({"error": {
        "message": "The server had an error while processing your request. Sorry about that!",
        "type": "server_error",
        "param": null,
        "code": null,
    }});
    format!("data: {error}")
}

/// `CLOCK_MONOTONIC`, which all processes of a machine share; `Instant` does not tell its number.
fn monotonic_nanos() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

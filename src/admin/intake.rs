//! Keys on their way in: a text of any length, received by parts and read piece by piece.
//!
//! Invariant: of a text with a key per line no more than a piece is held, however long it is. Whoever reads stands still
//! until more comes; whoever receives waits until what came was read.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;
use std::vec::IntoIter;

use axum::body::BodyDataStream;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use futures::StreamExt;
use http::StatusCode;
use hyper::body::Body as _;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::api::LOT;
use super::import::ImportReport;
use super::openapi::{Input, Operation};
use super::problem::Problem;
use crate::config::formats::{BadLine, Entry, Format, Incoming, Reading};
use crate::manage::Candidate;

/// Largest text (bytes): two million keys.
const MAX: usize = 128 * 1024 * 1024;
/// Time to wait for the next part.
const SILENCE: Duration = Duration::from_secs(30);
/// Parts that may wait to be read.
const WAITING: usize = 8;

/// Keys in any format, which have yet to come.
pub(super) struct Text {
    /// Its length in bytes, where that is known.
    size: Option<usize>,
    parts: BodyDataStream,
}

impl<S: Send + Sync> FromRequest<S> for Text {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body = request.into_body();
        let size = body.size_hint().exact().map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        if size.is_some_and(|size| size > MAX) {
            return Err(too_large());
        }
        Ok(Self { size, parts: body.into_data_stream() })
    }
}

impl Input for Text {
    fn describe(operation: &mut Operation<'_>) {
        let kinds = ["text/plain", "application/yaml", "text/csv", "application/octet-stream"];
        let text = "Keys in any of the formats, up to 128 MiB; what is declared is not looked at. Where there is a key \
                    per line they are added as they come.";
        operation.takes_text(&kinds, text);
    }
}

fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "bad_request", "longer than 128 MiB; import it in several parts")
}

fn broken(why: impl fmt::Display) -> Problem {
    Problem::bad_request(format!("the text broke off: {why}"))
}

impl From<BadLine> for Problem {
    fn from(bad: BadLine) -> Self {
        Self::bad_request(bad.to_string())
    }
}

/// `None` = the text is at its end. Whoever leaves says nothing, and half a line of theirs is no key.
type Part = Result<Option<Bytes>, Problem>;

impl Text {
    /// Whoever receives it, and whoever reads it: in a thread that may wait, with what is read told to the report.
    pub(super) fn split(self, format: Format) -> (impl Future<Output = ()> + Send, Unread) {
        let (send, receive) = mpsc::channel(WAITING);
        let unread = Unread { parts: receive, size: self.size, received: 0, text: Some(Incoming::new(format)) };
        (receive_all(self.parts, send), unread)
    }
}

/// Hands on what comes. What nobody wants any more is received all the same: who still sends does not hear an answer.
async fn receive_all(mut parts: BodyDataStream, to: mpsc::Sender<Part>) {
    let mut left = MAX;
    loop {
        let part = match timeout(SILENCE, parts.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(part))) if part.len() > left => Err(too_large()),
            Ok(Some(Ok(part))) => {
                left -= part.len();
                Ok(Some(part))
            }
            Ok(Some(Err(error))) => Err(broken(&error)),
            Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "bad_request", "nothing more came for 30 seconds")),
        };
        let is_last = !matches!(part, Ok(Some(_)));
        // Whoever reads may have had enough.
        drop(to.send(part).await);
        if is_last {
            return;
        }
    }
}

/// What was not read yet of a text.
pub(super) struct Unread {
    parts: mpsc::Receiver<Part>,
    size: Option<usize>,
    received: usize,
    /// `None` = all was read.
    text: Option<Incoming>,
}

impl Unread {
    /// The next keys; `None` at the end. Blocks.
    fn next(&mut self) -> Result<Option<Reading>, Problem> {
        let Some(text) = &mut self.text else { return Ok(None) };
        while let Some(part) = self.parts.blocking_recv().unwrap_or_else(|| Err(broken("its sender left")))? {
            self.received += part.len();
            if let Some(reading) = text.take(&part)? {
                return Ok(Some(reading));
            }
        }
        Ok(self.text.take().map(Incoming::end).transpose()?)
    }

    /// How many times as long as what was received the whole is, as far as is known.
    fn ratio(&self) -> f64 {
        let size = self.size.filter(|_| self.text.is_some() && self.received > 0);
        size.map_or(1.0, |size| size as f64 / self.received as f64)
    }

    /// Its keys by lots. What is read is told to the report.
    pub(super) fn lots(
        mut self,
        report: &RefCell<ImportReport>,
    ) -> impl Iterator<Item = Result<Vec<Candidate>, Problem>> {
        let mut read: IntoIter<Entry> = Vec::new().into_iter();
        std::iter::from_fn(move || {
            let mut lot: Vec<Candidate> = Vec::new();
            loop {
                lot.extend(read.by_ref().take(LOT - lot.len()).map(Candidate::from));
                if lot.len() == LOT {
                    return Some(Ok(lot));
                }
                match self.next() {
                    Ok(Some(reading)) => read = report.borrow_mut().read(reading, self.ratio()).into_iter(),
                    Ok(None) => return (!lot.is_empty()).then_some(Ok(lot)),
                    Err(problem) => return Some(Err(problem)),
                }
            }
        })
    }
}

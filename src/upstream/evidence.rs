//! What is read of an answer before its head is handed over: whatever the verdict needs.
//!
//! Until then nothing reached the client. What was read is held and passed on afterwards, unless another key is tried.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use pingora::prelude::*;
use pingora::time::timeout;

use super::attempt::{Attempt, Evidence};
use super::first_event::{FirstEvent, Gate, is_error_body};
use super::session::UpstreamSession;

/// As much of a failing answer's body, or of one that may be an error in spite of its 200, is read for the verdict.
const EVIDENCE_BYTES: usize = 8 * 1024;
/// A failing answer whose body dawdles is judged by what came in this time.
const EVIDENCE_TIME: Duration = Duration::from_secs(2);

impl UpstreamSession {
    /// Reads a failing answer's first bytes for the verdict.
    pub(super) async fn collect_evidence(&mut self, attempt: &Attempt) {
        let until = Instant::now() + EVIDENCE_TIME;
        let mut prefix = BytesMut::new();
        while prefix.len() < EVIDENCE_BYTES {
            let left = until.saturating_duration_since(Instant::now());
            match timeout(left, self.http.read_piece()).await {
                Ok(Ok(Some(piece))) => prefix.extend_from_slice(&piece),
                Ok(Ok(None)) => {
                    self.complete = true;
                    break;
                }
                Ok(Err(error)) => {
                    self.broken = Some(error);
                    break;
                }
                Err(_) => break,
            }
        }
        let prefix = prefix.freeze();
        self.held.push_back(prefix.clone());
        self.conclude(attempt, Evidence::Status(prefix));
    }

    /// Holds a 200 event stream until its first event that counts.
    ///
    /// # Errors
    /// If the whole attempt's time is over before.
    pub(super) async fn await_first_event(&mut self, attempt: &Attempt) -> Result<()> {
        let until = (Instant::now() + attempt.hold).min(attempt.started + attempt.total);
        let mut events = FirstEvent::default();
        let evidence = loop {
            let left = until.saturating_duration_since(Instant::now());
            let gate = match self.read_piece(left).await {
                Ok(Some(piece)) => {
                    let gate = events.feed(&piece);
                    self.hold(piece);
                    gate
                }
                Ok(None) => match events.finish() {
                    Gate::Hold => break Evidence::EmptyStream,
                    decided => decided,
                },
                Err(error) if error.etype() == &ReadTimedout => return release(attempt),
                Err(error) => {
                    self.broken = Some(error);
                    break Evidence::EmptyStream;
                }
            };
            match gate {
                Gate::Hold => {}
                Gate::Open => return Ok(()),
                Gate::Error(data) => break Evidence::StreamError(data),
            }
        };
        self.conclude(attempt, evidence);
        Ok(())
    }

    /// Holds a JSON answer that is no longer than an error, until it is clear that it is none sent with a 200.
    ///
    /// # Errors
    /// If the whole attempt's time is over before.
    pub(super) async fn await_json(&mut self, attempt: &Attempt) -> Result<()> {
        let limit = attempt.hold.min(attempt.total);
        let mut until = None;
        let mut size = 0;
        while !self.http.is_body_done() {
            // Most answers come in one piece and never look at a clock.
            let left = if self.held.is_empty() {
                limit
            } else {
                let now = Instant::now();
                until.get_or_insert(now + limit).saturating_duration_since(now)
            };
            match self.read_piece(left).await {
                Ok(Some(piece)) => {
                    size += piece.len();
                    self.hold(piece);
                }
                Ok(None) => break,
                Err(error) if error.etype() == &ReadTimedout => return release(attempt),
                Err(error) => {
                    self.broken = Some(error);
                    self.conclude(attempt, Evidence::EmptyStream);
                    return Ok(());
                }
            }
            if size > EVIDENCE_BYTES {
                return Ok(());
            }
        }
        let body = match self.held.front() {
            Some(whole) if self.held.len() == 1 => whole.clone(),
            _ => self.held.iter().flatten().copied().collect(),
        };
        if is_error_body(&body) {
            self.conclude(attempt, Evidence::StreamError(body));
        }
        Ok(())
    }

    fn hold(&mut self, piece: Bytes) {
        if let Some(tail) = &mut self.tail {
            tail.push(&piece);
        }
        self.held.push_back(piece);
    }

    fn conclude(&self, attempt: &Attempt, evidence: Evidence) {
        // Each attempt has one session, so the slot is empty.
        let _first = attempt.evidence.set(evidence);
    }
}

/// Held long enough: what came goes to the client and the rest follows as it comes, if there is time for any.
fn release(attempt: &Attempt) -> Result<()> {
    if attempt.started.elapsed() < attempt.total {
        return Ok(());
    }
    Error::e_explain(ReadTimedout, "no time is left for the answer's rest")
}

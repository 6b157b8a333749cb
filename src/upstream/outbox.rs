//! What is still to be sent on one connection.
//!
//! Pingora writes a request's head, then its body, and only then looks for an answer; an early 401 or 413 is lost that
//! way and the client's disconnect goes unseen. Here head and body are queued and leave, in vectored writes, whenever
//! the answer is read: one system call for a small request, and an early answer is seen while a big body is still going
//! out.

use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use pingora::prelude::*;
use pingora::protocols::Stream;
use pingora::protocols::http::custom::BodyWrite;
use tokio::io::AsyncWrite;

use super::payload::Payload;

/// Pieces given to the kernel in one write.
const SLICES: usize = 16;

/// One request on its way out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    head: BytesMut,
    body: Payload,
    /// Where in the body sending stands: a piece, and a byte of it.
    piece: usize,
    offset: usize,
    unflushed: bool,
    failed: bool,
    last_progress: Option<Instant>,
}

impl Outbox {
    pub(super) fn new(head: BytesMut, body: Payload) -> Self {
        Self { head, body, ..Self::default() }
    }

    /// Sends what can be sent now. A write error is only remembered: the answer may still be there to read.
    pub(super) fn poll_send(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<()> {
        while !self.failed && !self.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.slices(&mut slices);
            let unsent = slices.get(..count).unwrap_or_default();
            match ready!(Pin::new(&mut *stream).poll_write_vectored(cx, unsent)) {
                Ok(written) if written > 0 => self.advance(written),
                _ => self.failed = true,
            }
        }
        if self.unflushed && !self.failed {
            match ready!(Pin::new(&mut *stream).poll_flush(cx)) {
                Ok(()) => self.unflushed = false,
                Err(_) => self.failed = true,
            }
        }
        Poll::Ready(())
    }

    /// Every byte of the request is on its way.
    pub(super) fn is_complete(&self) -> bool {
        self.is_empty() && !self.unflushed && !self.failed
    }

    /// When the upstream last took a byte; `None` if it took the whole request at once, or nothing yet.
    pub(super) fn last_progress(&self) -> Option<Instant> {
        self.last_progress
    }

    fn is_empty(&self) -> bool {
        self.head.is_empty() && self.piece == self.body.pieces().len()
    }

    /// What the next write sends.
    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let unsent = self.body.pieces().get(self.piece..).unwrap_or_default().iter().map(|piece| piece.as_ref());
        let started = unsent
            .enumerate()
            .map(|(i, piece)| if i == 0 { piece.get(self.offset..).unwrap_or_default() } else { piece });
        let mut count = 0;
        for (slot, part) in slices.iter_mut().zip(std::iter::once(&*self.head).chain(started)) {
            *slot = IoSlice::new(part);
            count += 1;
        }
        count
    }

    fn advance(&mut self, written: usize) {
        let from_head = written.min(self.head.len());
        self.head.advance(from_head);
        let mut left = written - from_head;
        while let Some(piece) = self.body.pieces().get(self.piece).filter(|_| left > 0) {
            let step = left.min(piece.len() - self.offset);
            left -= step;
            self.offset += step;
            if self.offset == piece.len() {
                self.piece += 1;
                self.offset = 0;
            }
        }
        self.unflushed = true;
        if self.last_progress.is_some() || !self.is_empty() {
            self.last_progress = Some(Instant::now());
        }
    }
}

/// Pingora's side of the request body: it was queued with the head, so nothing is left to write.
pub(super) struct NoBody;

#[async_trait]
impl BodyWrite for NoBody {
    async fn write_all_buf(&mut self, data: &mut Bytes) -> Result<()> {
        data.clear();
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    async fn cleanup(&mut self) -> Result<()> {
        Ok(())
    }

    fn upgrade_body_writer(&mut self) {}
}

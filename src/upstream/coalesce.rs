//! A stream that writes while it reads.
//!
//! Pingora writes a request's head, then its body, and only then looks for an answer; an early 401 or 413 is lost that
//! way and the client's disconnect goes unseen. Here head and body are queued in the [`Outbox`] and leave, in vectored
//! writes, whenever the reader is polled: one system call for a small request, and an early answer is seen while a big
//! body is still going out.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use pingora::prelude::*;
use pingora::protocols::http::custom::BodyWrite;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType, raw_connect::ProxyDigest, tls::SslDigest,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::payload::Payload;

/// Pieces given to the kernel in one write.
const SLICES: usize = 16;

/// What is still to be sent on one connection.
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
    /// Queues the body that follows the head.
    pub(super) fn set_body(&mut self, body: Payload) {
        self.body = body;
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

/// The stream given to Pingora's HTTP/1 client session.
#[derive(Debug)]
pub(super) struct Coalesce {
    inner: Stream,
    outbox: Arc<Mutex<Outbox>>,
}

impl Coalesce {
    pub(super) fn new(inner: Stream) -> (Self, Arc<Mutex<Outbox>>) {
        let outbox = Arc::new(Mutex::new(Outbox::default()));
        (Self { inner, outbox: outbox.clone() }, outbox)
    }

    /// Gives the connection back, for the next request.
    pub(super) fn into_inner(self) -> Stream {
        self.inner
    }

    /// Sends what can be sent now. A write error only marks the outbox: the answer may still be there to read.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut outbox = self.outbox.lock();
        while !outbox.failed && !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = outbox.slices(&mut slices);
            let unsent = slices.get(..count).unwrap_or_default();
            match ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, unsent)) {
                Ok(written) if written > 0 => outbox.advance(written),
                _ => outbox.failed = true,
            }
        }
        if outbox.unflushed && !outbox.failed {
            match ready!(Pin::new(&mut self.inner).poll_flush(cx)) {
                Ok(()) => outbox.unflushed = false,
                Err(_) => outbox.failed = true,
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Coalesce {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Pending or not, reading goes on: both wakers are registered then.
        let _pending = self.poll_send(cx);
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Coalesce {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.outbox.lock().head.extend_from_slice(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

// What Pingora asks of a stream, all of it the inner one's business.

#[async_trait]
impl Shutdown for Coalesce {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

impl UniqueID for Coalesce {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Coalesce {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Coalesce {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }
}

impl GetProxyDigest for Coalesce {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl GetSocketDigest for Coalesce {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

#[async_trait]
impl Peek for Coalesce {}

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

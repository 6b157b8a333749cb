//! A connection that is written to in small portions.
//!
//! What is written to a client on the same machine the kernel carries all the way at once, and nothing else runs on that
//! core meanwhile: an export of ten megabytes held requests up for two milliseconds.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Largest portion (bytes).
const MOST: usize = 64 * 1024;

/// Writes to it in portions.
pub(super) struct Portions<S>(pub(super) S);

impl<S: AsyncRead + Unpin> AsyncRead for Portions<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Portions<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf.get(..MOST).unwrap_or(buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if bufs.iter().map(|buf| buf.len()).sum::<usize>() <= MOST {
            return Pin::new(&mut self.0).poll_write_vectored(cx, bufs);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty());
        self.poll_write(cx, first.map_or(&[], |buf| buf))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_long_is_written_in_portions_and_whole() {
        let (ours, mut theirs) = duplex(1024 * 1024);
        let mut ours = Portions(ours);
        let text: Vec<u8> = (0..=250).cycle().take(200_000).collect();
        let (head, body) = text.split_at(100);
        assert_eq!(ours.write_vectored(&[IoSlice::new(head)]).await.unwrap(), 100);
        assert_eq!(ours.write_vectored(&[IoSlice::new(&[]), IoSlice::new(body)]).await.unwrap(), MOST);
        ours.write_all(&body[MOST..]).await.unwrap();
        drop(ours);
        let mut read = Vec::new();
        theirs.read_to_end(&mut read).await.unwrap();
        assert!(read == text);
    }
}

//! A TLS connection that encrypts no more than its client's pace is worth.
//!
//! What is encrypted and not yet taken is memory that only the client can free.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::pace::Pace;

/// A TLS connection with its bound.
pub(crate) struct PacedTls<I> {
    stream: TlsStream<I>,
    pace: Arc<Pace>,
    /// The bound for a client that keeps up, in bytes.
    most_bytes: usize,
    limit_bytes: usize,
}

impl<I> PacedTls<I> {
    /// `stream`, which encrypts at most `most_bytes` before it writes.
    pub(crate) fn new(stream: TlsStream<I>, pace: Arc<Pace>, most_bytes: usize) -> Self {
        Self { stream, pace, most_bytes, limit_bytes: 0 }
    }

    fn set_limit(&mut self) {
        let worth = self.pace.ready_bytes().and_then(|bytes| usize::try_from(bytes).ok());
        let limit = worth.unwrap_or(usize::MAX).min(self.most_bytes);
        if limit != self.limit_bytes {
            self.limit_bytes = limit;
            self.stream.get_mut().1.set_buffer_limit(Some(limit));
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for PacedTls<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.set_limit();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.set_limit();
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for PacedTls<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

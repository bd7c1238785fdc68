//! A plain connection that sends from files: what stands in for bytes of a file goes from the page cache to the socket,
//! and no copy of it is made.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use dataproxy_cache::FilePiece;
use rustix::net::sockopt::set_tcp_cork;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::stand_in::StandIns;

/// A plain connection. Without stand-ins it is the stream and nothing else.
pub(crate) struct Sendfile {
    stream: TcpStream,
    stand_ins: Option<StandIns>,
    /// Whether the kernel holds back what does not fill a segment, since more follows.
    corked: bool,
}

impl Sendfile {
    pub(crate) fn new(stream: TcpStream, stand_ins: Option<StandIns>) -> Self {
        Self { stream, stand_ins, corked: false }
    }

    fn cork(&mut self, on: bool) -> io::Result<()> {
        if self.corked != on {
            set_tcp_cork(&self.stream, on)?;
            self.corked = on;
        }
        Ok(())
    }

    /// Sends what comes first of these: memory up to the first stand-in, or what that stands for.
    fn poll_first(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Some(stand_ins) = &self.stand_ins else {
            return Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        };
        let stands_in = |slice: &IoSlice<'_>| stand_ins.holds(slice);
        match slices.split_at(slices.iter().position(stands_in).unwrap_or(slices.len())) {
            ([], [first, ..]) => {
                let (piece, offset) = stand_ins.meaning(first).ok_or_else(lost)?;
                let sent = ready!(poll_send(&self.stream, context, &piece, offset, first.len()));
                if let Ok(bytes) = &sent {
                    stand_ins.sent(*bytes);
                }
                Poll::Ready(sent)
            }
            (memory, _) => Pin::new(&mut self.stream).poll_write_vectored(context, memory),
        }
    }
}

fn lost() -> io::Error {
    tracing::error!("a body from a cached file has lost its place; its connection ends");
    io::Error::other("a body from a cached file has lost its place")
}

/// Sends bytes of a file, as many as the socket takes.
///
/// # Errors
/// The file has fewer than it had, or the system fails. Nothing can be sent in place of the rest: the connection is to
/// end there, short.
fn poll_send(
    stream: &TcpStream,
    context: &mut Context<'_>,
    piece: &FilePiece,
    offset: u64,
    length: usize,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(context))?;
        let mut at = offset;
        let send = || match rustix::fs::sendfile(stream, piece, Some(&mut at), length)? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a cached file is cut short")),
            sent => Ok(sent),
        };
        match stream.try_io(Interest::WRITABLE, send) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::warn!(%error, "a body from a cached file ends short");
                return Poll::Ready(Err(error));
            }
            sent => return Poll::Ready(sent),
        }
    }
}

impl AsyncWrite for Sendfile {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Else the head, and the end of every piece, would go out in segments of their own.
        if self.stand_ins.as_ref().is_some_and(|stand_ins| !stand_ins.is_idle()) {
            self.cork(true)?;
        }
        self.poll_first(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.corked && self.stand_ins.as_ref().is_none_or(StandIns::is_idle) {
            self.cork(false)?;
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Which sends what is held back, too.
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncRead for Sendfile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests;

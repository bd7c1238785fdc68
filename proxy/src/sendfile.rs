//! A plain connection that sends from files: what stands in for bytes of a file goes from the page cache to the socket,
//! and no copy of it is made.
//!
//! Nor does a thread of the runtime wait for a disk: a client that takes its time may find that the page cache has lost
//! what it had when the piece was made. It is read again elsewhere, before it is sent.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use dataproxy_cache::FilePiece;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustix::net::sockopt::set_tcp_cork;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::stand_in::StandIns;

/// How long what was in the page cache is taken to be there. The system may drop it at any time, be it between a look and
/// the call; a client that keeps up is to cost no look.
const AT_HAND_FOR: Duration = Duration::from_millis(10);

/// Reads for the page cache at a time: a disk that stalls leaves threads to others.
static READS: Semaphore = Semaphore::const_new(32);

/// A plain connection. Without stand-ins it is the stream and nothing else.
pub(crate) struct Sendfile {
    stream: TcpStream,
    stand_ins: Option<StandIns>,
    /// The page cache is given back what comes next.
    reading: Option<BoxFuture<'static, io::Result<()>>>,
    /// Whether the kernel holds back what does not fill a segment, since more follows.
    corked: bool,
}

impl Sendfile {
    pub(crate) fn new(stream: TcpStream, stand_ins: Option<StandIns>) -> Self {
        Self { stream, stand_ins, reading: None, corked: false }
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
                let (piece, offset, seen) = stand_ins.meaning(first).ok_or_else(lost)?;
                if self.reading.is_some() || seen.elapsed() >= AT_HAND_FOR {
                    let bytes = offset..offset + first.len() as u64;
                    ready!(poll_at_hand(&mut self.reading, context, &piece, bytes))?;
                    stand_ins.seen();
                }
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

/// Has these bytes in the page cache.
fn poll_at_hand(
    reading: &mut Option<BoxFuture<'static, io::Result<()>>>,
    context: &mut Context<'_>,
    piece: &Arc<FilePiece>,
    bytes: Range<u64>,
) -> Poll<io::Result<()>> {
    if reading.is_none() && piece.is_resident(bytes.clone()) {
        return Poll::Ready(Ok(()));
    }
    let read = reading.get_or_insert_with(|| read_ahead(Arc::clone(piece), bytes).boxed());
    let read = ready!(read.as_mut().poll(context));
    *reading = None;
    Poll::Ready(read)
}

async fn read_ahead(piece: Arc<FilePiece>, bytes: Range<u64>) -> io::Result<()> {
    // It is closed by nobody.
    let _place = READS.acquire().await.map_err(io::Error::other)?;
    tokio::task::spawn_blocking(move || piece.read_ahead(bytes)).await?
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

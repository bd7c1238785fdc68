//! One connection, and one exchange after the other on it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::answer::Answer;
use super::pace::Pace;
use super::scratch::{DROP_BYTES, READ_BYTES, Scratch};
use super::{Fault, Taker};

/// What is read while a head is awaited: with a small body behind it, all in one call.
const HEAD_READ_BYTES: usize = 32 * 1024;

/// After so many bytes that were looked at, other pulls of the thread get their turn: about half a millisecond of hashing.
const TURN_BYTES: u64 = 1024 * 1024;

/// An open connection.
pub(crate) struct Connection {
    stream: Stream,
    scratch: Rc<Scratch>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A request's bytes, and what must be known to read its answer.
#[derive(Clone, Copy)]
pub(crate) struct Sent<'a> {
    /// Head and body.
    pub(crate) bytes: &'a [u8],
    /// It is a HEAD.
    pub(crate) bodiless: bool,
    /// Bytes per second that the body is read with at most.
    pub(crate) rate: Option<u64>,
}

impl Connection {
    pub(super) fn plain(stream: TcpStream, scratch: Rc<Scratch>) -> Self {
        Self { stream: Stream::Plain(stream), scratch }
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>, scratch: Rc<Scratch>) -> Self {
        Self { stream: Stream::Tls(Box::new(stream)), scratch }
    }

    /// Sends a request and hands its answer to `taker`. Returns whether the connection can carry a next one.
    ///
    /// Errors: see [`Fault`]. Dropped before its end, the connection is of no more use.
    pub(crate) async fn exchange(&mut self, sent: Sent<'_>, taker: &mut dyn Taker) -> Result<bool, Fault> {
        self.send(sent.bytes).await.map_err(|error| Fault::socket(&error).unanswered())?;
        let mut answer = Answer::new(sent.bodiless);
        while answer.in_head() {
            self.read(HEAD_READ_BYTES, &mut answer, taker).await?;
        }
        if !answer.is_done() {
            self.read_body(sent.rate, &mut answer, taker).await?;
        }
        Ok(answer.leaves_reusable())
    }

    /// Whether nothing has come since its last answer: no end, and no bytes that nobody asked for, which would be taken for the
    /// next answer (a 408, say, of a server that closes what is idle). Looks at what the runtime has heard so far.
    pub(super) fn is_quiet(&self) -> bool {
        let (stream, plain) = match &self.stream {
            Stream::Plain(stream) => (stream, true),
            Stream::Tls(stream) => (stream.get_ref().0, false),
        };
        let mut nobody = Context::from_waker(Waker::noop());
        if stream.poll_read_ready(&mut nobody).is_pending() {
            return true;
        }
        let mut byte = [0];
        match recv(stream, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, 0)) => false,
            // What TLS says to itself, such as a session ticket, is no answer.
            Ok(_) => !plain,
            Err(error) => error == rustix::io::Errno::WOULDBLOCK,
        }
    }

    async fn read_body(
        &mut self,
        rate: Option<u64>,
        answer: &mut Answer,
        taker: &mut dyn Taker,
    ) -> Result<(), Fault> {
        let mut pace = Pace::new(rate);
        let mut turn = 0;
        while !answer.is_done() {
            let most = pace.quantum().min(taker.wanted());
            let count = match &self.stream {
                Stream::Plain(stream) if answer.droppable() > 0 => {
                    drop_some(stream, &self.scratch, most, answer, taker).await?
                }
                _ => self.read(clamp(most, READ_BYTES), answer, taker).await?,
            };
            pace.took(count).await;
            if answer.is_shown() {
                turn += count;
                if turn >= TURN_BYTES {
                    turn = 0;
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes).await,
            Stream::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Reads once and has the answer take what came. Returns how many bytes that were.
    async fn read(&mut self, most: usize, answer: &mut Answer, taker: &mut dyn Taker) -> Result<u64, Fault> {
        let scratch = Rc::clone(&self.scratch);
        poll_fn(|context| {
            let mut buffer = scratch.read.borrow_mut();
            let most = most.min(buffer.len());
            let mut buffer = ReadBuf::new(buffer.get_mut(..most).unwrap_or_default());
            Poll::Ready(match ready!(self.poll_read(context, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => answer.end(false).map(|()| 0),
                Ok(()) => answer.push(buffer.filled(), taker).map(|()| buffer.filled().len() as u64),
                // TLS without its goodbye; a socket never says this.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => answer.end(true).map(|()| 0),
                Err(error) => Err(answer.broke(&error)),
            })
        })
        .await
    }

    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        }
    }
}

/// Has the kernel drop what came of a body.
///
/// TCP takes `MSG_TRUNC` as "forget the bytes" and copies nothing (tcp(7)); only these calls make a single thread fast enough
/// to be no limit to a server.
async fn drop_some(
    stream: &TcpStream,
    scratch: &Scratch,
    most: u64,
    answer: &mut Answer,
    taker: &mut dyn Taker,
) -> Result<u64, Fault> {
    let most = clamp(most.min(answer.droppable()), DROP_BYTES);
    let dropped = stream
        .async_io(Interest::READABLE, || {
            let mut untouched = scratch.untouched.borrow_mut();
            let most = most.min(untouched.len());
            let (_, count) = recv(stream, untouched.get_mut(..most).unwrap_or_default(), RecvFlags::TRUNC)?;
            Ok(count)
        })
        .await;
    match dropped {
        Ok(0) => answer.end(false).map(|()| 0),
        Ok(count) => {
            answer.dropped(count as u64, taker);
            Ok(count as u64)
        }
        Err(error) => Err(answer.broke(&error)),
    }
}

/// At least one byte, so that a read of nothing is not taken for an end.
fn clamp(most: u64, limit: usize) -> usize {
    usize::try_from(most).unwrap_or(usize::MAX).clamp(1, limit)
}

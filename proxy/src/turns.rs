//! Connections that take turns: one that could send for ever stops after a piece and lets the others go on.
//!
//! A client that reads as fast as it is written to never makes a write wait, so a body would be sent to its end before
//! its thread looks at anybody else. After a quantum a write waits once, for as long as the other tasks that are ready
//! take. hyper flushes after it was told to wait and tries once more, so what leaves in one turn is two to three quanta.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connections::Connection;
use crate::pace::{Pace, Watch};

/// A connection that takes turns with others.
pub(crate) struct Turns<I> {
    io: I,
    pace: Arc<Pace>,
    watch: Watch,
    quantum_bytes: usize,
    /// Bytes left of this turn.
    left: usize,
    /// Who is told what is about to be written, and when all was.
    meter: Arc<Connection>,
}

impl<I> Turns<I> {
    /// `io`, which has its turn now, and tells `pace` how its client keeps up. A write that begins in a turn may go beyond
    /// its end.
    pub(crate) fn new(io: I, quantum_bytes: usize, meter: Arc<Connection>, pace: Arc<Pace>) -> Self {
        Self { io, pace, watch: Watch::default(), quantum_bytes, left: quantum_bytes, meter }
    }
}

impl<I: AsyncWrite + Unpin> Turns<I> {
    fn poll_turn(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut I>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.left == 0 {
            self.left = self.quantum_bytes;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let written = write(Pin::new(&mut self.io), context);
        match &written {
            Poll::Ready(Ok(bytes)) => {
                self.left = self.left.saturating_sub(*bytes);
                self.watch.took(&self.pace, *bytes);
            }
            // Waiting for the client is a turn for the others too.
            Poll::Pending => {
                self.left = self.quantum_bytes;
                self.watch.waits();
            }
            Poll::Ready(Err(_)) => {}
        }
        written
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Turns<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.meter.writes(bytes);
        self.poll_turn(context, |io, context| io.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.meter.writes(slices.first().map_or(&[], |first| first));
        self.poll_turn(context, |io, context| io.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let flushed = Pin::new(&mut this.io).poll_flush(context);
        match &flushed {
            Poll::Pending => this.watch.waits(),
            Poll::Ready(Ok(())) => {
                this.watch.has_all(&this.pace);
                this.meter.flushed();
            }
            Poll::Ready(Err(_)) => {}
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Turns<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use tokio::io::AsyncWriteExt;

    use super::*;

    const QUANTUM: usize = 1 << 20;

    /// A client that takes all that it is given, and counts.
    #[derive(Default)]
    struct Greedy {
        taken: usize,
    }

    impl AsyncWrite for Greedy {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.taken += bytes.len();
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn meter() -> Arc<Connection> {
        let table = Arc::<crate::connections::Connections>::default();
        Arc::clone(&table.enter(([127, 0, 0, 1], 1).into()).connection)
    }

    #[test]
    fn a_client_that_takes_everything_lets_others_have_a_turn_after_each_quantum() {
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut turns = Turns::new(Greedy::default(), QUANTUM, meter(), Arc::default());
        let piece = vec![7; 64 << 10];
        for turn in 1..=3 {
            while Pin::new(&mut turns).poll_write(&mut context, &piece).is_ready() {
                assert!(turns.io.taken <= turn * QUANTUM, "it goes on without an end");
            }
            assert_eq!(turns.io.taken, turn * QUANTUM);
            assert_eq!(woken.0.load(Ordering::Relaxed), turn, "it asks to go on by itself");
        }
    }

    #[tokio::test]
    async fn what_takes_turns_arrives_whole() {
        let mut turns = Turns::new(Greedy::default(), QUANTUM, meter(), Arc::default());
        turns.write_all(&vec![7; 10 * QUANTUM + 1]).await.unwrap();
        assert_eq!(turns.io.taken, 10 * QUANTUM + 1);
    }
}

//! The tasks of an HTTP/2 connection.

use hyper::rt::Executor;

/// Runs each stream as a task that is charged to its own registry. What the connection itself does for all of them is the
/// node's own.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Streams;

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(dataproxy_cpu::charged(stream));
    }
}

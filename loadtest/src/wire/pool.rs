//! Connections that are kept for a next request.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Connection;
use crate::subject::Endpoint;

/// Idle connections by where they lead; the one used last is taken first, as Go does.
pub(crate) struct Pool {
    idle: RefCell<HashMap<Endpoint, Vec<Idle>>>,
    each: usize,
    idle_for: Duration,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// Keeps at most `each` connections to one endpoint, each for `idle_for`. None at all with 0.
    pub(crate) fn new(each: usize, idle_for: Duration) -> Self {
        Self { idle: RefCell::new(HashMap::new()), each, idle_for }
    }

    /// A connection that was kept, and that nothing has been heard of since; the peer may close it all the same.
    pub(crate) fn take(&self, endpoint: &Endpoint) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.get_mut(endpoint)?;
        while let Some(last) = kept.pop() {
            if last.since.elapsed() >= self.idle_for {
                // The rest is older.
                kept.clear();
            } else if last.connection.is_quiet() {
                return Some(last.connection);
            }
        }
        None
    }

    /// Keeps a connection, where there is room.
    pub(crate) fn put(&self, endpoint: &Endpoint, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if !idle.contains_key(endpoint) && self.each > 0 {
            idle.insert(endpoint.clone(), Vec::new());
        }
        if let Some(kept) = idle.get_mut(endpoint)
            && kept.len() < self.each
        {
            kept.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Closes what is idle.
    pub(crate) fn clear(&self) {
        self.idle.borrow_mut().clear();
    }

    /// Whether it keeps any.
    pub(crate) fn keeps(&self) -> bool {
        self.each > 0
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::wire::Scratch;

    async fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let here = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        let (there, _) = listener.accept().await.expect("accepted");
        (Connection::plain(here, Rc::new(Scratch::new())), there)
    }

    async fn until_loud(pool: &Pool, endpoint: &Endpoint) {
        let heard = async {
            while pool.idle.borrow()[endpoint].iter().any(|idle| idle.connection.is_quiet()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), heard).await.expect("heard");
    }

    #[tokio::test]
    async fn a_kept_connection_that_something_came_on_is_never_used_again() {
        let endpoint = Endpoint { tls: false, host: "h".to_owned(), port: 1 };
        let pool = Pool::new(2, Duration::from_secs(60));
        let (quiet, _there) = pair().await;
        pool.put(&endpoint, quiet);
        assert!(pool.take(&endpoint).is_some(), "it is as it was left");
        for words in [&b"HTTP/1.1 408 Request Timeout\r\n\r\n"[..], b""] {
            let (loud, mut there) = pair().await;
            pool.put(&endpoint, loud);
            there.write_all(words).await.expect("sent");
            if words.is_empty() {
                there.shutdown().await.expect("ended");
            }
            until_loud(&pool, &endpoint).await;
            assert!(pool.take(&endpoint).is_none(), "{}", words.escape_ascii());
        }
    }
}

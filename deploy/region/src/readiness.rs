//! Whether a node answers `/readyz` with 200.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Between two questions.
const INTERVAL: Duration = Duration::from_millis(50);
/// For one answer.
const PATIENCE: Duration = Duration::from_secs(1);
const ANSWER_BYTES: u64 = 4096;

/// Returns once the node at this admin address is ready.
pub(crate) async fn ready(admin: SocketAddr) {
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if answer(admin).await.is_ok_and(|answer| is_ok(&answer)) {
            return;
        }
    }
}

/// Returns once somebody listens at this address.
pub(crate) async fn listens(address: SocketAddr) {
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if timeout(PATIENCE, TcpStream::connect(address)).await.is_ok_and(|connected| connected.is_ok()) {
            return;
        }
    }
}

/// What the node says now, for a message.
pub(crate) async fn said(admin: SocketAddr) -> String {
    answer(admin).await.map_or_else(|error| error.to_string(), |answer| shown(&answer))
}

async fn answer(admin: SocketAddr) -> io::Result<String> {
    timeout(PATIENCE, ask(admin)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn ask(admin: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(admin).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn is_ok(answer: &str) -> bool {
    answer.split(' ').nth(1) == Some("200")
}

/// The status line and what follows the headers.
fn shown(answer: &str) -> String {
    let status = answer.lines().next().unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim();
    format!("{status} {body}").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Gives these answers, one for each connection.
    async fn node(answers: &'static [&'static str]) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let served = tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.expect("a request");
                assert!(request[..read].starts_with(b"GET /readyz HTTP/1.1\r\n"));
                stream.write_all(answer.as_bytes()).await.expect("sent");
            }
        });
        (address, served)
    }

    #[tokio::test]
    async fn a_node_is_ready_with_200_and_not_before() {
        let (address, served) = node(&[
            "HTTP/1.1 503 Service Unavailable\r\n\r\nno bindings yet",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "nonsense",
            "HTTP/1.1 200 OK\r\n\r\nready",
        ])
        .await;
        timeout(Duration::from_secs(30), ready(address)).await.expect("ready in time");
        served.await.expect("every answer was asked for");
    }

    #[tokio::test]
    async fn what_a_node_says_is_its_status_and_its_reason() {
        let (address, served) =
            node(&["HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nno bindings yet\n"]).await;
        assert_eq!(said(address).await, "HTTP/1.1 503 Service Unavailable no bindings yet");
        served.await.expect("asked");
        assert!(said(address).await.contains("refused"));
    }
}

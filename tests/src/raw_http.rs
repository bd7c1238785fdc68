//! HTTP/1.1 over a bare socket: sends what a well-behaved client never would, and believes nothing.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No answer of ours may take longer to begin or to go on.
const LIMIT: Duration = Duration::from_secs(30);
const HEAD_LIMIT_BYTES: usize = 64 << 10;

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// Names in lower case, and values, in order.
    pub headers: Vec<(String, String)>,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Its head.
    pub head: Head,
    /// The body, as far as it came.
    pub body: Vec<u8>,
}

impl Head {
    /// The value of a header, named in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// `Content-Length` in bytes, if there is one.
    pub fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    fn parse(text: &str) -> io::Result<Self> {
        let bad = || io::Error::other(format!("not an HTTP answer: {text:?}"));
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).ok_or_else(bad)?;
        let status = status.get(..3).and_then(|code| code.parse().ok()).ok_or_else(bad)?;
        let headers = lines
            .filter(|line| !line.is_empty())
            .map(|line| line.split_once(':').map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(bad)?;
        Ok(Self { status, headers })
    }
}

impl Answer {
    /// The value of a header, named in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The body as JSON.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The code of the first error of an OCI error body.
    pub fn error_code(&self) -> Option<String> {
        Some(self.json()?["errors"][0]["code"].as_str()?.to_owned())
    }
}

/// A connection on which an answer has begun.
#[derive(Debug)]
pub struct Exchange {
    /// The head of the answer.
    pub head: Head,
    socket: TcpStream,
    early: Vec<u8>,
}

impl Exchange {
    /// Connects, sends `request` as it is and reads the head of the answer.
    ///
    /// # Errors
    /// If there is none within 30 s, or it is not HTTP.
    pub async fn open(address: SocketAddr, request: &[u8]) -> io::Result<Self> {
        let work = async {
            let mut socket = TcpStream::connect(address).await?;
            socket.write_all(request).await?;
            let mut early = Vec::new();
            let end = loop {
                if let Some(at) = early.windows(4).position(|four| four == b"\r\n\r\n") {
                    break at;
                }
                if early.len() > HEAD_LIMIT_BYTES || socket.read_buf(&mut early).await? == 0 {
                    let text = String::from_utf8_lossy(&early).into_owned();
                    return Err(io::Error::other(format!("no head of an answer in {text:?}")));
                }
            };
            let head = Head::parse(&String::from_utf8_lossy(&early[..end]))?;
            early.drain(..end + 4);
            Ok(Self { head, socket, early })
        };
        timeout(LIMIT, work).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// The next bytes of the body; none at the connection's end.
    ///
    /// # Errors
    /// If the connection fails, or is silent for 30 s.
    pub async fn next(&mut self) -> io::Result<Vec<u8>> {
        if !self.early.is_empty() {
            return Ok(std::mem::take(&mut self.early));
        }
        let mut bytes = Vec::with_capacity(256 << 10);
        let read = timeout(LIMIT, self.socket.read_buf(&mut bytes)).await;
        read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(bytes)
    }

    /// Reads to the connection's end. The request has to have said `Connection: close`.
    ///
    /// # Errors
    /// As [`Exchange::next`].
    pub async fn finish(mut self) -> io::Result<Answer> {
        let mut body = Vec::new();
        loop {
            let bytes = self.next().await?;
            if bytes.is_empty() {
                return Ok(Answer { status: self.head.status, head: self.head, body });
            }
            body.extend_from_slice(&bytes);
        }
    }
}

/// The text of a request without a body. `headers` are whole lines, without their ends.
pub fn request(method: &str, target: &str, host: &str, headers: &[&str]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Sends a request and reads the whole answer.
///
/// # Errors
/// If the connection fails or something takes longer than 30 s.
pub async fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    host: &str,
    headers: &[&str],
) -> io::Result<Answer> {
    Exchange::open(address, &request(method, target, host, headers)).await?.finish().await
}

/// Gets a path, named by the address itself.
///
/// # Errors
/// As [`send`].
pub async fn get(address: SocketAddr, target: &str) -> io::Result<Answer> {
    send(address, "GET", target, &address.to_string(), &[]).await
}

//! A server that answers each request as a test tells it, faults included, and remembers what it was asked.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
    /// Its head, line by line, without the empty one.
    pub(crate) lines: Vec<String>,
    /// Its body.
    pub(crate) form: String,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    head: String,
    /// What follows the head, piece by piece; each is a write of its own.
    pieces: Vec<Vec<u8>>,
    then: Then,
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    GoOn,
    Fin,
    Rst,
    Stall,
}

impl Asked {
    /// `GET /path`.
    pub(crate) fn what(&self) -> &str {
        self.lines[0].strip_suffix(" HTTP/1.1").expect("a request line")
    }

    /// A field's value.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.lines[1..].iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// First and last byte of its range, where it is closed.
    pub(crate) fn range(&self) -> Option<(usize, usize)> {
        let (first, last) = self.field("Range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    }

    /// The first byte of its range.
    pub(crate) fn from(&self) -> Option<usize> {
        self.field("Range")?.strip_prefix("bytes=")?.split('-').next()?.parse().ok()
    }
}

impl Answer {
    /// A status with a body and its length.
    pub(crate) fn new(status: u16, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 {status} Because\r\nContent-Length: {}\r\n", body.len());
        Self { head, pieces: vec![body.to_vec()], then: Then::GoOn }
    }

    /// These bytes and nothing else, then FIN.
    pub(crate) fn raw(bytes: &[u8]) -> Self {
        Self { head: String::new(), pieces: vec![bytes.to_vec()], then: Then::Fin }
    }

    /// The whole of `body`, or what the request's range wants of it.
    pub(crate) fn file(asked: &Asked, body: &[u8]) -> Self {
        let Some(range) = asked.field("Range") else { return Self::new(200, body) };
        if asked.from() == Some(body.len()) {
            return Self::new(416, b"").with("Content-Range", &format!("bytes */{}", body.len()));
        }
        let (first, last) =
            range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).expect("a range");
        let first: usize = first.parse().expect("a first byte");
        let last = if last.is_empty() { body.len() - 1 } else { last.parse().expect("a last byte") };
        Self::new(206, &body[first..=last])
            .with("Content-Range", &format!("bytes {first}-{last}/{}", body.len()))
    }

    /// One more field.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    /// Another length than the body has.
    pub(crate) fn announcing(mut self, length: usize) -> Self {
        let end = self.head.find("Content-Length").expect("a length");
        self.head.truncate(end);
        self.with("Content-Length", &length.to_string())
    }

    /// The body in chunks, all of it, and FIN in place of the last chunk.
    pub(crate) fn chunked_without_end(self, sizes: &[usize]) -> Self {
        let mut chunked = self.chunked(sizes);
        let kept = chunked.pieces.len() - 2;
        chunked.pieces.truncate(kept);
        chunked.then = Then::Fin;
        chunked
    }

    /// The body in chunks of these sizes, over and over.
    pub(crate) fn chunked(mut self, sizes: &[usize]) -> Self {
        let body = self.pieces.concat();
        let end = self.head.find("Content-Length").expect("a length");
        self.head.truncate(end);
        self.pieces.clear();
        let mut rest = &body[..];
        for size in sizes.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min((*size).max(1)));
            self.pieces.push(format!("{:x}\r\n", now.len()).into_bytes());
            if now.is_empty() {
                break;
            }
            self.pieces.push(now.to_vec());
            self.pieces.push(b"\r\n".to_vec());
            rest = later;
        }
        self.pieces.push(b"\r\n".to_vec());
        self.with("Transfer-Encoding", "chunked")
    }

    /// The body until the connection ends, without a length.
    pub(crate) fn until_close(mut self) -> Self {
        let end = self.head.find("Content-Length").expect("a length");
        self.head.truncate(end);
        self.then = Then::Fin;
        self
    }

    /// The body written in pieces of these sizes, over and over.
    pub(crate) fn in_pieces(mut self, sizes: &[usize]) -> Self {
        let body = self.pieces.concat();
        let mut rest = &body[..];
        self.pieces.clear();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(rest.len().min((*size).max(1)));
            self.pieces.push(now.to_vec());
            rest = later;
        }
        self
    }

    /// Only so many bytes of the body, then FIN.
    pub(crate) fn cut_at(self, bytes: usize) -> Self {
        self.ending(bytes, Then::Fin)
    }

    /// Only so many bytes of the body, then RST.
    pub(crate) fn reset_at(self, bytes: usize) -> Self {
        self.ending(bytes, Then::Rst)
    }

    /// Only so many bytes of the body, then nothing for ever.
    pub(crate) fn stalled_at(self, bytes: usize) -> Self {
        self.ending(bytes, Then::Stall)
    }

    /// FIN after all of it.
    pub(crate) fn closing(mut self) -> Self {
        self.then = Then::Fin;
        self
    }

    fn ending(mut self, bytes: usize, then: Then) -> Self {
        let mut left = bytes;
        for piece in &mut self.pieces {
            piece.truncate(left);
            left -= piece.len();
        }
        self.then = then;
        self
    }
}

/// A server on a port of its own; it ends with its runtime.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    asked: Rc<RefCell<Vec<Asked>>>,
}

type Script = Rc<dyn Fn(&Asked, usize) -> Answer>;

impl Server {
    /// Answers each request by `script`, which is told the request and how many came before it.
    pub(crate) async fn start(script: impl Fn(&Asked, usize) -> Answer + 'static) -> Self {
        Self::start_with(None, script).await
    }

    /// As `start`, over TLS with a certificate made for `name`; returned as PEM.
    pub(crate) async fn start_tls(
        name: &str,
        script: impl Fn(&Asked, usize) -> Answer + 'static,
    ) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = rustls::ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a pair");
        let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
        (Self::start_with(Some(acceptor), script).await, made.cert.pem())
    }

    async fn start_with(
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Asked, usize) -> Answer + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Rc::new(RefCell::new(Vec::new()));
        let (script, seen): (Script, _) = (Rc::new(script), Rc::clone(&asked));
        tokio::task::spawn_local(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (script, seen, tls) = (Rc::clone(&script), Rc::clone(&seen), tls.clone());
                tokio::task::spawn_local(async move {
                    match tls {
                        None => serve(stream, connection, script, seen).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, connection, script, seen).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.borrow().clone()
    }

    /// `GET /path` of each request so far.
    pub(crate) fn whats(&self) -> Vec<String> {
        self.asked.borrow().iter().map(|asked| asked.what().to_owned()).collect()
    }

    /// The server's URL with this path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A stream that can be reset.
trait Stream: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Stream for tokio_rustls::server::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

async fn serve(mut stream: impl Stream, connection: usize, script: Script, seen: Rc<RefCell<Vec<Asked>>>) {
    let _ = stream.tcp().set_nodelay(true);
    let mut buffer = Vec::new();
    while let Some(asked) = request(&mut stream, &mut buffer, connection).await {
        let before = seen.borrow().len();
        seen.borrow_mut().push(asked.clone());
        let answer = script(&asked, before);
        let mut head = answer.head.into_bytes();
        if !head.is_empty() {
            head.extend_from_slice(b"\r\n");
        }
        let body = if asked.what().starts_with("HEAD") { Vec::new() } else { answer.pieces };
        for piece in std::iter::once(head).chain(body) {
            if stream.write_all(&piece).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
        match answer.then {
            Then::GoOn => {}
            Then::Stall => std::future::pending().await,
            Then::Fin => {
                let _ = stream.shutdown().await;
                // Reads on, so that unread bytes do not turn the FIN into a reset.
                while stream.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {}
                return;
            }
            Then::Rst => {
                rustix::net::sockopt::set_socket_linger(stream.tcp(), Some(Duration::ZERO)).expect("linger");
                return;
            }
        }
    }
}

async fn request(stream: &mut impl Stream, buffer: &mut Vec<u8>, connection: usize) -> Option<Asked> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).expect("text");
            let lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
            let length = lines
                .iter()
                .find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok())
                .unwrap_or(0);
            if buffer.len() >= end + 4 + length {
                let form = String::from_utf8(buffer[end + 4..end + 4 + length].to_vec()).expect("text");
                buffer.drain(..end + 4 + length);
                return Some(Asked { connection, lines, form });
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

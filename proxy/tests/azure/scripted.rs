//! A storage account that answers as it is told: one blob, or a scripted fault for the requests to come.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dataproxy_azure::{Account, Credential, Endpoint, SecretSource, Settings, Transports};
use dataproxy_cache::{ETag, ObjectName, Origin, OriginError, OriginErrorKind};
use futures_util::TryStreamExt;
use rustix::net::sockopt;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The one object of the account.
pub(crate) const OBJECT: &str = "contoso//docker/registry/v2/data";
/// A SAS with this signature is what the account is opened with.
pub(crate) const SIGNATURE: &str = "aGlkZGVuLXNpZ25hdHVyZQ%3D%3D";

/// What one request gets.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A head as given, such as `503 Server Busy\r\nx-ms-error-code: ServerBusy`, and a body.
    Whole(String, String),
    /// The blob's range, but only this many bytes of the body, then FIN.
    Truncated(usize),
    /// The same, then RST.
    Reset(usize),
    /// The same, then nothing more.
    Stalled(usize),
    /// A status and an explanation that goes on and on.
    Endless(String),
    /// No answer, and RST.
    ResetAtOnce,
    /// No answer at all.
    Mute,
}

/// An answer of storage that is no success.
pub(crate) fn refused(status: &str, code: &str) -> Answer {
    let date = azure_date(0);
    let head = format!("{status}\r\nx-ms-error-code: {code}\r\nx-ms-request-id: theirs-1\r\ndate: {date}");
    Answer::Whole(
        head,
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no.</Message></Error>"),
    )
}

/// The time as a `Date` header has it, off by so many seconds.
pub(crate) fn azure_date(off_seconds: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let time = now.as_secs().saturating_add_signed(off_seconds);
    let out = std::process::Command::new("date")
        .args(["-u", "-d", &format!("@{time}"), "+%a, %d %b %Y %H:%M:%S GMT"])
        .env("LC_ALL", "C")
        .output()
        .expect("date runs");
    String::from_utf8(out.stdout).expect("text").trim().to_owned()
}

/// The account, its blob and what it was asked.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    pub(crate) account: Account,
    pub(crate) sas_file: PathBuf,
    state: Arc<State>,
    serving: JoinHandle<()>,
    _dir: TempDir,
}

#[derive(Default)]
struct State {
    content: Mutex<Vec<u8>>,
    etag: Mutex<String>,
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<String>>,
    /// Bodies that were sent to their end or given up.
    closed: AtomicUsize,
    changed: Notify,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Scripted {
    pub(crate) async fn start(content: &[u8]) -> Self {
        Self::start_with(
            content,
            &format!("sv=2022-11-02&sp=rl&se=2999-01-01T00:00:00Z&sr=c&sig={SIGNATURE}"),
        )
        .await
    }

    pub(crate) async fn start_with(content: &[u8], sas: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        *state.content.lock().expect("unpoisoned") = content.to_vec();
        *state.etag.lock().expect("unpoisoned") = "\"0x8D1\"".to_owned();
        let serving = tokio::spawn(serve(listener, Arc::clone(&state)));
        let dir = TempDir::new().expect("a folder");
        let sas_file = dir.path().join("sas");
        std::fs::write(&sas_file, sas).expect("a file");
        let settings = Settings {
            endpoint: Endpoint::at_url(&format!("http://{address}/acct"), None).expect("an endpoint"),
            credential: Credential::Sas(SecretSource::File(sas_file.clone())),
            ca_file: None,
        };
        let account = Account::open(&settings, &mut Transports::default()).expect("an account");
        Self { address, account, sas_file, state, serving, _dir: dir }
    }

    /// What the requests to come get, one each; then the blob again.
    pub(crate) fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state.answers.lock().expect("unpoisoned").extend(answers);
    }

    pub(crate) fn put(&self, content: &[u8], etag: &str) {
        *self.state.content.lock().expect("unpoisoned") = content.to_vec();
        *self.state.etag.lock().expect("unpoisoned") = etag.to_owned();
    }

    /// The heads of the requests that came, and forgets them.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.state.asked.lock().expect("unpoisoned"))
    }

    /// Waits until so many connections have ended.
    pub(crate) async fn wait_closed(&self, count: usize) {
        loop {
            let changed = self.state.changed.notified();
            if self.state.closed.load(Ordering::SeqCst) >= count {
                return;
            }
            tokio::time::timeout(Duration::from_secs(10), changed).await.expect("the connection ends");
        }
    }

    /// Reads a range to its end.
    pub(crate) async fn read(&self, range: Range<u64>) -> Result<Vec<u8>, OriginError> {
        self.read_pinned(range, None).await
    }

    pub(crate) async fn read_pinned(
        &self,
        range: Range<u64>,
        pin: Option<&str>,
    ) -> Result<Vec<u8>, OriginError> {
        let pin = pin.map(ETag::new);
        let read = self.account.get(&ObjectName::new(OBJECT), range, pin.as_ref()).await?;
        let pieces: Vec<bytes::Bytes> = read.body.try_collect().await?;
        Ok(pieces.concat())
    }

    pub(crate) async fn kind(&self, range: Range<u64>) -> OriginErrorKind {
        self.read(range).await.expect_err("a failure").kind
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            // A connection that is cut is what the tests are about.
            let _ = serve_one(stream, &state).await;
            state.closed.fetch_add(1, Ordering::SeqCst);
            state.changed.notify_waiters();
        });
    }
}

async fn serve_one(mut stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    state.asked.lock().expect("unpoisoned").push(head.clone());
    let answer = state.answers.lock().expect("unpoisoned").pop_front();
    let (whole, cut) = match answer {
        Some(Answer::Mute) => return gone(&mut stream).await,
        Some(Answer::ResetAtOnce) => return reset(&stream),
        Some(Answer::Endless(status)) => {
            let text = format!("HTTP/1.1 {status}\r\ncontent-length: 1000000000000\r\n\r\n");
            stream.write_all(text.as_bytes()).await?;
            stream.write_all(&[b'x'; 100 << 10]).await?;
            return gone(&mut stream).await;
        }
        Some(Answer::Whole(head, body)) => {
            let length = body.len();
            let text =
                format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            (text.into_bytes(), None)
        }
        Some(cut @ (Answer::Truncated(_) | Answer::Reset(_) | Answer::Stalled(_))) => {
            (blob(state, &head), Some(cut))
        }
        None => (blob(state, &head), None),
    };
    let head_length = whole.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
    match cut {
        None => stream.write_all(&whole).await?,
        Some(Answer::Truncated(bytes)) => stream.write_all(&whole[..head_length + bytes]).await?,
        Some(Answer::Reset(bytes)) => {
            stream.write_all(&whole[..head_length + bytes]).await?;
            // RST overtakes what the far end has not read: let it read.
            tokio::time::sleep(Duration::from_millis(100)).await;
            return reset(&stream);
        }
        Some(Answer::Stalled(bytes)) => {
            stream.write_all(&whole[..head_length + bytes]).await?;
            return gone(&mut stream).await;
        }
        Some(_) => {}
    }
    stream.shutdown().await
}

/// Waits until the far end has given up.
async fn gone(stream: &mut TcpStream) -> std::io::Result<()> {
    while stream.read_u8().await.is_ok() {}
    Ok(())
}

fn reset(stream: &TcpStream) -> std::io::Result<()> {
    sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    Ok(())
}

/// The answer of a real account to a read of its blob.
fn blob(state: &State, head: &str) -> Vec<u8> {
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let (content, etag) =
        (state.content.lock().expect("unpoisoned").clone(), state.etag.lock().expect("unpoisoned").clone());
    let plain = |status: &str, code: &str| {
        format!(
            "HTTP/1.1 {status}\r\nx-ms-error-code: {code}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        .into_bytes()
    };
    if header("if-match").is_some_and(|pin| pin != etag) {
        return plain("412 Precondition Failed", "ConditionNotMet");
    }
    let (status, range, told) = match header("range") {
        None => ("200 OK", 0..content.len(), String::new()),
        Some(range) => {
            let (first, last) = range.trim_start_matches("bytes=").split_once('-').expect("a range");
            let first: usize = first.parse().expect("a number");
            let last: usize = last.parse().expect("a number");
            if first >= content.len() {
                return plain("416 Range Not Satisfiable", "InvalidRange");
            }
            let range = first..last.saturating_add(1).min(content.len());
            let told =
                format!("content-range: bytes {}-{}/{}\r\n", range.start, range.end - 1, content.len());
            ("206 Partial Content", range, told)
        }
    };
    let body = &content[range];
    let head = format!(
        "HTTP/1.1 {status}\r\n{told}etag: {etag}\r\ncontent-length: {}\r\nx-ms-request-id: theirs-1\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

//! A registry that does as its script says, on a real socket.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use dataproxy_cache::{Algorithm, Digest};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(super) const MANIFEST: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]}"#;
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub(super) type Reply = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

struct Object {
    bytes: Bytes,
    kind: &'static str,
    etag: Option<String>,
    digest: Option<String>,
}

type Matcher = Box<dyn Fn(&Seen) -> bool + Send>;
type Answerer = Box<dyn Fn(&Seen) -> Reply + Send>;

struct Rule {
    matches: Matcher,
    times: Option<u32>,
    answer: Answerer,
}

#[derive(Default)]
struct State {
    objects: HashMap<String, Object>,
    rules: Vec<Rule>,
    seen: Vec<Seen>,
    /// The challenge, and the values of `Authorization` that are good. `None`: everybody is let in.
    guard: Option<(String, Vec<String>)>,
    versions: u32,
    /// Whether it listens and says nothing.
    silent: bool,
}

pub(super) struct Scripted {
    pub(super) addr: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    let builder = Response::builder().status(status);
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()).expect("a response")
}

/// A body without a length, in pieces; it breaks off after the last one if `whole` is not set.
pub(super) fn streamed(status: u16, headers: &[(&str, &str)], pieces: Vec<Bytes>, whole: bool) -> Reply {
    let pieces = stream::iter(pieces.into_iter().map(|piece| Ok(Frame::data(piece))));
    let end = stream::once(async {
        // What is written is flushed while the body has nothing more to give.
        tokio::task::yield_now().await;
        Err(io::Error::other("scripted end"))
    });
    let body = if whole {
        StreamBody::new(pieces).boxed_unsync()
    } else {
        StreamBody::new(pieces.chain(end)).boxed_unsync()
    };
    let (mut parts, _) = reply(status, headers, "").into_parts();
    parts.headers.remove("content-length");
    Response::from_parts(parts, body)
}

pub(super) fn error(status: u16, code: &str) -> Reply {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"scripted"}}]}}"#);
    reply(status, &[("content-type", "application/json")], body)
}

impl Scripted {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let addr = listener.local_addr().expect("an address");
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let answer = service_fn(move |request: Request<Incoming>| {
                        let mut state = shared.lock().expect("whole");
                        let (answer, silent) = (respond(&mut state, &request), state.silent);
                        async move {
                            if silent {
                                std::future::pending::<()>().await;
                            }
                            Ok::<_, Infallible>(answer)
                        }
                    });
                    let served = hyper::server::conn::http1::Builder::new();
                    // A client that hangs up is no concern of the script.
                    let _ = served.serve_connection(TokioIo::new(socket), answer).await;
                });
            }
        });
        Self { addr, state, task }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("whole")
    }

    fn put(&self, path: String, object: Object) {
        self.state().objects.insert(path, object);
    }

    /// Stores an object under a path of its own, with a new version.
    pub(super) fn put_raw(&self, path: &str, bytes: Bytes) {
        let mut state = self.state();
        state.versions += 1;
        let etag = Some(format!("\"v{}\"", state.versions));
        let object = Object { bytes, kind: "application/octet-stream", etag, digest: None };
        state.objects.insert(path.to_owned(), object);
    }

    pub(super) fn remove(&self, path: &str) {
        self.state().objects.remove(path);
    }

    pub(super) fn push_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let object = Object {
            bytes: Bytes::copy_from_slice(bytes),
            kind: "application/octet-stream",
            etag: Some(format!("\"{digest}\"")),
            digest: Some(digest.to_string()),
        };
        self.put(format!("/v2/{repository}/blobs/{digest}"), object);
        digest
    }

    /// `tells_digest`: whether answers carry `Docker-Content-Digest`.
    pub(super) fn push_manifest(
        &self,
        repository: &str,
        tag: &str,
        bytes: &str,
        tells_digest: bool,
    ) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, bytes.as_bytes());
        for reference in [tag.to_owned(), digest.to_string()] {
            let object = Object {
                bytes: Bytes::copy_from_slice(bytes.as_bytes()),
                kind: OCI_MANIFEST,
                etag: None,
                digest: tells_digest.then(|| digest.to_string()),
            };
            self.put(format!("/v2/{repository}/manifests/{reference}"), object);
        }
        digest
    }

    /// Answers what matches, so many times or for ever, before anything else is looked at.
    pub(super) fn script(
        &self,
        matches: impl Fn(&Seen) -> bool + Send + 'static,
        times: Option<u32>,
        answer: impl Fn(&Seen) -> Reply + Send + 'static,
    ) {
        self.state().rules.push(Rule { matches: Box::new(matches), times, answer: Box::new(answer) });
    }

    /// Listens from now on, and says nothing.
    pub(super) fn fall_silent(&self) {
        self.state().silent = true;
    }

    /// Answers again.
    pub(super) fn speak(&self) {
        self.state().silent = false;
    }

    /// Lets in those alone who show one of these.
    pub(super) fn let_in(&self, challenge: &str, authorizations: &[&str]) {
        let good = authorizations.iter().map(|&value| value.to_owned()).collect();
        self.state().guard = Some((challenge.to_owned(), good));
    }

    /// The challenge of a token service at this registry's own `/token`.
    pub(super) fn bearer(&self) -> String {
        format!("Bearer realm=\"http://{}/token\",service=\"scripted\"", self.addr)
    }

    /// Gives these tokens, one after the other, each for so many seconds; then refuses.
    pub(super) fn give_tokens(&self, tokens: &[&str], expires_in: u32) {
        for token in tokens {
            let body = format!(r#"{{"token":"{token}","expires_in":{expires_in}}}"#);
            let answer = move |_: &Seen| reply(200, &[("content-type", "application/json")], body.clone());
            self.script(|seen| seen.target.starts_with("/token"), Some(1), answer);
        }
        self.script(|seen| seen.target.starts_with("/token"), None, |_| error(401, "UNAUTHORIZED"));
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// The requests with this method whose path and query hold this text.
    pub(super) fn asked(&self, method: &str, holds: &str) -> Vec<Seen> {
        let fits = |seen: &Seen| seen.method == method && seen.target.contains(holds);
        self.seen().into_iter().filter(fits).collect()
    }
}

fn respond(state: &mut State, request: &Request<Incoming>) -> Reply {
    let target = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let seen = Seen { method: request.method().clone(), target, headers: request.headers().clone() };
    state.seen.push(seen.clone());
    if let Some(at) = state.rules.iter().position(|rule| (rule.matches)(&seen)) {
        let rule = &mut state.rules[at];
        let answer = (rule.answer)(&seen);
        if let Some(times) = &mut rule.times {
            *times -= 1;
            if *times == 0 {
                state.rules.remove(at);
            }
        }
        return answer;
    }
    if let Some((challenge, good)) = &state.guard {
        let shown = seen.header("authorization").unwrap_or_default();
        if !good.iter().any(|good| good == shown) {
            let body = r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#;
            let headers = [("www-authenticate", challenge.as_str()), ("content-type", "application/json")];
            return reply(401, &headers, body);
        }
    }
    let path = seen.target.split('?').next().unwrap_or_default();
    match state.objects.get(path) {
        Some(object) => serve(object, &seen),
        None => error(404, if path.contains("/blobs/") { "BLOB_UNKNOWN" } else { "MANIFEST_UNKNOWN" }),
    }
}

/// As distribution serves: parts of blobs, manifests whole.
fn serve(object: &Object, seen: &Seen) -> Reply {
    let size = object.bytes.len();
    let mut headers = vec![("content-type", object.kind)];
    headers.extend(object.etag.as_deref().map(|etag| ("etag", etag)));
    headers.extend(object.digest.as_deref().map(|digest| ("docker-content-digest", digest)));
    if seen.header("if-match").is_some_and(|wanted| object.etag.as_deref() != Some(wanted)) {
        return error(412, "PRECONDITION");
    }
    let wanted = seen.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = wanted.filter(|_| object.kind != OCI_MANIFEST && size > 0) else {
        return head_or(seen, reply(200, &headers, object.bytes.clone()), size);
    };
    let first: usize = first.parse().expect("a first byte");
    let last = last.parse().unwrap_or(size - 1).min(size - 1);
    if first >= size {
        return reply(416, &[("content-range", &format!("bytes */{size}"))], "");
    }
    let range = format!("bytes {first}-{last}/{size}");
    headers.push(("content-range", &range));
    head_or(seen, reply(206, &headers, object.bytes.slice(first..=last)), size)
}

fn head_or(seen: &Seen, answer: Reply, size: usize) -> Reply {
    if seen.method != Method::HEAD {
        return answer;
    }
    let (mut parts, _) = answer.into_parts();
    parts.status = StatusCode::OK;
    parts.headers.insert("content-length", size.into());
    Response::from_parts(parts, Full::default().map_err(|never| match never {}).boxed_unsync())
}

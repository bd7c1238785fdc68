//! A router that says what a test has it say, on a real socket.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use dataproxy_router_api::{Change, NodeReport, Revision, Snapshot};
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::{RouterSettings, RouterUrl, Routers};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Script {
    /// What a stream begins with, unless it is asked for what comes after it.
    whole: Option<Snapshot>,
    streams: Vec<UnboundedSender<Bytes>>,
    /// The queries of the watches, as asked.
    watches: Vec<String>,
    reports: Vec<NodeReport>,
    authorizations: Vec<String>,
    /// What reports are answered with in place of being taken.
    refuses: Option<(StatusCode, String)>,
    again_ms: u64,
}

pub(crate) struct ScriptedRouter {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: Option<JoinHandle<()>>,
}

type Shared = State<Arc<Mutex<Script>>>;

fn event(name: &str, data: &str) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

async fn watch(State(script): Shared, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let mut script = script.lock().unwrap();
    let query = query.unwrap_or_default();
    script.watches.push(query.clone());
    script
        .authorizations
        .extend(headers.get("authorization").map(|token| token.to_str().unwrap().to_owned()));
    let (sender, receiver) = unbounded_channel();
    sender.send(":\n\n".into()).unwrap();
    if let Some(whole) = &script.whole
        && query != format!("after={}", whole.revision)
    {
        sender.send(event("snapshot", &serde_json::to_string(whole).unwrap())).unwrap();
    }
    script.streams.push(sender);
    let body = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (Ok::<_, std::io::Error>(piece), receiver))
    });
    ([("content-type", "text/event-stream")], Body::from_stream(body)).into_response()
}

async fn report(State(script): Shared, body: Bytes) -> Response {
    let mut script = script.lock().unwrap();
    script.reports.push(serde_json::from_slice(&body).unwrap());
    match &script.refuses {
        Some((status, words)) => (*status, words.clone()).into_response(),
        // With a field of a later version.
        None => {
            format!(r#"{{"revision": 1, "again_ms": {}, "later": [1]}}"#, script.again_ms).into_response()
        }
    }
}

impl ScriptedRouter {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let script = Arc::new(Mutex::new(Script { again_ms: 1000, ..Script::default() }));
        let mut router = Self { address: listener.local_addr().unwrap(), script, task: None };
        router.serve(listener);
        router
    }

    fn serve(&mut self, listener: TcpListener) {
        let routes = Router::new()
            .route("/v1/watch", get(watch))
            .route("/v1/nodes/{name}/report", post(report))
            .with_state(Arc::clone(&self.script));
        self.task = Some(tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() }));
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    pub(crate) fn url(&self) -> RouterUrl {
        RouterUrl::try_from(format!("http://{}", self.address)).unwrap()
    }

    /// The way to these routers.
    pub(crate) fn routers(all: &[&Self]) -> Arc<Routers> {
        let urls = all.iter().map(|router| router.url()).collect();
        Arc::new(Routers::open(RouterSettings { urls, ..RouterSettings::default() }).unwrap())
    }

    /// Streams begin with this from now on.
    pub(crate) fn has(&self, whole: &Snapshot) {
        self.script().whole = Some(whole.clone());
    }

    /// Says it on every stream that is open.
    pub(crate) fn says(&self, text: &str) {
        self.script().streams.retain(|stream| stream.send(Bytes::from(text.to_owned())).is_ok());
    }

    /// Says what leads to `after`, and has that from now on.
    pub(crate) fn changes(&self, after: &Snapshot) {
        let before = self.script().whole.clone().unwrap();
        self.has(after);
        let change = serde_json::to_value(Change::between(&before, after)).unwrap();
        self.says(&format!("event: change\ndata: {change}\n\n"));
    }

    /// Ends every stream.
    pub(crate) fn cuts(&self) {
        self.script().streams.clear();
    }

    pub(crate) fn refuses(&self, refusal: Option<(StatusCode, &str)>) {
        self.script().refuses = refusal.map(|(status, words)| (status, words.to_owned()));
    }

    pub(crate) fn wants_again_after(&self, again: Duration) {
        self.script().again_ms = again.as_millis() as u64;
    }

    pub(crate) fn watches(&self) -> Vec<String> {
        self.script().watches.clone()
    }

    pub(crate) fn reports(&self) -> Vec<NodeReport> {
        self.script().reports.clone()
    }

    pub(crate) fn authorizations(&self) -> Vec<String> {
        self.script().authorizations.clone()
    }

    /// Is gone: takes no connection, and those it had are broken.
    pub(crate) async fn stops(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
        self.cuts();
    }

    pub(crate) async fn starts_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serve(listener);
    }
}

impl Drop for ScriptedRouter {
    fn drop(&mut self) {
        self.task.iter().for_each(JoinHandle::abort);
    }
}

/// A region with `contoso` at home in stamp `home`, its epoch as old as the revision.
pub(crate) fn snapshot(revision: u64, home: &str) -> Snapshot {
    let json = serde_json::json!({
        "revision": revision, "region": "local",
        "stamps": [{"name": "a", "nodes": []}, {"name": "b", "nodes": []}],
        "bindings": [{
            "registry": "contoso", "home_stamp": home, "epoch": revision,
            "placement": {"account": "one", "container": "contoso"},
        }],
    });
    Snapshot { revision: Revision(revision), ..serde_json::from_value(json).unwrap() }
}

pub(crate) async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

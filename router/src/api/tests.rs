use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use dataproxy_router_api::{
    Change, History, Incarnation, Node, NodeReport, Reach, RegistryReport, Revision, Role as Duty,
    ServingState, Snapshot,
};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

mod openapi;
mod plans;
mod schema;
use crate::leader::{Candidate, Standing, Term};
use crate::reconcile::reconcile;
use crate::store::memory::MemoryStore;

fn clock() -> UnixMillis {
    // Tests pause tokio's clock, which moves on by itself; the wall's has to go with it.
    static BEGAN: std::sync::OnceLock<tokio::time::Instant> = std::sync::OnceLock::new();
    let began = BEGAN.get_or_init(tokio::time::Instant::now);
    UnixMillis(1_700_000_000_000 + u64::try_from(began.elapsed().as_millis()).unwrap())
}

/// A router that leads, without a socket.
struct Api {
    context: Context,
    token: Option<String>,
    /// The API's own.
    description: Value,
    _candidate: Candidate,
}

impl Api {
    async fn new(tokens: Tokens) -> Self {
        let store = Arc::new(crate::store::measured::Measured(MemoryStore::new()));
        let control = Control::open(store, "local".parse().unwrap()).await.unwrap();
        let following = Arc::clone(&control);
        tokio::spawn(async move { following.follow().await });
        let fleet = Arc::<Fleet>::default();
        let candidate = Candidate::stand(Arc::clone(control.store()), "one".into(), Term::default());
        let mut lead = candidate.standing();
        tokio::spawn(reconcile(
            Arc::clone(&control),
            Arc::clone(&fleet),
            Arc::new(crate::reconcile::Unmeasured),
            lead.clone(),
            clock,
        ));
        lead.wait_for(|standing| matches!(standing, Standing::Leading(_))).await.unwrap();
        let tokens = Arc::new(tokens);
        let zone = Zone::new(&crate::dns::ZoneSettings::new("registry.test")).unwrap();
        let minutes = Arc::new(crate::minutes::Minutes::in_memory().unwrap());
        let signals = Signals { minutes, terms: crate::signals::SignalTerms::default() };
        let guard = Arc::new(crate::reconcile::Unmeasured);
        let context = Context {
            control,
            fleet,
            signals,
            tokens,
            lead,
            guard,
            clock,
            store: "memory".into(),
            metrics: metrics::install().unwrap(),
            zone: Some(Arc::new(zone)),
        };
        let description = openapi::document(&context).await;
        Self { context, token: None, description, _candidate: candidate }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let described = method.clone();
        let mut request = Request::builder().method(method).uri(path).header("dataproxy-actor", "ada");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let response = router(self.context.clone()).oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let answer = (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null));
        // Whatever a test asks for: the answer is what the API's description says.
        openapi::is_described(&self.description, &described, path, &answer);
        answer
    }

    async fn done(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(method, path, Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.send(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    #[track_caller]
    fn refused(&self, answer: &(StatusCode, Value), status: StatusCode, rule: &str, words: &str) {
        assert_eq!((answer.0, answer.1["rule"].as_str()), (status, Some(rule)), "{}", answer.1);
        assert!(answer.1["error"].as_str().is_some_and(|error| error.contains(words)), "{}", answer.1);
    }

    async fn set_up(&self) {
        for (stamp, account) in [("a", "a1"), ("b", "b1")] {
            self.done(Method::PUT, &format!("/v1/stamps/{stamp}"), json!({"accounts": [account]})).await;
        }
        let spec = json!({"home_stamp": "a", "placement": {"account": "a1", "container": "contoso"}});
        self.done(Method::PUT, "/v1/registries/contoso?reason=new", spec).await;
    }

    /// Reports of a node of each stamp, as of the snapshot that is told now.
    async fn report(&self, sequence: u64, registries: impl Fn(&str) -> Vec<RegistryReport>) {
        for (stamp, number) in [("a", 1), ("b", 2)] {
            let report =
                report(stamp, number, sequence, self.context.control.state().revision(), registries(stamp));
            let path = format!("/v1/nodes/{}/report", report.node.name);
            self.done(Method::POST, &path, serde_json::to_value(report).unwrap()).await;
        }
    }

    /// Waits until `path` shows what `holds` asks for, with nodes that report meanwhile.
    async fn until(
        &self,
        sequence: &mut u64,
        registries: impl Fn(&str) -> Vec<RegistryReport>,
        path: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        for _ in 0..600 {
            *sequence += 1;
            self.report(*sequence, &registries).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            let shown = self.get(path).await;
            if holds(&shown) {
                return shown;
            }
        }
        panic!("{path} never came to show it: {}", self.get(path).await)
    }
}

fn report(
    stamp: &str,
    number: u8,
    sequence: u64,
    revision: Revision,
    registries: Vec<RegistryReport>,
) -> NodeReport {
    let at = |port: u16| std::net::SocketAddr::from(([127, 0, number, 1], port));
    NodeReport {
        region: "local".parse().unwrap(),
        stamp: stamp.parse().unwrap(),
        node: Node::new(format!("{stamp}-1").parse().unwrap(), at(5000), at(9100), Duty::All),
        incarnation: Incarnation(7),
        version: "0.1.0".into(),
        sequence,
        history: History::default(),
        revision,
        in_flight: 0,
        registries,
        time_ms: None,
        bins: Vec::new(),
    }
}

#[tokio::test]
async fn what_a_node_used_is_acknowledged_shown_and_attributed() {
    let api = Api::new(Tokens::default()).await;
    api.set_up().await;
    let number = clock().0 / 60_000 - 2;
    let bin = |sequence: u64, number: u64| {
        json!({"sequence": sequence, "number": number, "bin_seconds": 60, "busy_seconds": 30.0, "cores": 1.0,
            "observed_seconds": 60.0, "in_rotation_seconds": 60.0, "scope": "host",
            "registries": [{"registry": "contoso", "cpu_seconds": 24.0, "requests": 5, "hit_bytes": 0, "miss_bytes": 0, "flows": 1.0}]})
    };
    let mut told = serde_json::to_value(report("a", 1, 1, Revision(1), Vec::new())).unwrap();
    let (status, answer) = api.send(Method::POST, "/v1/nodes/a-1/report", Some(told.clone())).await;
    assert_eq!((status, &answer["bins"]), (StatusCode::OK, &json!(0)), "a node is told that bins are taken");
    told["bins"] = json!([bin(1, number - 1), bin(2, number), bin(3, number + 1_000_000)]);
    told["sequence"] = json!(2);
    for _ in 0..2 {
        let (status, answer) = api.send(Method::POST, "/v1/nodes/a-1/report", Some(told.clone())).await;
        assert_eq!((status, &answer["bins"]), (StatusCode::OK, &json!(3)));
    }
    let (_, signals) = api.send(Method::GET, "/v1/signals", None).await;
    let signal = &signals[0];
    assert_eq!(
        (&signal["stamp"], &signal["pool"], &signal["signal"]["p95_lo"]),
        (&json!("a"), &json!("all"), &json!(0.5))
    );
    assert!(signal["problem"].as_str().unwrap().contains("684 are needed"), "{signal}");
    assert!(signal["refused"].as_str().unwrap().contains("apart by a bin or more"), "{signal}");
    let (_, none) = api.send(Method::GET, "/v1/signals?pool=registry", None).await;
    assert_eq!(none, json!([]));
    let (_, series) = api.send(Method::GET, "/v1/signals/a/all", None).await;
    assert_eq!(series["series"].as_array().map(Vec::len), Some(720), "{series}");
    let (status, _) = api.send(Method::GET, "/v1/signals/a/dataproxy", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, of) = api.send(Method::GET, "/v1/registries/contoso/attribution", None).await;
    assert_eq!(
        (&of["pools"][0]["part"], &of["pools"][0]["used"]["cpu_seconds"]),
        (&json!(0.8), &json!(48.0))
    );
    let (status, _) = api.send(Method::GET, "/v1/registries/nobody/attribution", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

fn of_contoso(serving: ServingState, epoch: u64, in_flight: u64, quiet_ms: u64) -> Vec<RegistryReport> {
    vec![RegistryReport {
        registry: "contoso".parse().unwrap(),
        epoch: dataproxy_router_api::Epoch(epoch),
        serving,
        in_flight,
        oldest_seconds: 4,
        begun: 3,
        quiet_ms: Some(quiet_ms),
        reach: Some(Reach::Readable),
    }]
}

#[tokio::test(start_paused = true)]
async fn a_registry_is_moved_step_by_step_as_its_nodes_report() {
    let api = Api::new(Tokens::default()).await;
    api.set_up().await;
    let mut sequence = 0;
    let nothing = |_: &str| Vec::new();
    api.until(&mut sequence, nothing, "/v1/nodes", |nodes| {
        nodes.as_array().is_some_and(|all| all.len() == 2)
    })
    .await;

    let tried = api.done(Method::POST, "/v1/registries/contoso/move?dry_run=true", json!({"to": "b"})).await;
    assert!(tried["steps"][0].as_str().unwrap().contains("b-1 of stamp b take the binding"), "{tried}");
    assert!(tried["steps"][4].as_str().unwrap().contains("stay in account a1 of stamp a"), "{tried}");
    assert_eq!(api.get("/v1/migrations").await, json!([]));

    let terms = json!({"quiet_seconds": 2, "observe_seconds": 5});
    let begun = api
        .done(Method::POST, "/v1/registries/contoso/move?reason=hot", json!({"to": "b", "terms": terms}))
        .await;
    assert_eq!(begun["migration"], "contoso.1");
    let at = |state: &'static str| move |shown: &Value| shown["state"] == state;
    let path = "/v1/migrations/contoso.1";
    let shown = api.get(path).await;
    assert!(shown["next"].as_str().unwrap().contains("node b-1 works from revision"), "{shown}");
    let warming = |stamp: &str| match stamp {
        "b" => of_contoso(ServingState::Warming, 1, 0, 0),
        _ => Vec::new(),
    };
    api.until(&mut sequence, warming, path, at("draining")).await;
    let shown = api.get("/v1/registries/contoso").await;
    assert_eq!(
        (&shown["home_stamp"], &shown["epoch"], &shown["source"]),
        (&json!("b"), &json!(2), &json!("a"))
    );
    assert_eq!(shown["storage_of"], "a", "the bytes have not moved");

    let busy = |stamp: &str| match stamp {
        "a" => of_contoso(ServingState::Draining, 2, 2, 9_000),
        _ => Vec::new(),
    };
    let shown = api
        .until(&mut sequence, busy, path, |shown| {
            shown["next"].as_str().unwrap().contains("2 requests running")
        })
        .await;
    assert_eq!((&shown["state"], &shown["source"][0]["begun"]), (&json!("draining"), &json!(3)));
    let quiet = |stamp: &str| match stamp {
        "a" => of_contoso(ServingState::Draining, 2, 0, 2_000),
        _ => Vec::new(),
    };
    api.until(&mut sequence, quiet, path, at("observing")).await;
    let shown = api.until(&mut sequence, quiet, path, at("done")).await;
    assert!(
        shown["to_drained_ms"].as_u64().is_some() && shown["story"].as_array().unwrap().len() == 4,
        "{shown}"
    );
    let audit = api.get("/v1/audit").await;
    let done: Vec<&str> =
        audit["lines"].as_array().unwrap().iter().map(|line| line["done"].as_str().unwrap()).collect();
    assert!(done.contains(&"switched registry contoso to b, epoch 2"), "{done:?}");
    assert_eq!(audit["broken"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_works_from_another_history_acknowledges_nothing() {
    let api = Api::new(Tokens::default()).await;
    api.set_up().await;
    let tell = async |history: u64, sequence: u64| {
        let mut said = report("a", 1, sequence, Revision(1_000), Vec::new());
        said.history = History(history);
        api.done(Method::POST, "/v1/nodes/a-1/report", serde_json::to_value(said).unwrap()).await
    };
    let answer = tell(9, 1).await;
    assert_eq!(answer.get("history"), None, "the store was never restored");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(api.get("/v1/nodes/a-1").await["serves_revision"], 0);
    tell(0, 2).await;
    assert_eq!(api.get("/v1/nodes/a-1").await["serves_revision"], 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_stamp_is_restarted_node_by_node_as_its_nodes_report() {
    let api = Api::new(Tokens::default()).await;
    api.set_up().await;
    let tell = async |name: &str, process: u64, sequence: u64, state: dataproxy_router_api::NodeState| {
        let number = name.as_bytes()[2] - b'0';
        let mut said = report("a", number, sequence, api.context.control.state().revision(), Vec::new());
        (said.node.name, said.node.state) = (name.parse().unwrap(), state);
        said.incarnation = Incarnation(process);
        let path = format!("/v1/nodes/{name}/report");
        api.done(Method::POST, &path, serde_json::to_value(said).unwrap()).await;
    };
    use dataproxy_router_api::NodeState::{Draining, Ready};
    let mut sequence = 1;
    let names = ["a-1", "a-2"];
    for name in names {
        tell(name, 1, sequence, Ready).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let path = "/v1/stamps/a/restart";
    let tried = api.done(Method::POST, &format!("{path}?dry_run=true"), json!({"max_unavailable": 1})).await;
    assert!(tried["steps"][0].as_str().unwrap().starts_with("a-1: drains within 1800 s"), "{tried}");
    assert_eq!(api.send(Method::GET, path, None).await.0, StatusCode::NOT_FOUND);
    api.done(Method::POST, path, json!({"settle_seconds": 4})).await;
    let (mut processes, mut drained) = ([1, 1], Vec::new());
    for _ in 0..200 {
        sequence += 1;
        let mut out = 0;
        for (name, process) in names.iter().zip(&mut processes) {
            let known = api.get(&format!("/v1/nodes/{name}")).await;
            out += usize::from(known["in_rotation"] == false);
            // A node does as it is asked, and its supervisor starts it again.
            let asked = known["node"]["intent"]["do"] == "drain" && known["incarnation"] == *process;
            match (asked, &known["node"]["state"]) {
                (true, state) if *state == "draining" => {
                    drained.push(*name);
                    *process += 1;
                    tell(name, *process, sequence, Ready).await;
                }
                (true, _) => tell(name, *process, sequence, Draining).await,
                (false, _) => tell(name, *process, sequence, Ready).await,
            }
        }
        assert!(out <= 1, "{out} nodes are out");
        tokio::time::sleep(Duration::from_secs(1)).await;
        if api.get(path).await["state"] == "done" {
            break;
        }
    }
    let shown = api.get(path).await;
    assert_eq!((&shown["state"], drained), (&json!("done"), names.to_vec()), "{shown}");
    let again = api.send(Method::POST, &format!("{path}/resume"), None).await;
    api.refused(&again, StatusCode::CONFLICT, "restart-state", "begin another");
    let flown = api.send(Method::POST, &format!("{path}/fly"), None).await;
    api.refused(&flown, StatusCode::NOT_FOUND, "verb", "pause, resume, abort are");
}

#[tokio::test(start_paused = true)]
async fn a_stamp_whose_nodes_all_died_is_left_without_their_help() {
    let api = Api::new(Tokens::default()).await;
    api.set_up().await;
    let mut sequence = 0;
    api.until(&mut sequence, |_| Vec::new(), "/v1/nodes", |nodes| nodes.as_array().unwrap().len() == 2).await;
    // From now on stamp a is silent.
    let only_b = |revision, sequence| {
        let registries = of_contoso(ServingState::Warming, 1, 0, 0);
        report("b", 2, sequence, revision, registries)
    };
    let begun = api.done(Method::POST, "/v1/registries/contoso/move", json!({"to": "b"})).await;
    assert_eq!(begun["migration"], "contoso.1");
    for _ in 0..60 {
        sequence += 1;
        let report = only_b(api.context.control.state().revision(), sequence);
        api.done(Method::POST, "/v1/nodes/b-1/report", serde_json::to_value(report).unwrap()).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let shown = api.get("/v1/migrations/contoso.1").await;
    assert_eq!(shown["state"], "observing", "{shown}");
    let gone = api.get("/v1/nodes/a-1").await;
    assert_eq!((&gone["node"]["state"], &gone["in_rotation"]), (&json!("gone"), &json!(false)));
    let back = api.send(Method::POST, "/v1/migrations/contoso.1/rollback", None).await;
    api.refused(&back, StatusCode::CONFLICT, "source-ready", "no node that is ready");
}

#[tokio::test(start_paused = true)]
async fn a_router_that_hears_nobody_takes_no_node_for_gone() {
    let api = Api::new(Tokens::default()).await;
    api.set_up().await;
    let mut sequence = 0;
    api.until(&mut sequence, |_| Vec::new(), "/v1/nodes", |nodes| nodes.as_array().unwrap().len() == 2).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    for node in api.get("/v1/nodes").await.as_array().unwrap() {
        assert_eq!(node["in_rotation"], true, "{node}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_follows_is_told_the_whole_then_every_change_and_signs_of_life_between() {
    let api = Api::new(Tokens::default()).await;
    api.set_up().await;
    let request = Request::get("/v1/watch").body(Body::empty()).unwrap();
    let response = router(api.context.clone()).oneshot(request).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut events = response.into_body().into_data_stream();
    let first = String::from_utf8(events.next().await.unwrap().unwrap().to_vec()).unwrap();
    let data = first.split("data: ").nth(1).unwrap();
    let mut held: Snapshot = serde_json::from_str(data).unwrap();
    assert!(first.starts_with("event: snapshot\n"));
    assert_eq!(&events.next().await.unwrap().unwrap()[..], b":\n\n");
    let seen = held.revision;
    api.done(Method::PUT, "/v1/stamps/c", json!({})).await;
    api.done(Method::POST, "/v1/registries/contoso/purge", json!({"repository": "team/app"})).await;
    let mut changes = BTreeMap::new();
    while held.revision < api.context.control.state().revision() {
        let text = String::from_utf8(events.next().await.unwrap().unwrap().to_vec()).unwrap();
        let Some(data) = text.split("data: ").nth(1) else { continue };
        let change: Change = serde_json::from_str(data).unwrap();
        held = change.apply(&held).unwrap();
        changes.insert(change.revision, change);
    }
    assert_eq!(held, api.context.control.state().snapshot());
    assert_eq!(held.purges[0].repository.as_deref(), Some("team/app"));
    // Who was away for a moment is told what it missed and not the whole.
    let request = Request::get(format!("/v1/watch?after={seen}")).body(Body::empty()).unwrap();
    let response = router(api.context.clone()).oneshot(request).await.unwrap();
    let first = response.into_body().into_data_stream().next().await.unwrap().unwrap();
    assert!(first.starts_with(b"event: change\n"));
}

#[tokio::test]
async fn bad_input_gets_a_clear_error_and_changes_nothing() {
    let api = Api::new(Tokens::default()).await;
    api.set_up().await;
    let before = api.context.control.state().revision();
    let nobody = report("c", 3, 1, Revision(0), Vec::new());
    let wrong_name = report("a", 1, 1, Revision(0), Vec::new());
    for (method, path, body, status, rule, words) in [
        (Method::GET, "/v1/nothing", None, 404, "path", "there is nothing here"),
        (Method::DELETE, "/v1/stamps", None, 405, "method", "does not take the method"),
        (Method::PUT, "/v1/stamps/Bad_Name", Some(json!({})), 400, "path", "1 to 63 of a-z"),
        (Method::PUT, "/v1/stamps/c", Some(json!({"acounts": []})), 400, "body", "unknown field `acounts`"),
        (Method::PUT, "/v1/stamps/c", None, 400, "body", "Content-Type"),
        (Method::PUT, "/v1/stamps/c?dry=1", Some(json!({})), 400, "query", "unknown field `dry`"),
        (Method::GET, "/v1/registries/nobody", None, 404, "registry", "there is no registry nobody"),
        (
            Method::POST,
            "/v1/registries/contoso/move",
            Some(json!({"to": "z"})),
            404,
            "stamp",
            "there are: a, b",
        ),
        (
            Method::POST,
            "/v1/registries/contoso/move?if_epoch=9",
            Some(json!({"to": "b"})),
            409,
            "epoch",
            "look again",
        ),
        (Method::POST, "/v1/migrations/contoso.1/fly", None, 404, "verb", "pause, resume, abort"),
        (Method::POST, "/v1/migrations/contoso.1/pause", None, 404, "migration", "there is no migration"),
        (
            Method::PUT,
            "/v1/nodes/a-9/intent",
            Some(json!({"do": "cordon"})),
            404,
            "node",
            "there is no node a-9",
        ),
        (
            Method::PUT,
            "/v1/nodes/a-9/intent",
            Some(json!({"do": "dance"})),
            400,
            "body",
            "unknown variant `dance`",
        ),
        (
            Method::POST,
            "/v1/nodes/c-1/report",
            Some(serde_json::to_value(nobody).unwrap()),
            409,
            "stamp",
            "stamp c",
        ),
        (
            Method::POST,
            "/v1/nodes/x/report",
            Some(serde_json::to_value(wrong_name).unwrap()),
            400,
            "name",
            "under the name x",
        ),
        (Method::GET, "/v1/watch?after=-1", None, 400, "query", "invalid"),
    ] {
        let answer = api.send(method, path, body).await;
        api.refused(&answer, StatusCode::from_u16(status).unwrap(), rule, words);
    }
    assert_eq!(api.context.control.state().revision(), before);
}

#[tokio::test]
async fn a_router_without_tokens_takes_nothing_from_pages_of_elsewhere() {
    let api = Api::new(Tokens::default()).await;
    for (host, origin, allowed) in [
        ("127.0.0.1:7000", None, true),
        ("localhost:7000", Some("http://localhost:7000"), true),
        ("[::1]:7000", Some("http://[::1]:7000"), true),
        ("rebound.example:7000", None, false),
        ("127.0.0.1:7000", Some("https://elsewhere.example"), false),
        ("127.0.0.1:7000", Some("null"), false),
    ] {
        let mut request = Request::get("/v1/stamps").header(header::HOST, host);
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        let request = request.body(Body::empty()).unwrap();
        let status = router(api.context.clone()).oneshot(request).await.unwrap().status();
        assert_eq!(status == StatusCode::OK, allowed, "{host} {origin:?}: {status}");
    }
}

#[tokio::test]
async fn each_role_reaches_what_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut tokens = Tokens::default();
    let token = |role: &str| format!("{role}-0123456789abcdef");
    for role in [Role::Node, Role::Viewer, Role::Operator, Role::Admin] {
        let path = folder.path().join(role.as_str());
        std::fs::write(&path, token(role.as_str())).unwrap();
        tokens.add(role.as_str(), role, path).unwrap();
    }
    let mut api = Api::new(tokens).await;
    let nobody = api.send(Method::GET, "/v1/stamps", None).await;
    api.refused(&nobody, StatusCode::UNAUTHORIZED, "token", "a token is needed");
    api.token = Some("not-a-token-of-this-router".into());
    let nobody = api.send(Method::GET, "/v1/stamps", None).await;
    api.refused(&nobody, StatusCode::UNAUTHORIZED, "token", "not one of this router's");
    for (role, allowed) in [
        ("node", [false, false, false, true]),
        ("viewer", [true, false, false, true]),
        ("operator", [true, true, false, true]),
        ("admin", [true, true, true, true]),
    ] {
        api.token = Some(token(role));
        let seen = api.send(Method::GET, "/v1/stamps", None).await.0;
        let steered = api.send(Method::POST, "/v1/migrations/x.1/pause", None).await.0;
        let exported = api.send(Method::GET, "/v1/export", None).await.0;
        let followed = api.send(Method::GET, "/v1/snapshot", None).await.0;
        let let_in = [seen, steered, exported, followed].map(|status| status != StatusCode::FORBIDDEN);
        assert_eq!(let_in, allowed, "{role}");
    }
    // The token says who it was, whatever a header says.
    api.done(Method::PUT, "/v1/stamps/a?reason=room", json!({})).await;
    let audit = api.get("/v1/audit").await;
    assert_eq!(
        (&audit["lines"][0]["actor"], &audit["lines"][0]["reason"]),
        (&json!("admin"), &json!("room"))
    );
}

#[tokio::test]
async fn a_nodes_token_reports_for_its_own_stamp_and_name_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut tokens = Tokens::default();
    let only = |stamp: Option<&str>, node: Option<&str>| Only {
        stamp: stamp.map(|name| name.parse().unwrap()),
        node: node.map(|name| name.parse().unwrap()),
    };
    for (name, role, only) in [
        ("admin", Role::Admin, Only::default()),
        ("any", Role::Node, Only::default()),
        ("of-a", Role::Node, only(Some("a"), None)),
        ("of-a-1", Role::Node, only(Some("a"), Some("a-1"))),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{name}-0123456789abcdef")).unwrap();
        tokens.add_for(name, role, only, path).unwrap();
    }
    let mut api = Api::new(tokens).await;
    api.token = Some("admin-0123456789abcdef".into());
    api.set_up().await;
    let tell = async |api: &Api, node: &str, stamp: &str, port: u8| {
        let mut said = report(stamp, port, 1, Revision(0), Vec::new());
        said.node.name = node.parse().unwrap();
        let path = format!("/v1/nodes/{node}/report");
        api.send(Method::POST, &path, Some(serde_json::to_value(said).unwrap())).await
    };
    api.token = Some("any-0123456789abcdef".into());
    assert_eq!(tell(&api, "b-1", "b", 2).await.0, StatusCode::OK);
    assert!(
        api.context
            .control
            .wait_for(tokio::time::Instant::now() + Duration::from_secs(10), |state| state.nodes().count()
                == 1)
            .await
    );
    for (token, node, stamp, words) in [
        ("of-a", "a-1", "a", None),
        ("of-a", "a-2", "a", None),
        ("of-a", "b-9", "b", Some("is for nodes of stamp a, and the report is of stamp b")),
        ("of-a", "b-1", "a", Some("is for nodes of stamp a, and node b-1 is of stamp b")),
        ("of-a-1", "a-1", "a", None),
        ("of-a-1", "a-2", "a", Some("is for node a-1, and the report is of node a-2")),
    ] {
        api.token = Some(format!("{token}-0123456789abcdef"));
        let port = 3 + node.as_bytes()[2] - b'0';
        let answer = tell(&api, node, stamp, port).await;
        match words {
            None => assert_eq!(answer.0, StatusCode::OK, "{token} {node}: {}", answer.1),
            Some(words) => api.refused(&answer, StatusCode::FORBIDDEN, "token-node", words),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_metric_of_the_documentation_is_shown_after_a_move_and_counts_what_was_asked() {
    let api = Api::new(Tokens::default()).await;
    api.set_up().await;
    let mut sequence = 0;
    api.until(&mut sequence, |_| Vec::new(), "/v1/nodes", |nodes| nodes.as_array().unwrap().len() == 2).await;
    api.done(Method::POST, "/v1/registries/contoso/move", json!({"to": "b"})).await;
    api.send(Method::GET, "/nothing", None).await;
    let watched = Request::get("/v1/watch").body(Body::empty()).unwrap();
    let mut events =
        router(api.context.clone()).oneshot(watched).await.unwrap().into_body().into_data_stream();
    events.next().await.unwrap().unwrap();
    crate::metrics::DnsCounters::get()
        .count(b"\0\0\0\0\0\x01\0\0\0\0\0\0\x01a\0\0\x1c\0\x01", &[0, 0, 0x80, 3]);
    let scraped = async || {
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let response = router(api.context.clone()).oneshot(request).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; version=0.0.4");
        let text = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(text.to_vec()).unwrap()
    };
    let text = scraped().await;
    for metric in crate::metrics::METRICS {
        assert!(text.contains(&format!("# TYPE {} ", metric.name)), "no {} in\n{text}", metric.name);
    }
    for line in [
        "router_leads 1",
        "router_nodes{state=\"ready\"} 2",
        "router_bindings{phase=\"preparing\"} 1",
        "router_migrations{state=\"preparing\"} 1",
        "router_watchers 1",
        "router_told_total{event=\"snapshot\"} 1",
        "router_api_requests_total{route=\"none\",method=\"GET\",status=\"404\"} 1",
        "router_api_requests_total{route=\"/v1/registries/{name}/move\",method=\"POST\",status=\"200\"} 1",
        "router_dns_queries_total{type=\"AAAA\",rcode=\"NXDOMAIN\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }
    drop(events);
    assert!(scraped().await.lines().any(|line| line == "router_watchers 0"));
}

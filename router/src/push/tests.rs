use std::sync::Mutex;

use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use dataproxy_router_api::{Incarnation, Node, NodeReport, Role};

use super::*;
use crate::command::RegistrySpec;
use crate::dns::ZoneSettings;
use crate::leader::{Candidate, Term};
use crate::store::memory::MemoryStore;

/// A provider that fails as it is told to, and keeps what it was asked for.
#[derive(Default)]
struct Provider {
    fails: usize,
    asked: Vec<(StatusCode, Changes, u64)>,
    /// Names and addresses, as the changes that it took left them.
    names: std::collections::BTreeMap<(String, String), Vec<String>>,
}

type Script = Arc<Mutex<Provider>>;

async fn records(Shared(script): Shared<Script>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(headers["content-type"], MEDIA);
    let changes: Changes = serde_json::from_slice(&body).unwrap();
    let fence = headers["dataproxy-fence"].to_str().unwrap().parse().unwrap();
    let mut script = script.lock().unwrap();
    let status = if script.fails > 0 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::NO_CONTENT };
    script.fails = script.fails.saturating_sub(1);
    if status.is_success() {
        for gone in &changes.delete {
            script.names.remove(&(gone.dns_name.clone(), gone.record_type.clone()));
        }
        for is in changes.create.iter().chain(&changes.update_new) {
            script.names.insert((is.dns_name.clone(), is.record_type.clone()), is.targets.clone());
        }
    }
    script.asked.push((status, changes, fence));
    status
}

async fn provider() -> (Script, String) {
    let (script, listener) = (Script::default(), tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let routes =
        axum::Router::new().route("/records", axum::routing::post(records)).with_state(Arc::clone(&script));
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (script, url)
}

fn clock() -> UnixMillis {
    UnixMillis(1_700_000_000_000)
}

struct Router {
    control: Arc<Control>,
    candidate: Candidate,
    tasks: tokio::task::JoinSet<()>,
}

/// A router over `store` that sends to `url`.
async fn router(store: Arc<MemoryStore>, name: &str, url: &str) -> Router {
    let control = Control::open(store.clone(), "local".parse().unwrap()).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    let following = Arc::clone(&control);
    tasks.spawn(async move { following.follow().await });
    let candidate = Candidate::stand(store, name.into(), Term::default());
    let zone = Zone::new(&ZoneSettings::new("registry.test")).unwrap();
    let webhook = Webhook { url: url.to_owned(), token_file: None, ca_file: None };
    tasks.spawn(push(Arc::clone(&control), zone, webhook, candidate.standing(), clock).unwrap());
    Router { control, candidate, tasks }
}

async fn done(control: &Control, command: Command) {
    let occasion = Occasion { actor: "ada".into(), reason: String::new(), now: clock() };
    control.execute(&command, &occasion, None).await.unwrap();
}

async fn set_up(control: &Control) {
    for (stamp, number) in [("a", 1), ("b", 2)] {
        done(control, Command::PutStamp { name: stamp.parse().unwrap(), accounts: None, state: None }).await;
        let at = |port: u16| std::net::SocketAddr::from(([127, 0, number, 1], port));
        let node = Node::new(format!("{stamp}1").parse().unwrap(), at(5000), at(9100), Role::All);
        let report = NodeReport {
            region: "local".parse().unwrap(),
            stamp: stamp.parse().unwrap(),
            node,
            incarnation: Incarnation(1),
            version: "0.1.0".into(),
            sequence: 1,
            history: dataproxy_router_api::History::default(),
            revision: dataproxy_router_api::Revision(0),
            in_flight: 0,
            registries: Vec::new(),
            time_ms: None,
            bins: Vec::new(),
        };
        done(control, Command::Reported(Box::new(report))).await;
    }
    let spec = serde_json::json!({"home_stamp": "a", "placement": {"account": "a1", "container": "contoso"}});
    let spec: RegistrySpec = serde_json::from_value(spec).unwrap();
    done(control, Command::PutRegistry { registry: "contoso".parse().unwrap(), spec, if_epoch: None }).await;
}

async fn moved(control: &Control) {
    use crate::command::Verb;
    use crate::migration::Progress;
    let registry = "contoso".parse().unwrap();
    done(
        control,
        Command::Move {
            registry,
            to: "b".parse().unwrap(),
            if_epoch: None,
            terms: crate::migration::Terms::default(),
        },
    )
    .await;
    done(control, Command::Steer { id: "contoso.1".into(), verb: Verb::Step(Progress::Switch) }).await;
}

async fn has(script: &Script, address: &str) {
    let name = ("contoso.registry.test".to_owned(), "A".to_owned());
    for _ in 0..2_000 {
        if script.lock().unwrap().names.get(&name).is_some_and(|found| found == &[address]) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{address} never came: {:?}", script.lock().unwrap().asked);
}

#[tokio::test]
async fn a_webhook_is_told_again_until_it_has_it_and_only_of_what_has_changed() {
    let (script, url) = provider().await;
    script.lock().unwrap().fails = 2;
    let one = router(MemoryStore::new(), "one", &url).await;
    set_up(&one.control).await;
    has(&script, "127.0.1.1").await;
    let asked: Vec<_> = script.lock().unwrap().asked.drain(..).collect();
    assert!(asked.len() >= 3 && asked[..2].iter().all(|(status, ..)| status.is_server_error()), "{asked:?}");
    assert_eq!(asked[0].1, asked[2].1, "the same again");
    moved(&one.control).await;
    has(&script, "127.0.2.1").await;
    let asked: Vec<_> = script.lock().unwrap().asked.drain(..).collect();
    let [(_, changes, _)] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((changes.create.len(), changes.update_old.len(), changes.update_new.len()), (0, 3, 3));
    assert_eq!(changes.update_new[0].labels["dataproxy/epoch"], "2");
    assert!(
        one.control
            .wait_for(tokio::time::Instant::now() + LIMIT, |state| state.sent().all(|sent| sent.is_sent))
            .await
    );
}

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn what_one_leader_was_about_to_send_the_next_one_sends_and_nothing_older_after_it() {
    let (script, url) = provider().await;
    let store = MemoryStore::new();
    let mut one = router(Arc::clone(&store), "one", &url).await;
    set_up(&one.control).await;
    has(&script, "127.0.1.1").await;
    script.lock().unwrap().fails = usize::MAX;
    moved(&one.control).await;
    let waits = |state: &State| state.sent().any(|sent| !sent.is_sent && sent.epoch.0 == 2);
    assert!(one.control.wait_for(tokio::time::Instant::now() + LIMIT, waits).await, "it is in the outbox");
    let old = one.control.state().sent().next().unwrap().clone();
    one.tasks.shutdown().await;
    one.candidate.resign().await;
    script.lock().unwrap().fails = 0;
    let before = script.lock().unwrap().asked.last().unwrap().2;
    let two = router(Arc::clone(&store), "two", &url).await;
    has(&script, "127.0.2.1").await;
    assert!(script.lock().unwrap().asked.last().unwrap().2 > before, "a later fence");
    // What would go back is not even written.
    let stale = SentRecord { epoch: dataproxy_router_api::Epoch(1), ..old };
    let occasion = Occasion { actor: "router".into(), reason: String::new(), now: clock() };
    let refused = two.control.execute(&Command::Names { records: vec![stale] }, &occasion, None).await;
    assert!(refused.unwrap_err().to_string().contains("were sent for epoch 2; those of epoch 1 are older"));
    // A registry that is no more takes its names with it.
    let removed = Command::Steer {
        id: "contoso.1".into(),
        verb: crate::command::Verb::Step(crate::migration::Progress::Drained { left: None }),
    };
    done(&two.control, removed).await;
    done(&two.control, Command::Steer { id: "contoso.1".into(), verb: crate::command::Verb::Finish }).await;
    done(&two.control, Command::RemoveRegistry { registry: "contoso".parse().unwrap(), if_epoch: None })
        .await;
    let gone = |state: &State| state.sent().next().is_none();
    assert!(two.control.wait_for(tokio::time::Instant::now() + LIMIT, gone).await);
    assert!(script.lock().unwrap().names.is_empty());
}

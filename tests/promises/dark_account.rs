//! Two storage accounts behind one node: what becomes of one does not reach the registries of the other.
//! `DATAPROXY_SEED` repeats a storm.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dataproxy::accept::{Acceptor, Speaks, bind};
use dataproxy::bindings::{Bindings, Table};
use dataproxy::config::Forwarding;
use dataproxy::connection::Bounds;
use dataproxy::content::Freshness;
use dataproxy::identify::Tenancy;
use dataproxy::late::Late;
use dataproxy::layout::{Laid, Layout};
use dataproxy::lifecycle::Lifecycle;
use dataproxy::pull::{Puller, PullerParts};
use dataproxy::redirect::Redirects;
use dataproxy::resolve::Stores;
use dataproxy::store::Store;
use dataproxy::store::guard::{AccountBounds, AccountState, Guard};
use dataproxy::store::memory::MemoryStore;
use dataproxy_cache::fakes::Fault;
use dataproxy_cache::{Cache, CacheConfig, Digest, OriginErrorKind};
use dataproxy_tests::download::Download;
use dataproxy_tests::eventually::eventually;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(40);
/// Clients that ask for blobs of the account in trouble.
const CLIENTS: usize = 40;
/// Blobs of the other account.
const BLOBS: u32 = 30;

/// A node with registry `contoso` in account `one` and `fabrikam` in account `two`.
struct Node {
    one: Arc<MemoryStore>,
    two: Arc<MemoryStore>,
    guard: Arc<Guard>,
    address: SocketAddr,
}

impl Node {
    async fn start() -> Self {
        Self::start_with(CacheConfig::default()).await
    }

    async fn start_with(cache: CacheConfig) -> Self {
        let accounts = ["one", "two"].map(|name| {
            let store = MemoryStore::new();
            let account = Arc::clone(&store) as Arc<dyn Store>;
            (Guard::new(name.parse().expect("a name"), account, AccountBounds::default()), store)
        });
        let binding = |registry: &str, account: &str| {
            json!({
                "registry": registry, "home_stamp": "a", "epoch": 1, "pull": "anonymous",
                "placement": { "account": account, "container": registry },
            })
        };
        let snapshot = json!({
            "revision": 1, "region": "local",
            "stamps": [{ "name": "a", "nodes": [], "accounts": ["one", "two"] }],
            "bindings": [binding("contoso", "one"), binding("fabrikam", "two")],
        });
        let table = Table::new(serde_json::from_value(snapshot).expect("a snapshot"));
        let bindings = Arc::new(Bindings::new(table));
        let late = Late::new(Arc::clone(&bindings), Forwarding::default(), Duration::ZERO);
        let stores = accounts
            .iter()
            .map(|(guard, _)| (guard.name().clone(), Laid::over(Arc::clone(guard) as Arc<dyn Store>) as _));
        let puller = Arc::new(Puller::new(PullerParts {
            bindings,
            cache: Cache::open(cache).await.expect("a cache"),
            stores: stores.collect::<Stores>(),
            tenancy: Tenancy {
                zone: "registry.test".parse().expect("a zone"),
                path_tenancy: true,
                default_registry: None,
            },
            stamp: Some("a".parse().expect("a name")),
            node: "a1".parse().expect("a name"),
            freshness: Freshness::default(),
            redirects: Redirects::default(),
            stamp_cache: None,
            ahead: None,
            late,
            observer: None,
        }));
        let (first_byte_timeout, idle_timeout) = (LIMIT, LIMIT);
        let bounds = Bounds {
            header_bytes: 16 << 10,
            header_count: 64,
            first_byte_timeout,
            idle_timeout,
            write_quantum_bytes: 1 << 20,
            sendfile: true,
            tls_buffer_bytes: 256 << 10,
        };
        let handler = move |request| Arc::clone(&puller).serve(request);
        let acceptor = Acceptor::new(handler, bounds, 1000, false, Lifecycle::default(), Arc::default());
        let listener = bind("127.0.0.1:0".parse().expect("an address"), "test").expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(acceptor.accept(listener, Speaks::Plain));
        let [(guard, one), (_, two)] = accounts;
        Self { one, two, guard, address }
    }

    /// Pulls blobs of account `two` one after the other, each cold; the median time of one.
    async fn pull_of_two(&self, from: u32) -> Duration {
        let mut times = Vec::new();
        for number in from..from + BLOBS {
            let digest = push(&self.two, "fabrikam", number);
            let started = Instant::now();
            let target = format!("/v2/fabrikam/app/blobs/{digest}");
            let download = Download::open(self.address, &target, &[]).await.expect("headers");
            assert_eq!(download.head().status, 200, "{target}");
            assert_eq!(download.finish().await.expect("a whole body").digest, digest.to_string());
            times.push(started.elapsed());
        }
        times.sort_unstable();
        times[times.len() / 2]
    }
}

fn push(store: &MemoryStore, container: &str, number: u32) -> Digest {
    let content = number.to_le_bytes().repeat(50_000);
    store.push_blob(Layout::new(container), &"app".parse().expect("a repository"), &content)
}

/// Clients that pull blob after blob of account `one` until they are told to stop, and what they got.
struct Herd {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Herd {
    fn start(node: &Node) -> Self {
        let (stop, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let client = |client: usize| {
            let (stop, answers, address) = (Arc::clone(&stop), Arc::clone(&answers), node.address);
            tokio::spawn(async move {
                for number in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let digest = Digest::of(
                        dataproxy_cache::Algorithm::Sha256,
                        format!("{client} {number}").as_bytes(),
                    );
                    let target = format!("/v2/contoso/app/blobs/{digest}");
                    let answer = Download::open(address, &target, &[]).await.expect("an answer");
                    let status = answer.head().status;
                    // Once it is told to stop, the account may be well again, and the blob really absent.
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    assert!([503, 504].contains(&status), "an outage that looks like {status}");
                    answers.fetch_add(1, Ordering::SeqCst);
                    // As a client that is told to come back.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { stop, answers, clients }
    }

    fn answers(&self) -> usize {
        self.answers.load(Ordering::SeqCst)
    }

    /// Ends it, and heals the account so that nobody waits any more.
    async fn end(self, account: &MemoryStore) {
        self.stop.store(true, Ordering::SeqCst);
        account.origin().heal();
        for client in self.clients {
            client.await.expect("every client got answers");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_is_silent_slows_no_pull_of_another_and_is_hardly_asked() {
    let work = async {
        let node = Node::start().await;
        let alone = node.pull_of_two(0).await;
        node.one.origin().always(Fault::Mute);
        let (herd, silent) = (Herd::start(&node), Instant::now());
        node.one.origin().requested(CLIENTS).await;
        let beside = node.pull_of_two(1000).await;
        assert_eq!(
            herd.answers(),
            0,
            "all of these pulls ended before the first that waits for the other account"
        );
        eventually("the account is dark", LIMIT, async || match node.guard.state() {
            AccountState::Dark => Ok(()),
            state => Err(format!("{state:?}")),
        })
        .await;
        let answers = herd.answers();
        let beside_dark = node.pull_of_two(2000).await;
        eventually("a dark account fails at once", LIMIT, async || {
            let more = herd.answers() - answers;
            if more > 10 * CLIENTS { Ok(()) } else { Err(format!("{more} answers")) }
        })
        .await;
        let requests = node.one.origin().requests();
        // Those that wait ask once more beside what they asked, within the budget of retries.
        let bound = CLIENTS as f64 * 1.2 + (silent.elapsed().as_secs_f64() + 1.0) * 10.0;
        assert!(
            requests as f64 <= bound.min(3.0 * CLIENTS as f64),
            "{requests} requests to an account that says nothing"
        );
        println!(
            "median of a pull: {alone:?} alone, {beside:?} beside a silent account, {beside_dark:?} a dark one"
        );
        herd.end(&node.one).await;
    };
    timeout(LIMIT, work).await.expect("within the limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_throttles_is_not_asked_much_more_than_its_clients_ask() {
    let work = async {
        let node = Node::start().await;
        node.one.origin().always(Fault::Refuse(OriginErrorKind::Throttled(None)));
        let started = Instant::now();
        let herd = Herd::start(&node);
        eventually("enough answers", LIMIT, async || {
            let answers = herd.answers();
            if answers > CLIENTS { Ok(()) } else { Err(format!("{answers} answers")) }
        })
        .await;
        node.pull_of_two(0).await;
        let (answers, seconds) = (herd.answers() + CLIENTS, started.elapsed().as_secs_f64());
        let requests = node.one.origin().requests();
        herd.end(&node.one).await;
        let bound = answers as f64 * 1.2 + (seconds + 1.0) * 10.0;
        assert!((requests as f64) <= bound, "{requests} requests for {answers} pulls in {seconds} s");
        let (limit, _) = node.guard.in_flight();
        assert!(limit < AccountBounds::default().max_in_flight, "it is asked less at a time: {limit}");
    };
    timeout(LIMIT, work).await.expect("within the limit");
}

/// A rule that is met by so many of a thousand requests.
fn chance(
    random: &Arc<Mutex<SmallRng>>,
    per_mille: u32,
) -> impl Fn(&dataproxy_cache::fakes::Asked) -> bool + use<> {
    let random = Arc::clone(random);
    move |_| random.lock().expect("nobody panics with it").random_range(0..1000) < per_mille
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_faults_fails_no_pull_and_is_not_made_worse_by_retries() {
    let work = async {
        let idle = Duration::from_secs(1);
        let node =
            Node::start_with(CacheConfig { origin_idle_timeout: idle, ..CacheConfig::default() }).await;
        node.one.origin().always(Fault::Mute);
        let herd = Herd::start(&node);
        let seed = match std::env::var("DATAPROXY_SEED") {
            Ok(seed) => seed.parse().expect("DATAPROXY_SEED is a number"),
            Err(_) => rand::random(),
        };
        println!("DATAPROXY_SEED={seed}");
        let random = Arc::new(Mutex::new(SmallRng::seed_from_u64(seed)));
        // Of all requests: 20 % ServerBusy, then 5 % of them break and 5 % stall in their bodies.
        let origin = node.two.origin();
        let (reset, at) = (OriginErrorKind::Unavailable, 40);
        origin.script(chance(&random, 200), None, Fault::Refuse(OriginErrorKind::Throttled(None)));
        origin.script(chance(&random, 62), None, Fault::Break { after_bytes: at, kind: reset });
        origin.script(chance(&random, 67), None, Fault::Stall { after_bytes: at });
        let started = Instant::now();
        node.pull_of_two(0).await;
        node.pull_of_two(1000).await;
        let (requests, seconds) = (origin.requests(), started.elapsed().as_secs_f64());
        // A pull reads a link and a blob of one range.
        let planned = 2 * 2 * BLOBS as usize;
        let bound = planned as f64 * 1.2 + (seconds + 1.0) * 10.0;
        println!("{requests} requests where {planned} were planned, in {seconds:.1} s");
        assert!(requests > planned, "there were faults");
        assert!(requests as f64 <= bound, "{requests} requests where {planned} were planned, in {seconds} s");

        origin.heal();
        let before = origin.requests();
        node.pull_of_two(2000).await;
        assert_eq!(origin.requests() - before, planned / 2, "after the storm nothing is asked twice");
        herd.end(&node.one).await;
    };
    timeout(LIMIT, work).await.expect("within the limit");
}

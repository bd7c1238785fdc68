//! Storage that is slow: an account in memory whose answers wait at a gate that the test opens, behind a real
//! socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

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
use dataproxy::store::memory::MemoryStore;
use dataproxy_cache::fakes::{Fault, Gate};
use dataproxy_cache::{Cache, CacheConfig, DiskConfig};
use dataproxy_tests::download::Download;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use tokio::time::timeout;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 32 * MIB;
const LIMIT: Duration = Duration::from_secs(20);

/// Serves the registry `contoso` out of `store`, in this process, at a port of its own.
async fn serve(store: &Arc<MemoryStore>, dir: &std::path::Path) -> SocketAddr {
    let snapshot = json!({
        "revision": 1, "region": "local", "stamps": [{ "name": "a", "nodes": [] }],
        "bindings": [{
            "registry": "contoso", "home_stamp": "a", "epoch": 1, "pull": "anonymous",
            "placement": { "account": "one", "container": "contoso" },
        }],
    });
    let cache = CacheConfig { disk: Some(DiskConfig::in_dir(dir)), ..CacheConfig::default() };
    let table = Table::new(serde_json::from_value(snapshot).expect("a snapshot"));
    let bindings = Arc::new(Bindings::new(table));
    let late = Late::new(Arc::clone(&bindings), Forwarding::default(), Duration::ZERO);
    let puller = Arc::new(Puller::new(PullerParts {
        bindings,
        cache: Cache::open(cache).await.expect("a cache"),
        stores: Stores::from([(
            "one".parse().expect("a name"),
            Laid::over(Arc::clone(store) as Arc<dyn Store>),
        )]),
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
    let bounds = Bounds {
        header_bytes: 16 << 10,
        header_count: 64,
        first_byte_timeout: LIMIT,
        idle_timeout: LIMIT,
        write_quantum_bytes: 1 << 20,
        sendfile: true,
        tls_buffer_bytes: 256 << 10,
    };
    let handler = move |request| Arc::clone(&puller).serve(request);
    let acceptor = Acceptor::new(handler, bounds, 100, false, Lifecycle::default(), Arc::default());
    let listener = bind("127.0.0.1:0".parse().expect("an address"), "test").expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(acceptor.accept(listener, Speaks::Plain));
    address
}

/// A blob whose bytes from `held` on wait at the gate.
fn blob_behind_a_gate(store: &MemoryStore, held: u64) -> (String, Gate) {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut content = vec![0; SIZE as usize];
    rand::rngs::SmallRng::seed_from_u64(seed).fill_bytes(&mut content);
    let digest = store.push_blob(Layout::new("contoso"), &"app".parse().expect("a repository"), &content);
    let gate = Gate::new();
    let beyond = gate.clone();
    let rule = move |asked: &dataproxy_cache::fakes::Asked| {
        asked.range.end > held && asked.range.end - asked.range.start > 1
    };
    store.origin().script(rule, None, Fault::HoldAnswer(beyond));
    (digest.to_string(), gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_pulls_first_bytes_do_not_wait_for_the_blob() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = MemoryStore::new();
    let (digest, gate) = blob_behind_a_gate(&store, 8 * MIB);
    let address = serve(&store, dir.path()).await;
    let target = format!("/v2/contoso/app/blobs/{digest}");

    let work = async {
        let mut download =
            Download::open(address, &target, &[]).await.expect("headers while storage is held");
        assert_eq!(download.head().content_length(), Some(SIZE));
        let came = download.read_to(8 * MIB).await.expect("what storage has sent");
        assert!(came >= 8 * MIB, "{came} bytes of what storage has sent");
        // One that joins the fill gets the same, and storage is not asked again for it.
        let mut follower = Download::open(address, &target, &[]).await.expect("headers");
        follower.read_to(8 * MIB).await.expect("what storage has sent");
        assert!(store.origin().sent_bytes() < 9 * MIB, "{} bytes left storage", store.origin().sent_bytes());
        gate.open();
        for download in [download, follower] {
            let downloaded = download.finish().await.expect("the rest");
            assert_eq!((downloaded.digest.as_str(), downloaded.bytes), (digest.as_str(), SIZE));
        }
        assert!(
            store.origin().sent_bytes() < SIZE + MIB,
            "{} bytes left storage",
            store.origin().sent_bytes()
        );
    };
    timeout(LIMIT, work).await.expect("within the limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_of_a_cold_blob_waits_only_for_its_own_bytes() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = MemoryStore::new();
    let (digest, _gate) = blob_behind_a_gate(&store, 4 * MIB);
    let address = serve(&store, dir.path()).await;
    let target = format!("/v2/contoso/app/blobs/{digest}");

    let work = async {
        let range = "Range: bytes=100-1100";
        let part = Download::open(address, &target, &[range]).await.expect("headers while the rest is held");
        assert_eq!(part.head().status, 206);
        assert_eq!(part.finish().await.expect("the part").bytes, 1001);
        assert!(store.origin().sent_bytes() <= 4 * MIB, "{} bytes left storage", store.origin().sent_bytes());
    };
    timeout(LIMIT, work).await.expect("within the limit");
}

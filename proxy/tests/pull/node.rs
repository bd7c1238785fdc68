//! One node of stamp `a` with its storage account, and a client of it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dataproxy::account::Record;
use dataproxy::bindings::{Bindings, Table};
use dataproxy::body::Body;
use dataproxy::config::Forwarding;
use dataproxy::content::Freshness;
use dataproxy::identify::Tenancy;
use dataproxy::late::Late;
use dataproxy::layout::{Laid, Layout};
use dataproxy::name::{Repository, Tag};
use dataproxy::prefetch::Ahead;
use dataproxy::pull::{Puller, PullerParts};
use dataproxy::redirect::Redirects;
use dataproxy::resolve::Stores;
use dataproxy::store::Store;
use dataproxy::store::local::LocalFolder;
use dataproxy::store::memory::MemoryStore;
use dataproxy_cache::{Cache, CacheConfig, Digest, DiskConfig};
use http::request::Builder;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Empty};

/// Registries `contoso` and `fabrikam` share the account, each in its container; `closed` lets nobody pull; the
/// account of `lost` is not configured; the home of `moved` is stamp `b`.
pub(crate) struct Node {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) puller: Arc<Puller>,
    pub(crate) bindings: Arc<Bindings>,
    pub(crate) cache: Cache,
    records: Arc<Mutex<Vec<Record>>>,
}

/// An answer, its body read to the end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The OCI code of a refusal.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/json"));
        let json = self.json();
        assert!(json["errors"][0]["message"].as_str().is_some_and(|message| !message.is_empty()), "{json}");
        json["errors"][0]["code"].as_str().expect("a code").to_owned()
    }
}

pub(crate) fn repository(name: &str) -> Repository {
    name.parse().expect("a repository")
}

pub(crate) fn tag(name: &str) -> Tag {
    name.parse().expect("a tag")
}

pub(crate) fn contoso() -> Layout<'static> {
    Layout::new("contoso")
}

pub(crate) fn fabrikam() -> Layout<'static> {
    Layout::new("fabrikam")
}

/// A manifest of this kind that differs with `what`.
pub(crate) fn manifest(what: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json"}},"layers":[],"annotations":{{"what":"{what}"}}}}"#
    )
}

/// The table with `contoso` at home in this stamp.
pub(crate) fn table(revision: u64, contoso_home: &str) -> Table {
    let binding = |registry: &str, stamp: &str, account: &str, pull: &str| {
        serde_json::json!({
            "registry": registry, "home_stamp": stamp, "epoch": 7, "pull": pull,
            "placement": {"account": account, "container": registry},
        })
    };
    let snapshot = serde_json::json!({
        "revision": revision, "region": "west",
        "stamps": [{"name": "a", "nodes": []}, {"name": "b", "nodes": []}],
        "bindings": [
            binding("contoso", contoso_home, "one", "anonymous"),
            binding("fabrikam", "a", "one", "anonymous"),
            binding("moved", "b", "one", "anonymous"),
            binding("closed", "a", "one", "denied"),
            binding("lost", "a", "elsewhere", "anonymous"),
        ],
    });
    Table::new(serde_json::from_value(snapshot).expect("a snapshot"))
}

/// The time over which the connections of a registry that drains end.
const SPREAD: Duration = Duration::from_secs(30);

/// Gives up on a stamp without nodes at once.
fn impatient() -> Forwarding {
    Forwarding { headers_timeout: Duration::from_secs(1), ..Forwarding::default() }
}

impl Node {
    pub(crate) async fn new() -> Self {
        let store = MemoryStore::new();
        let account = Arc::clone(&store) as Arc<dyn Store>;
        Self::over(store, account, Freshness::default()).await
    }

    /// One whose account is this folder.
    pub(crate) async fn over_folder(folder: LocalFolder, freshness: Freshness) -> Self {
        Self::over(MemoryStore::new(), Arc::new(folder), freshness).await
    }

    async fn over(store: Arc<MemoryStore>, account: Arc<dyn Store>, freshness: Freshness) -> Self {
        Self::with(
            store,
            Stores::from([("one".parse().expect("a name"), Laid::over(account) as _)]),
            freshness,
        )
        .await
    }

    /// One that can read these accounts.
    pub(crate) async fn with(store: Arc<MemoryStore>, stores: Stores, freshness: Freshness) -> Self {
        Self::redirecting(store, stores, freshness, Redirects::default()).await
    }

    /// One of stamp `stamp` that can read `store` alone, as account `one`; nothing without it.
    pub(crate) async fn of_stamp(stamp: &str, store: Option<&Arc<MemoryStore>>) -> Self {
        Self::forwarding(stamp, store, impatient()).await
    }

    /// The same with these times for what it forwards.
    pub(crate) async fn forwarding(
        stamp: &str,
        store: Option<&Arc<MemoryStore>>,
        settings: Forwarding,
    ) -> Self {
        let account = |store: &Arc<MemoryStore>| Laid::over(Arc::clone(store) as Arc<dyn Store>);
        let stores = store.map(|store| ("one".parse().expect("a name"), account(store) as _));
        let own = store.cloned().unwrap_or_else(MemoryStore::new);
        Self::made(
            stamp,
            own,
            stores.into_iter().collect(),
            Freshness::default(),
            Redirects::default(),
            |parts| parts.late = Late::new(Arc::clone(&parts.bindings), settings, SPREAD),
        )
        .await
    }

    /// One that answers blobs by redirects.
    pub(crate) async fn redirecting(
        store: Arc<MemoryStore>,
        stores: Stores,
        freshness: Freshness,
        redirects: Redirects,
    ) -> Self {
        Self::made("a", store, stores, freshness, redirects, |_| {}).await
    }

    /// One whose layers are fetched ahead, into a disk tier of small blocks in this folder.
    pub(crate) async fn ahead(dir: &Path, ahead: Ahead) -> Self {
        let store = MemoryStore::new();
        let account = Laid::over(Arc::clone(&store) as Arc<dyn Store>);
        let stores = Stores::from([("one".parse().expect("a name"), account as _)]);
        let config = CacheConfig {
            disk: Some(DiskConfig::in_dir(dir)),
            block_bytes: 4096,
            fetch_range_bytes: 4 * 4096,
            small_blob_bytes: 0,
            memory_bytes: 0,
            ..CacheConfig::default()
        };
        let cache = Cache::open(config).await.expect("a cache");
        let change = |parts: &mut PullerParts| (parts.cache, parts.ahead) = (cache, Some(ahead));
        Self::made("a", store, stores, Freshness::default(), Redirects::default(), change).await
    }

    async fn made(
        stamp: &str,
        store: Arc<MemoryStore>,
        stores: Stores,
        freshness: Freshness,
        redirects: Redirects,
        change: impl FnOnce(&mut PullerParts),
    ) -> Self {
        let records: Arc<Mutex<Vec<Record>>> = Arc::default();
        let seen = Arc::clone(&records);
        let bindings = Arc::new(Bindings::new(table(1, "a")));
        let cache = Cache::open(CacheConfig::default()).await.expect("a cache");
        let mut parts = PullerParts {
            bindings: Arc::clone(&bindings),
            cache: cache.clone(),
            stores,
            tenancy: Tenancy {
                zone: "registry.test".parse().expect("a zone"),
                path_tenancy: true,
                default_registry: None,
            },
            stamp: Some(stamp.parse().expect("a name")),
            node: "a1".parse().expect("a name"),
            freshness,
            redirects,
            stamp_cache: None,
            late: Late::new(Arc::clone(&bindings), impatient(), SPREAD),
            ahead: None,
            observer: Some(Arc::new(move |record| seen.lock().expect("whole").push(record.clone()))),
        };
        change(&mut parts);
        let cache = parts.cache.clone();
        Self { store, puller: Arc::new(Puller::new(parts)), bindings, cache, records }
    }

    /// The response, its body not read yet.
    pub(crate) async fn open(&self, builder: Builder) -> Response<Body> {
        let headers = builder.headers_ref().expect("a request");
        let builder = if headers.contains_key("host") {
            builder
        } else {
            builder.header("host", "contoso.registry.test")
        };
        let request = builder.body(Empty::<Bytes>::new()).expect("a request");
        Arc::clone(&self.puller).serve(request).await
    }

    pub(crate) async fn send(&self, builder: Builder) -> Reply {
        let (parts, body) = self.open(builder).await.into_parts();
        // What another node sends has no length but the one that it has announced.
        let length = || parts.headers.get("content-length")?.to_str().ok()?.parse().ok();
        let announced = http_body::Body::size_hint(&body).exact().or_else(length).expect("a length");
        let body = body.collect().await.expect("a whole body").to_bytes();
        assert_eq!(body.len() as u64, announced);
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// GET at `contoso`; checks on the way that HEAD says the same and sends nothing.
    pub(crate) async fn get(&self, address: &str) -> Reply {
        self.get_with(address, &[]).await
    }

    pub(crate) async fn get_with(&self, address: &str, headers: &[(&str, &str)]) -> Reply {
        let builder = |method: &str| {
            let builder = http::Request::builder().method(method).uri(address).header("x-request-id", "same");
            headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value))
        };
        let get = self.send(builder("GET")).await;
        if !headers.iter().any(|(name, _)| *name == "range") {
            let head = self.send(builder("HEAD")).await;
            assert_eq!(head.body, "", "a HEAD of {address} has no body");
            assert_eq!((head.status, &head.headers), (get.status, &get.headers), "HEAD and GET of {address}");
        }
        get
    }

    pub(crate) async fn head(&self, address: &str) -> Reply {
        self.send(http::Request::head(address)).await
    }

    /// The records of the requests that have ended.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.records.lock().expect("whole").clone()
    }

    pub(crate) fn last_record(&self) -> Record {
        self.records().pop().expect("a record")
    }

    pub(crate) fn push_manifest(&self, name: &str, tags: &[&str], content: &str) -> Digest {
        let name = repository(name);
        let digest = self.store.push_manifest(contoso(), &name, content.as_bytes());
        for tagged in tags {
            self.store.tag(contoso(), &name, &tag(tagged), &digest);
        }
        digest
    }

    pub(crate) fn push_blob(&self, name: &str, content: &[u8]) -> Digest {
        self.store.push_blob(contoso(), &repository(name), content)
    }
}

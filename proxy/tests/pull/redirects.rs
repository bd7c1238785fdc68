//! Blobs that a client is sent elsewhere for: only by what the binding, the account and the node's role say, and only
//! after everything that the bytes themselves would need.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dataproxy::bindings::Table;
use dataproxy::content::Freshness;
use dataproxy::layout::Laid;
use dataproxy::redirect::{DataEndpoint, Destination, Keys, Redirects};
use dataproxy::resolve::Stores;
use dataproxy::store::memory::MemoryStore;
use dataproxy::store::{Listing, SignedUrl, Store};
use dataproxy_cache::{
    Algorithm, Digest, ETag, ObjectName, Origin, OriginError, OriginErrorKind, OriginRead,
};
use futures_util::future::BoxFuture;
use serde_json::json;

use crate::node::{Node, Reply, contoso, manifest};

const SECRET: &str = "sig=c2VjcmV0";

/// What an account says when it is asked for a URL.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Signs {
    Urls,
    Nothing,
    Fails,
    Never,
}

/// An account in memory that clients could reach.
#[derive(Debug)]
struct Account {
    store: Arc<MemoryStore>,
    signs: Mutex<Signs>,
    signed: AtomicUsize,
}

impl Origin for Account {
    fn get<'a>(
        &'a self,
        object: &'a ObjectName,
        range: Range<u64>,
        pin: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<OriginRead, OriginError>> {
        self.store.get(object, range, pin)
    }
}

impl Store for Account {
    fn list<'a>(
        &'a self,
        prefix: &'a ObjectName,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Listing, OriginError>> {
        self.store.list(prefix, after, limit)
    }

    fn sign<'a>(
        &'a self,
        object: &'a ObjectName,
        valid: Duration,
    ) -> BoxFuture<'a, Result<Option<SignedUrl>, OriginError>> {
        self.signed.fetch_add(1, Ordering::SeqCst);
        let url = || {
            SignedUrl::new(format!("https://one.example/{}?se={}&{SECRET}", object.as_str(), valid.as_secs()))
        };
        let answer = match *self.signs.lock().expect("whole") {
            Signs::Never => return Box::pin(std::future::pending()),
            Signs::Urls => Ok(Some(url())),
            Signs::Nothing => Ok(None),
            Signs::Fails => Err(OriginError::new(OriginErrorKind::Timeout, "no delegation key")),
        };
        Box::pin(std::future::ready(answer))
    }
}

fn bindings(revision: u64, delivery: &str) -> Table {
    let binding = |registry: &str, pull: &str| {
        json!({
            "registry": registry, "home_stamp": "a", "epoch": 7, "pull": pull, "delivery": delivery,
            "placement": {"account": "one", "container": registry},
        })
    };
    let snapshot = json!({
        "revision": revision, "region": "west",
        "stamps": [{"name": "a", "nodes": []}],
        "bindings": [binding("contoso", "anonymous"), binding("closed", "denied")],
    });
    Table::new(serde_json::from_value(snapshot).expect("a snapshot"))
}

async fn node(redirects: Redirects, delivery: &str) -> (Node, Arc<Account>) {
    let store = MemoryStore::new();
    let account = Arc::new(Account {
        store: Arc::clone(&store),
        signs: Mutex::new(Signs::Urls),
        signed: AtomicUsize::new(0),
    });
    let stores = Stores::from([("one".parse().expect("a name"), Laid::over(Arc::clone(&account) as _) as _)]);
    let node = Node::redirecting(store, stores, Freshness::default(), redirects).await;
    node.bindings.replace(bindings(2, delivery)).expect("newer");
    (node, account)
}

fn open() -> Redirects {
    Redirects { open: ["one".parse().expect("a name")].into(), ..Redirects::default() }
}

/// A node of role `registry` with the keys of the region, and how it signs.
fn registry(keys: &Arc<Keys>) -> Redirects {
    let zone = "registry.test".parse().expect("a zone");
    let region = "west".parse().expect("a name");
    let endpoint = DataEndpoint::new("https://{registry}.{region}.data.{zone}", &region, &zone);
    Redirects {
        data_endpoint: Some(endpoint.expect("an endpoint")),
        keys: Some(Arc::clone(keys)),
        ..Redirects::default()
    }
}

fn keys(content: &str) -> Arc<Keys> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), content.repeat(32)).expect("written");
    Arc::new(Keys::open(file.path().to_owned(), None).expect("keys"))
}

async fn get(node: &Node, address: &str, headers: &[(&str, &str)]) -> Reply {
    let builder =
        headers.iter().fold(http::Request::get(address), |b, (name, value)| b.header(*name, *value));
    node.send(builder).await
}

#[tokio::test]
async fn a_blob_of_a_redirecting_registry_in_an_open_account_is_answered_with_a_url_of_it() {
    let (node, account) = node(open(), "redirect").await;
    let blob = node.push_blob("app", b"layer");
    let image = node.push_manifest("app", &["v1"], &manifest("x"));
    let address = format!("/v2/app/blobs/{blob}");
    let url = format!("https://one.example/{}?se=1200&{SECRET}", contoso().blob(&blob).as_str());
    for headers in [&[][..], &[("range", "bytes=1-2")], &[("if-match", "*")], &[("if-none-match", "\"x\"")]] {
        let reply = get(&node, &address, headers).await;
        assert_eq!((reply.status, reply.header("location"), &reply.body[..]), (307, Some(&*url), &b""[..]));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        for name in ["docker-content-digest", "etag", "content-range", "accept-ranges", "content-type"] {
            assert_eq!(reply.header(name), None, "{name} is the content's");
        }
        let record = node.last_record();
        assert_eq!((record.redirected, record.outcome), (Some(Destination::Storage), None));
        assert!(!format!("{record:?}").contains("c2VjcmV0"), "{record:?}");
    }
    assert!(!node.store.origin().asked().iter().any(|asked| asked.object == contoso().blob(&blob)));
    // What is answered here: HEAD, what the client has, manifests, and a client that comes through a mirror's name.
    let head = node.head(&address).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
    assert_eq!(get(&node, &address, &[("if-none-match", &format!("\"{blob}\""))]).await.status, 304);
    assert_eq!(get(&node, &address, &[("if-match", "\"x\"")]).await.status, 412);
    assert_eq!(node.get(&format!("/v2/app/manifests/{image}")).await.status, 200);
    let mirrored = [("host", "mirror.example"), ("x-request-id", "m")];
    let reply = get(&node, &format!("{address}?ns=contoso.registry.test"), &mirrored).await;
    assert_eq!((reply.status, reply.header("location")), (307, Some(&*url)));
    assert!(account.signed.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn a_blob_is_streamed_wherever_one_of_the_conditions_fails() {
    for (redirects, delivery, signs) in [
        (Redirects::default(), "redirect", Signs::Urls),
        (open(), "stream", Signs::Urls),
        (open(), "redirect", Signs::Nothing),
        (open(), "redirect", Signs::Fails),
    ] {
        let asks = !redirects.open.is_empty() && delivery == "redirect";
        let (node, account) = node(redirects, delivery).await;
        *account.signs.lock().expect("whole") = signs;
        let blob = node.push_blob("app", b"layer");
        let reply = get(&node, &format!("/v2/app/blobs/{blob}"), &[]).await;
        assert_eq!((reply.status, &reply.body[..]), (200, &b"layer"[..]), "{delivery} {signs:?}");
        assert_eq!(account.signed.load(Ordering::SeqCst) > 0, asks, "{delivery} {signs:?}");
    }
}

#[tokio::test]
async fn no_url_is_signed_before_permit_and_ownership() {
    let keys = keys("k");
    for redirects in [open(), registry(&keys)] {
        let (node, account) = node(redirects, "redirect").await;
        let blob = node.push_blob("app", b"layer");
        let nobody = Digest::of(Algorithm::Sha256, b"random");
        for (address, host, status) in [
            (format!("/v2/other/blobs/{blob}"), "contoso.registry.test", 404),
            (format!("/v2/app/blobs/{nobody}"), "contoso.registry.test", 404),
            (format!("/v2/app/blobs/{blob}"), "closed.registry.test", 403),
        ] {
            let reply = get(&node, &address, &[("host", host)]).await;
            assert_eq!((reply.status, reply.header("location")), (status, None), "{address} at {host}");
        }
        assert_eq!(account.signed.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_blob_is_streamed_where_no_url_is_signed_in_time() {
    let (node, account) = node(open(), "redirect").await;
    *account.signs.lock().expect("whole") = Signs::Never;
    let blob = node.push_blob("app", b"layer");
    let address = format!("/v2/app/blobs/{blob}");
    let (asked, limit) = (std::time::Instant::now(), Duration::from_secs(5));
    let reply = get(&node, &address, &[]).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"layer"[..]));
    assert!(asked.elapsed() < limit, "after {:?}", asked.elapsed());
}

#[tokio::test]
async fn a_node_of_role_registry_streams_the_blobs_of_registries_that_do_not_redirect() {
    let keys = keys("k");
    let (node, _) = node(registry(&keys), "stream").await;
    let blob = node.push_blob("app", b"layer");
    let address = format!("/v2/app/blobs/{blob}");
    let reply = get(&node, &address, &[]).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"layer"[..]));
    node.bindings.replace(bindings(3, "redirect")).expect("newer");
    assert_eq!(get(&node, &address, &[]).await.status, 307);
}

#[tokio::test]
async fn a_node_of_role_registry_sends_clients_to_the_data_endpoint_where_any_node_serves_them() {
    let keys = keys("k");
    let (first, _) = node(registry(&keys), "redirect").await;
    let data = Redirects { keys: Some(Arc::clone(&keys)), ..Redirects::default() };
    let (second, _) = node(data, "stream").await;
    let blob = first.push_blob("team/app", b"layer");
    second.push_blob("team/app", b"layer");
    let reply = get(&first, &format!("/v2/team/app/blobs/{blob}"), &[]).await;
    assert_eq!((reply.status, reply.header("cache-control")), (307, Some("no-store")));
    assert_eq!(first.last_record().redirected, Some(Destination::Node));
    let location = reply.header("location").expect("a place").to_owned();
    let (origin, path) = location.split_at("https://contoso.west.data.registry.test".len());
    assert_eq!(origin, "https://contoso.west.data.registry.test");
    assert!(path.starts_with(&format!("/t/contoso/v2/team/app/blobs/{blob}?dp-expires=")), "{path}");

    let host = [("host", "contoso.west.data.registry.test")];
    let served = get(&second, path, &host).await;
    assert_eq!((served.status, &served.body[..]), (200, &b"layer"[..]));
    let part = get(&second, path, &[host[0], ("range", "bytes=1-2")]).await;
    assert_eq!((part.status, &part.body[..]), (206, &b"ay"[..]));
    let own = get(&first, path, &host).await;
    assert_eq!(own.status, 200, "what is signed already is not sent on again");
    // The signature stands in place of what the registry asks of those who show nothing, for this blob alone.
    let mut closed = serde_json::to_value(bindings(3, "stream").snapshot()).expect("JSON");
    closed["bindings"][0]["pull"] = json!("denied");
    second.bindings.replace(Table::new(serde_json::from_value(closed).expect("a snapshot"))).expect("newer");
    assert_eq!(get(&second, path, &host).await.status, 200);
    assert_eq!(get(&second, path.split('?').next().expect("a path"), &host).await.status, 403);
    for record in first.records().iter().chain(&second.records()) {
        assert!(!format!("{record:?}").contains("dp-"), "{record:?}");
    }
}

#[tokio::test]
async fn a_url_that_is_forged_or_for_something_else_is_refused_and_says_what_to_do() {
    let region = keys("k");
    let (first, _) = node(registry(&region), "redirect").await;
    let (blob, other) = (first.push_blob("app", b"layer"), first.push_blob("app", b"other"));
    let reply = get(&first, &format!("/v2/app/blobs/{blob}"), &[]).await;
    let location = reply.header("location").expect("a place").to_owned();
    let (_, path) = location.split_once(".test").expect("a path");
    let (signed, signature) = path.split_at(path.len() - 64);
    let zeros = format!("{signed}{}", "0".repeat(64));
    let stranger = Redirects { keys: Some(keys("x")), ..Redirects::default() };
    for (redirects, path) in [
        (registry(&region), zeros.as_str()),
        (registry(&region), signed),
        (registry(&region), &path.replace("dp-expires=", "dp-expires=9")),
        (registry(&region), &path.replace(&blob.to_string(), &other.to_string())),
        (registry(&region), &path.replace("/app/", "/web/")),
        (stranger, path),
        (Redirects::default(), path),
    ] {
        let (node, _) = node(redirects, "stream").await;
        for content in [&b"layer"[..], b"other"] {
            node.push_blob("app", content);
            node.push_blob("web", content);
        }
        let reply = get(&node, path, &[]).await;
        assert_eq!((reply.status, reply.code().as_str()), (403, "DENIED"), "{path}");
        let message = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(message.contains("ask the registry for the blob again"), "{message}");
        assert!(!message.contains(signature), "{message}");
    }
    let expired = Redirects { valid: Duration::ZERO, ..registry(&region) };
    let (node, _) = node(expired, "redirect").await;
    node.push_blob("app", b"layer");
    let reply = get(&node, &format!("/v2/app/blobs/{blob}"), &[]).await;
    let location = reply.header("location").expect("a place").to_owned();
    let reply = get(&node, location.split_once(".test").expect("a path").1, &[]).await;
    assert_eq!(reply.status, 403);
    assert!(String::from_utf8_lossy(&reply.body).contains("it has expired"), "{reply:?}");
}

//! An upstream that behaves, and one that does not.

use std::sync::Arc;

use bytes::Bytes;
use dataproxy_cache::conformance::{self, Fixture, pattern};
use dataproxy_cache::{BlobKey, Cache, CacheConfig, CacheError, Scope};
use dataproxy_router_api::Prefix;
use futures_util::TryStreamExt;

use super::*;
use crate::name::Repository;

mod access;
mod leads;
mod lists_of_others;
mod reads;
mod scripted;

use scripted::{MANIFEST, Scripted, error, reply};

fn settings(addr: std::net::SocketAddr) -> Settings {
    let url = Url::parse(&format!("http://{addr}")).expect("a URL");
    Settings { url, credentials: None, ca_file: None, repository_prefix: None }
}

fn open(settings: &Settings) -> Arc<Upstream> {
    Arc::new(Upstream::open(&"hub".parse().expect("a name"), settings).expect("settings that can be"))
}

/// The repository `library/app` of a scripted registry.
struct Here {
    registry: Scripted,
    upstream: Arc<Upstream>,
    repository: Repository,
    prefix: Prefix,
}

impl Here {
    async fn new() -> Self {
        let registry = Scripted::start().await;
        let upstream = open(&settings(registry.addr));
        let repository = "library/app".parse().expect("a repository");
        Self { registry, upstream, repository, prefix: Prefix::default() }
    }

    fn place(&self) -> Place<'_> {
        Place { container: "", prefix: &self.prefix, repository: &self.repository }
    }

    async fn find(&self, claim: Claim) -> Result<Found, OriginErrorKind> {
        self.upstream.find(self.place(), &claim).await.map_err(|error| error.kind)
    }

    async fn tag(&self, tag: &str) -> Result<Found, OriginErrorKind> {
        self.find(Claim::Tag(tag.parse().expect("a tag"))).await
    }

    async fn blob(&self, digest: &Digest) -> Result<Found, OriginErrorKind> {
        self.find(Claim::Blob(digest.clone())).await
    }

    /// A blob, through a cache.
    async fn pull(&self, cache: &Cache, digest: &Digest) -> Result<Bytes, CacheError> {
        let source = Arc::clone(&self.upstream).blob(self.place(), digest);
        let key = BlobKey { scope: Scope::new("hub"), digest: digest.clone() };
        cache.read_all(&key, &source, 1 << 30).await.map(|(bytes, _)| bytes)
    }

    async fn pull_manifest(&self, cache: &Cache, digest: &Digest) -> Result<Bytes, CacheError> {
        let source = Arc::clone(&self.upstream).manifest(self.place(), digest);
        let key = BlobKey { scope: Scope::new("hub"), digest: digest.clone() };
        cache.read_all(&key, &source, 4 << 20).await.map(|(bytes, _)| bytes)
    }

    async fn get(&self, object: &str, range: Range<u64>) -> Result<Vec<u8>, OriginErrorKind> {
        let object = ObjectName::new(object);
        let read = self.upstream.get(&object, range, None).await.map_err(|error| error.kind)?;
        let pieces: Vec<Bytes> = read.body.try_collect().await.map_err(|error| error.kind)?;
        Ok(pieces.concat())
    }
}

async fn cache() -> Cache {
    Cache::open(CacheConfig::default()).await.expect("a cache")
}

struct Behind(Here);

impl Fixture for Behind {
    fn origin(&self) -> Arc<dyn Origin> {
        Arc::clone(&self.0.upstream) as Arc<dyn Origin>
    }

    fn object(&self, name: &str) -> ObjectName {
        ObjectName::new(format!("library/app/blobs/{}", Digest::of(Algorithm::Sha256, name.as_bytes())))
    }

    fn put<'a>(&'a self, object: &'a ObjectName, content: Bytes) -> BoxFuture<'a, ()> {
        async move { self.0.registry.put_raw(&format!("/v2/{}", object.as_str()), content) }.boxed()
    }

    fn remove<'a>(&'a self, object: &'a ObjectName) -> BoxFuture<'a, ()> {
        async move { self.0.registry.remove(&format!("/v2/{}", object.as_str())) }.boxed()
    }
}

#[tokio::test]
async fn an_upstream_registry_conforms_as_any_origin_does() {
    conformance::origin(&Behind(Here::new().await)).await;
}

#[tokio::test]
async fn what_a_repository_owns_is_the_upstreams_word() {
    let here = Here::new().await;
    let manifest = here.registry.push_manifest("library/app", "v1", MANIFEST, true);
    let blob = here.registry.push_blob("library/app", b"layer");
    let elsewhere = here.registry.push_blob("library/other", b"other layer");
    assert_eq!(here.tag("v1").await, Ok(Found::Digest(manifest.clone())));
    assert_eq!(here.find(Claim::Manifest(manifest.clone())).await, Ok(Found::Digest(manifest)));
    assert_eq!(here.blob(&blob).await, Ok(Found::Digest(blob)));
    assert_eq!(here.blob(&elsewhere).await, Ok(Found::Absent), "another repository's");
    assert_eq!(here.tag("v2").await, Ok(Found::Absent));
    assert!(here.registry.asked("GET", "").is_empty(), "all of it is asked by HEAD");
}

#[tokio::test]
async fn a_manifest_is_fetched_once_and_only_if_the_cache_does_not_have_it() {
    let here = Here::new().await;
    let cache = cache().await;
    let digest = here.registry.push_manifest("library/app", "v1", MANIFEST, true);
    for _ in 0..3 {
        assert_eq!(here.tag("v1").await, Ok(Found::Digest(digest.clone())));
        assert_eq!(here.pull_manifest(&cache, &digest).await.expect("whole"), MANIFEST);
    }
    let gets = here.registry.asked("GET", "/manifests/");
    assert_eq!(gets.len(), 1, "{gets:?}");
    let accept = gets[0].header("accept").expect("what is understood").to_owned();
    for kind in
        ["oci.image.index", "oci.image.manifest", "distribution.manifest.v2", "manifest.list.v2", "*/*"]
    {
        assert!(accept.contains(kind), "{kind} in {accept}");
    }
}

#[tokio::test]
async fn a_registry_that_does_not_tell_a_tags_digest_is_asked_for_the_bytes_and_not_twice() {
    let here = Here::new().await;
    let digest = here.registry.push_manifest("library/app", "v1", MANIFEST, false);
    assert_eq!(here.tag("v1").await, Ok(Found::Digest(digest.clone())));
    assert_eq!(here.find(Claim::Manifest(digest.clone())).await, Ok(Found::Digest(digest.clone())));
    assert_eq!(here.pull_manifest(&cache().await, &digest).await.expect("whole"), MANIFEST);
    assert_eq!(here.registry.asked("GET", "").len(), 1, "the bytes that gave the digest are the ones served");
}

#[tokio::test]
async fn a_registry_without_head_is_asked_by_get() {
    let here = Here::new().await;
    let digest = here.registry.push_manifest("library/app", "v1", MANIFEST, true);
    here.registry.script(|seen| seen.method == Method::HEAD, None, |_| error(405, "UNSUPPORTED"));
    assert_eq!(here.tag("v1").await, Ok(Found::Digest(digest)));
}

#[tokio::test]
async fn a_page_for_people_is_neither_a_manifest_nor_an_absence() {
    let here = Here::new().await;
    let page = |status| {
        move |_: &scripted::Seen| reply(status, &[("content-type", "text/html; charset=utf-8")], "<html>")
    };
    for status in [200, 404] {
        here.registry.script(|_| true, Some(1), page(status));
        assert_eq!(here.tag("v1").await, Err(OriginErrorKind::Protocol), "{status}");
    }
    // It hides what it is, and its own digest would agree with it.
    let plain = |_: &scripted::Seen| reply(200, &[("content-type", "application/json")], "<html>");
    here.registry.script(|_| true, Some(2), plain);
    assert_eq!(here.tag("v1").await, Err(OriginErrorKind::Protocol));
}

#[tokio::test]
async fn every_refusal_of_an_upstream_means_one_thing() {
    let here = Here::new().await;
    let blob = here.registry.push_blob("library/app", b"layer");
    let wait = Some(std::time::Duration::from_secs(7));
    for (status, code, kind) in [
        (403, "DENIED", OriginErrorKind::Denied),
        (401, "UNAUTHORIZED", OriginErrorKind::Denied),
        (429, "TOOMANYREQUESTS", OriginErrorKind::Throttled(wait)),
        (500, "UNKNOWN", OriginErrorKind::Unavailable),
        (503, "UNAVAILABLE", OriginErrorKind::Unavailable),
        (400, "UNSUPPORTED", OriginErrorKind::Protocol),
    ] {
        let refuse = move |_: &scripted::Seen| {
            let mut answer = error(status, code);
            answer.headers_mut().insert("retry-after", 7.into());
            answer
        };
        here.registry.script(|_| true, Some(3), refuse);
        assert_eq!(here.tag("v1").await, Err(kind), "{status}");
        assert_eq!(here.blob(&blob).await, Err(kind), "{status}");
        let read = here.get(&format!("library/app/blobs/{blob}"), 0..1).await;
        assert_eq!(read, Err(kind), "{status}");
    }
    assert_eq!(here.blob(&blob).await, Ok(Found::Digest(blob)), "and it is asked again");
}

#[tokio::test]
async fn a_prefix_stands_before_every_repository() {
    let mut here = Here::new().await;
    let prefix = Some("mirror/hub".parse().expect("a repository"));
    here.upstream = open(&Settings { repository_prefix: prefix, ..settings(here.registry.addr) });
    let digest = here.registry.push_manifest("mirror/hub/library/app", "v1", MANIFEST, true);
    let blob = here.registry.push_blob("mirror/hub/library/app", &pattern(3 << 20));
    assert_eq!(here.tag("v1").await, Ok(Found::Digest(digest.clone())));
    assert_eq!(here.blob(&blob).await, Ok(Found::Digest(blob.clone())));
    let cache = cache().await;
    assert_eq!(here.pull(&cache, &blob).await.expect("whole"), pattern(3 << 20));
    assert_eq!(here.pull_manifest(&cache, &digest).await.expect("whole"), MANIFEST);
}

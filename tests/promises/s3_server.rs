//! A real S3 server as a storage account, also one that Debian's docker-registry writes to.

use std::sync::Arc;

use bytes::Bytes;
use dataproxy::store::Store;
use dataproxy::store::conformance;
use dataproxy_cache::conformance::{Fixture, origin};
use dataproxy_cache::{ObjectName, Origin, OriginErrorKind};
use dataproxy_tests::docker_registry::DockerRegistry;
use dataproxy_tests::download::download;
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::node::{Options, Stamp};
use dataproxy_tests::s3::{KEY, REGION, S3Server};
use dataproxy_tests::{raw_http, skopeo};
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

struct Bucket {
    server: S3Server,
}

impl Fixture for Bucket {
    fn origin(&self) -> Arc<dyn Origin> {
        Arc::new(self.server.store())
    }

    fn object(&self, name: &str) -> ObjectName {
        ObjectName::new(format!("bucket/{name}"))
    }

    fn put<'a>(&'a self, object: &'a ObjectName, content: Bytes) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.server.put(object.as_str(), &content).await })
    }

    fn remove<'a>(&'a self, object: &'a ObjectName) -> BoxFuture<'a, ()> {
        Box::pin(self.server.remove(object.as_str()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_those_of_every_origin() {
    let server = S3Server::start().await;
    server.make_bucket("bucket").await;
    origin(&Bucket { server }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_are_those_of_every_store() {
    let server = S3Server::start().await;
    for bucket in ["absent", "kinds", "pages", "edge"] {
        server.make_bucket(bucket).await;
    }
    let put = |name: &str, content: &[u8]| {
        let content = Bytes::copy_from_slice(content);
        tokio::task::block_in_place(|| Handle::current().block_on(server.put(name, &content)));
    };
    conformance::list(&server.store(), put).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_not_there_is_no_missing_object() {
    let server = S3Server::start().await;
    let store = server.store();
    let read = store.get(&ObjectName::new("nowhere/k"), 0..1, None).await;
    assert_eq!(read.expect_err("no bucket").kind, OriginErrorKind::Denied);
    let listed = store.list(&ObjectName::new("nowhere/k"), None, 1).await;
    assert_eq!(listed.expect_err("no bucket").kind, OriginErrorKind::Denied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_url_gives_the_object_to_whoever_has_it() {
    let server = S3Server::start().await;
    server.make_bucket("bucket").await;
    server.put("bucket/a/b", &Bytes::from_static(b"content")).await;
    let valid = std::time::Duration::from_secs(60);
    let url =
        server.store().sign(&ObjectName::new("bucket/a/b"), valid).await.expect("signed").expect("a URL");
    let got = dataproxy_tests::run::must_run("curl", &["-sS", "--fail", url.expose()], valid).await;
    assert_eq!(got.stdout, "content");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_docker_registry_keeps_in_s3_is_pulled_through_us() {
    let server = S3Server::start().await;
    for bucket in ["contoso", "fabrikam"] {
        server.make_bucket(bucket).await;
    }
    let registry = DockerRegistry::start_on_s3(&server, "contoso").await;
    let image = Image::multi_platform().await;
    skopeo::push(&image.layout, TAG, &format!("{}/team/app:{TAG}", registry.address())).await;
    let (url, id, secret) = (server.url(), KEY.0, server.secret());
    let account = format!(
        "kind = \"s3\"\nendpoint = \"{url}\"\nregion = \"{REGION}\"\ncredential = \"key\"\n\
         access_key_id = \"{id}\"\nsecret_file = \"{}\"\n",
        secret.display()
    );
    let stamp = Stamp::start_with(Options { account: Some(account), ..Options::default() }).await;
    let node = stamp.nodes[0].pull();

    let tags = raw_http::get(node, "/v2/contoso/team/app/tags/list").await.expect("an answer");
    assert_eq!(tags.json().expect("JSON")["tags"], serde_json::json!([TAG]));
    for (digest, size) in &image.blobs {
        let path = format!("/v2/contoso/team/app/blobs/{digest}");
        let blob = download(node, &path).await.expect("a blob");
        assert_eq!((&blob.digest, &blob.bytes), (digest, size));
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (blobs, _) = skopeo::pull(&format!("{node}/contoso/team/app:{TAG}"), folder.path()).await;
    assert_eq!(blobs, image.blobs);
}

//! A real S3 server as a storage account.

use std::sync::Arc;

use bytes::Bytes;
use dataproxy::store::Store;
use dataproxy::store::conformance;
use dataproxy_cache::conformance::{Fixture, origin};
use dataproxy_cache::{ObjectName, Origin, OriginErrorKind};
use dataproxy_tests::s3::S3Server;
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

//! What is the same for every client that people use: one test each, and their tables in `docs/clients.md`.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use dataproxy_tests::installed::{self, Surroundings};
use dataproxy_tests::page::Table;
use futures_util::FutureExt as _;

/// One test for each client, which runs `$scenario(client)`.
macro_rules! every_client {
    ($scenario:path) => {
        crate::every_client::every_client! { $scenario =>
            docker_20: DOCKER_20, docker_26: DOCKER_26, docker_26_on_containerd: DOCKER_26_ON_CONTAINERD,
            containerd_1_6: CONTAINERD_1_6, containerd_1_7: CONTAINERD_1_7, podman_4: PODMAN_4, podman_5: PODMAN_5,
            skopeo_1_9: SKOPEO_1_9, skopeo_1_18: SKOPEO_1_18
        }
    };
    ($scenario:path => $($test:ident: $client:ident),+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            $scenario(dataproxy_tests::installed::$client).await;
        })+
    };
}
pub(crate) use every_client;

/// A table of the page, with a row for each client.
pub(crate) fn table(name: &'static str) -> Table {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/clients.md");
    Table::new(&page, name, installed::ALL.iter().map(installed::Installed::name).collect())
}

/// What a client sees where nothing but its host names is the test's own.
pub(crate) fn surroundings(dir: &Path, hosts: &str) -> Surroundings {
    let around = Surroundings {
        hosts: dir.join("hosts"),
        registries_conf: dir.join("registries.conf"),
        hub_mirrors: Vec::new(),
    };
    std::fs::write(&around.hosts, format!("127.0.0.1 localhost\n{hosts}")).expect("a file can be written");
    std::fs::write(&around.registries_conf, "").expect("a file can be written");
    around
}

/// Runs what may panic; gives why it did. A red cell of a table must not hide the others.
pub(crate) async fn tried<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let why = |panic: Box<dyn Any + Send>| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => {
            other.downcast_ref::<&str>().map_or_else(|| "it panicked".to_owned(), |s| (*s).to_owned())
        }
    };
    AssertUnwindSafe(work).catch_unwind().await.map_err(why)
}

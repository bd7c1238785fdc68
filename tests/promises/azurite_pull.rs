//! The real node over Azurite.

use std::path::Path;
use std::time::Duration;

use dataproxy_azure::Account;
use dataproxy_cache::ObjectName;
use dataproxy_tests::azurite::Azurite;
use dataproxy_tests::download::download;
use dataproxy_tests::eventually::eventually;
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::node::{Options, Stamp};
use dataproxy_tests::raw_http;

use crate::azurite_suites::by_key;

/// Bytes of one ranged read, as nodes have it by default.
const RANGE: u64 = 4 << 20;

fn is_read(line: &str) -> bool {
    line.contains("\"GET ")
}

/// Puts the files below a folder into a container, under the same names below `prefix`.
pub(crate) async fn upload(account: &Account, container: &str, prefix: &str, folder: &Path) {
    account.create_container(container).await.expect("a container");
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).expect("below").to_str().expect("text");
            let object = ObjectName::new(format!("{container}/{prefix}{name}"));
            account.put_file(&object, &path).await.expect("an upload");
        }
    }
}

/// A stamp whose account is one of an Azurite, with an image in it.
async fn stamp_over(azurite: &Azurite, credential: &str, image: &Image) -> Stamp {
    let account = format!("kind = \"azure\"\nendpoint = \"{}\"\n{credential}\n", azurite.endpoint("first"));
    let stamp = Stamp::start_with(Options { account: Some(account), ..Options::default() }).await;
    let content = stamp.container("contoso");
    content.put_image(image, "team/app", TAG);
    upload(&by_key(azurite, "first"), "contoso", "", content.dir()).await;
    by_key(azurite, "first").create_container("fabrikam").await.expect("a container");
    stamp
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_pull_asks_storage_for_the_planned_ranges_and_a_warm_one_for_nothing() {
    let azurite = Azurite::start(&["first"]).await;
    let image = Image::medium().await;
    let credential =
        format!("credential = \"sas\"\nsecret_file = \"{}\"", azurite.sas_file("first").await.display());
    let stamp = stamp_over(&azurite, &credential, &image).await;
    let node = &stamp.nodes[0];

    let manifest = raw_http::get(node.pull(), &format!("/v2/contoso/team/app/manifests/{TAG}"))
        .await
        .expect("an answer");
    assert_eq!(
        (manifest.status, manifest.header("docker-content-digest")),
        (200, Some(image.digest.as_str()))
    );
    let mut planned = image.manifests.len() as u64;
    for (digest, size) in &image.blobs {
        let path = format!("/v2/contoso/team/app/blobs/{digest}");
        for round in ["cold", "warm"] {
            let blob = download(node.pull(), &path).await.expect("a blob");
            assert_eq!((&blob.digest, &blob.bytes), (digest, size), "{round}");
        }
        let ranges = size.div_ceil(RANGE).max(1);
        planned += ranges;
        let hex = digest.split_once(':').expect("a digest").1;
        // Azurite writes its log beside its answers.
        eventually("storage logs its answers", Duration::from_secs(10), || {
            let asked =
                azurite.accesses(&format!("%2F{hex}%2Fdata?")).iter().filter(|line| is_read(line)).count();
            async move { if asked as u64 >= ranges { Ok(()) } else { Err(format!("{asked} of {ranges}")) } }
        })
        .await;
    }
    let counted = node.scrape().await.sum("dataproxy_cache_origin_requests_total", &[]);
    assert_eq!(counted as u64, planned, "the node asks for the planned ranges");
    let asked = azurite.accesses("%2Fdata?").iter().filter(|line| is_read(line)).count();
    assert_eq!(asked as u64, planned, "storage was asked for the planned ranges and no more");
    let log = node.settled_log().await;
    assert!(!log.contains("sig="), "a SAS is not logged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_is_not_there_is_a_404_and_a_container_or_account_that_is_not_is_an_outage() {
    let azurite = Azurite::start(&["first"]).await;
    let image = Image::empty_layer().await;
    let credential =
        format!("credential = \"shared_key\"\nsecret_file = \"{}\"", azurite.key_file("first").display());
    let stamp = stamp_over(&azurite, &credential, &image).await;
    let node = stamp.nodes[0].pull();
    let status = async |path: &str| raw_http::get(node, path).await.expect("an answer").status;
    let absent = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(status(&format!("/v2/contoso/team/app/manifests/{TAG}")).await, 200);
    assert_eq!(status("/v2/contoso/team/app/tags/list").await, 200);
    assert_eq!(status("/v2/contoso/team/app/manifests/none").await, 404);
    assert_eq!(status(&format!("/v2/contoso/team/none/blobs/{absent}")).await, 404);
    assert_eq!(status("/v2/fabrikam/app/tags/list").await, 404, "an empty container holds no repository");

    drop(azurite);
    for path in ["/v2/contoso/team/app/manifests/other", "/v2/contoso/team/other/tags/list"] {
        let status = status(path).await;
        assert!(matches!(status, 503 | 504), "{path} while the account does not answer: {status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_whose_container_is_not_there_is_an_outage_and_no_empty_registry() {
    let azurite = Azurite::start(&["first"]).await;
    let account = format!(
        "kind = \"azure\"\nendpoint = \"{}\"\ncredential = \"shared_key\"\nsecret_file = \"{}\"\n",
        azurite.endpoint("first"),
        azurite.key_file("first").display()
    );
    let stamp = Stamp::start_with(Options { account: Some(account), ..Options::default() }).await;
    for path in ["/v2/contoso/app/manifests/v1", "/v2/contoso/app/tags/list"] {
        let answer = raw_http::get(stamp.nodes[0].pull(), path).await.expect("an answer");
        assert_eq!(answer.status, 502, "{path}: {answer:?}");
    }
    assert!(stamp.nodes[0].settled_log().await.contains("ContainerNotFound"), "the log says why");
}

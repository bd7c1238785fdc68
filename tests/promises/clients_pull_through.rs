//! Real clients pull what another registry holds: Debian's docker-registry, asked by a node as Docker Hub would be.

use std::path::Path;
use std::time::Duration;

use dataproxy_tests::binary;
use dataproxy_tests::certificate;
use dataproxy_tests::client::{Client as _, Skopeo};
use dataproxy_tests::containerd::{self, Containerd};
use dataproxy_tests::docker_registry::{Access, DockerRegistry, PASSWORD, USERNAME};
use dataproxy_tests::dockerd::Dockerd;
use dataproxy_tests::eventually::eventually;
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::node::{Node, Options, Stamp};
use dataproxy_tests::raw_http;
use dataproxy_tests::run::must_run;
use dataproxy_tests::skopeo;
use dataproxy_tests::storage::Container;
use dataproxy_tests::token_service::TokenService;
use serde_json::json;

/// A node that pulls through the registry at `url` as `docker.io`, which is also what it is asked for without a name.
async fn hub(url: &str, account: &str, more: &str) -> Stamp {
    Stamp::start_with(Options {
        tenancy: "default_registry = \"hub\"\n".to_owned(),
        more: format!("[accounts.upstream]\nkind = \"registry\"\nurl = \"{url}\"\n{account}{more}"),
        bindings: vec![json!({
            "registry": "hub", "home_stamp": "a", "epoch": 1, "pull": "anonymous",
            "placement": { "account": "upstream" }, "hosts": ["docker.io"],
        })],
        ..Options::default()
    })
    .await
}

/// An upstream that holds `image` as `library/app`, open to all.
async fn upstream_of(root: &Path, image: &Image) -> DockerRegistry {
    Container::new(root.to_owned()).put_image(image, "library/app", TAG);
    DockerRegistry::start(root).await
}

/// GETs of content sent to the upstream: what it counts as pulls. A HEAD is none.
async fn fetched(node: &Node) -> u64 {
    node.scrape().await.sum("dataproxy_cache_origin_requests_total", &[]) as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_pulls_docker_hub_names_through_registry_mirrors() {
    let root = tempfile::tempdir().expect("a folder");
    let image = Image::multi_platform().await;
    let upstream = upstream_of(root.path(), &image).await;
    let stamp = hub(&format!("http://{}", upstream.address()), "", "").await;
    let node = &stamp.nodes[0];
    let mirror = format!("http://{}", node.pull());
    let dockerd = Dockerd::start_with(&json!({ "registry-mirrors": [mirror] }).to_string()).await;
    let client = &dockerd;

    // Nothing but loopback can be reached from here: what is pulled has come through the mirror.
    client.pull(&format!("app:{TAG}")).await;
    let name = format!("docker.io/library/app:{TAG}");
    assert_eq!(client.saved_layers(&name).await, image.platform("amd64").diff_ids);
    let lines = node.access("library/app").await;
    assert!(lines.iter().any(|line| line.to_string().contains("\"named_by\":\"default\"")), "{lines:?}");
    let cold = fetched(node).await;
    assert!(cold >= 4, "{cold} requests cannot have been an index, a manifest, a config and layers");

    client.forget().await;
    client.pull(&name).await;
    assert_eq!(fetched(node).await, cold, "a warm pull fetches nothing from the upstream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containerd_pulls_docker_io_by_ns_and_by_a_path_that_overrides() {
    let root = tempfile::tempdir().expect("a folder");
    let image = Image::multi_platform().await;
    let upstream = upstream_of(root.path(), &image).await;
    let stamp = hub(&format!("http://{}", upstream.address()), "", "").await;
    let containerd = Containerd::start().await;
    let hosts = containerd.hosts_dir();
    let name = format!("docker.io/library/app:{TAG}");
    let node = stamp.nodes[0].pull();
    for (mirror, more) in [
        (format!("http://{node}"), ""),
        (format!("http://{}", stamp.front.pull()), ""),
        (format!("http://{node}/t/hub"), ""),
        (format!("http://{node}/t/hub/v2"), "override_path = true"),
    ] {
        containerd::mirror(&hosts, "docker.io", &mirror, more);
        containerd.pull_by_hosts(&name, &hosts).await;
        containerd.check(&image).await;
        containerd.forget().await;
    }
    let log = stamp.nodes[0].access("library/app").await;
    for word in ["\"named_by\":\"ns\"", "\"named_by\":\"prefix\""] {
        assert!(log.iter().any(|line| line.to_string().contains(word)), "{word} in {log:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_by_tls_with_a_password_is_pulled_through() {
    let dir = tempfile::tempdir().expect("a folder");
    let image = Image::medium().await;
    let root = dir.path().join("root");
    Container::new(root.clone()).put_image(&image, "library/app", TAG);
    let certificate = certificate::make(&dir.path().join("tls"), &["127.0.0.1"]);
    let upstream = DockerRegistry::start_with(&root, Some(&certificate), &Access::Password).await;
    let password = dir.path().join("password");
    let login = |password: &Path| {
        let (password, authority) = (password.display(), certificate.authority.display());
        format!("username = \"{USERNAME}\"\npassword_file = \"{password}\"\nca_file = \"{authority}\"\n")
    };
    let url = format!("https://{}", upstream.address());

    std::fs::write(&password, format!("{PASSWORD}\n")).expect("a file can be written");
    let stamp = hub(&url, &login(&password), "").await;
    let name = format!("{}/library/app:{TAG}", stamp.nodes[0].pull());
    Skopeo::start().await.pull(&name, &image).await;
    let log = stamp.nodes[0].settled_log().await;
    assert!(!log.contains(PASSWORD), "the password is in the log");
    drop(stamp);

    // A wrong password is a refusal that docker shows, and nothing that looks like an absence.
    std::fs::write(&password, "another").expect("a file can be written");
    let stamp = hub(&url, &login(&password), "").await;
    let node = stamp.nodes[0].pull();
    let answer = raw_http::get(node, &format!("/v2/library/app/manifests/{TAG}")).await.expect("an answer");
    assert_eq!((answer.status, answer.error_code().as_deref()), (403, Some("DENIED")));
    let failed = Dockerd::start().await.docker(&["pull", &format!("{node}/library/app:{TAG}")]).await;
    let failed = failed.expect_err("a wrong password");
    assert!(failed.output.contains("the upstream registry denies the pull"), "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_registry_takes_the_tokens_that_its_service_gives_us() {
    let dir = tempfile::tempdir().expect("a folder");
    let image = Image::medium().await;
    let root = dir.path().join("root");
    Container::new(root.clone()).put_image(&image, "library/app", TAG);
    let service = TokenService::start(dir.path(), 300).await;
    let upstream = DockerRegistry::start_with(&root, None, &service.access()).await;
    let password = dir.path().join("password");
    std::fs::write(&password, PASSWORD).expect("a file can be written");
    let login = format!("username = \"{USERNAME}\"\npassword_file = \"{}\"\n", password.display());
    let url = format!("http://{}", upstream.address());
    let stamp = hub(&url, &login, "").await;
    let name = format!("{}/library/app:{TAG}", stamp.nodes[0].pull());
    Skopeo::start().await.pull(&name, &image).await;
    let asked = service.asked();
    assert_eq!(asked.len(), 1, "one token does for one repository: {asked:?}");
    assert!(asked[0].contains("scope=repository%3Alibrary%2Fapp%3Apull "), "{asked:?}");
    assert_eq!(asked_of(&stamp.nodes[0], "ok").await, 1);
    drop(stamp);

    std::fs::write(&password, "another").expect("a file can be written");
    let stamp = hub(&url, &login, "").await;
    let path = format!("/v2/library/app/manifests/{TAG}");
    for _ in 0..2 {
        let answer = raw_http::get(stamp.nodes[0].pull(), &path).await.expect("an answer");
        assert_eq!((answer.status, answer.error_code().as_deref()), (403, Some("DENIED")));
    }
    assert_eq!(asked_of(&stamp.nodes[0], "denied").await, 1, "a wrong password is not tried again at once");
}

async fn asked_of(node: &Node, outcome: &str) -> u64 {
    let label = format!("outcome=\"{outcome}\"");
    node.scrape().await.sum("dataproxy_upstream_tokens_total", &[&label]) as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_pushed_anew_upstream_is_seen_within_its_time_to_live() {
    let root = tempfile::tempdir().expect("a folder");
    let (before, after) = (Image::empty_layer().await, Image::multi_platform().await);
    let upstream = upstream_of(root.path(), &before).await;
    let stamp = hub(&format!("http://{}", upstream.address()), "", "").await;
    let client = Skopeo::start().await;
    let name = format!("{}/library/app:{TAG}", stamp.nodes[0].pull());
    client.pull(&name, &before).await;
    skopeo::push(&after.layout, TAG, &format!("{}/library/app:{TAG}", upstream.address())).await;
    eventually("the new image", Duration::from_secs(10), async || {
        client.forget().await;
        let (blobs, _) = skopeo::pull(&name, &client.folder()).await;
        if blobs == after.blobs { Ok(()) } else { Err(format!("{blobs:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cached_is_pulled_while_the_upstream_is_away_and_said_to_be_old() {
    let root = tempfile::tempdir().expect("a folder");
    let (before, after) = (Image::empty_layer().await, Image::multi_platform().await);
    let mut upstream = upstream_of(root.path(), &before).await;
    let more = "[freshness]\ntag_ttl = \"100ms\"\nlink_ttl = \"100ms\"\n";
    let stamp = hub(&format!("http://{}", upstream.address()), "", more).await;
    let node = stamp.nodes[0].pull();
    let client = Skopeo::start().await;
    let name = format!("{node}/library/app:{TAG}");
    client.pull(&name, &before).await;

    upstream.stop();
    let path = format!("/v2/library/app/manifests/{TAG}");
    let warning = async || {
        let answer = raw_http::get(node, &path).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.header("warning").map(str::to_owned)
    };
    let said =
        eventually("a warning", Duration::from_secs(10), async || warning().await.ok_or("none".to_owned()));
    assert!(said.await.starts_with("299 - "), "the tag is old");
    client.forget().await;
    client.pull(&name, &before).await;
    let unknown = raw_http::get(node, "/v2/library/app/manifests/v2").await.expect("an answer");
    assert_eq!(unknown.status, 503, "what was never seen is not said to be absent");

    upstream.resume().await;
    skopeo::push(&after.layout, TAG, &format!("{}/library/app:{TAG}", upstream.address())).await;
    eventually("the new image, without a warning", Duration::from_secs(15), async || {
        client.forget().await;
        let (blobs, _) = skopeo::pull(&name, &client.folder()).await;
        if blobs == after.blobs && warning().await.is_none() { Ok(()) } else { Err(format!("{blobs:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_and_referrers_are_the_upstreams_under_our_own_address() {
    let root = tempfile::tempdir().expect("a folder");
    let image = Image::empty_layer().await;
    let container = Container::new(root.path().to_owned());
    for tag in ["v1", "v2", "v3"] {
        container.put_image(&image, "library/app", tag);
    }
    let upstream = DockerRegistry::start(root.path()).await;
    let stamp = hub(&format!("http://{}", upstream.address()), "", "").await;
    let get = async |path: &str| raw_http::get(stamp.nodes[0].pull(), path).await.expect("an answer");
    let list = get("/v2/library/app/tags/list?n=2&ns=docker.io").await;
    assert_eq!(list.json(), Some(json!({ "name": "library/app", "tags": ["v1", "v2"] })));
    assert_eq!(
        list.header("link"),
        Some("</v2/library/app/tags/list?n=2&last=v2&ns=docker.io>; rel=\"next\"")
    );
    let rest = get("/v2/library/app/tags/list?n=2&last=v2&ns=docker.io").await;
    assert_eq!(
        (rest.json(), rest.header("link")),
        (Some(json!({ "name": "library/app", "tags": ["v3"] })), None)
    );
    let none = get("/v2/library/none/tags/list").await;
    assert_eq!((none.status, none.error_code().as_deref()), (404, Some("NAME_UNKNOWN")));
    let referrers = get(&format!("/v2/library/app/referrers/{}", image.digest)).await;
    let empty = json!([]);
    assert_eq!(
        (referrers.status, referrers.json().map(|index| index["manifests"].clone())),
        (200, Some(empty))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pull_through_example_is_one_that_a_node_takes_and_its_files_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pull-through");
    let config = folder.join("dataproxy.toml").display().to_string();
    let program = binary::path("dataproxy").await.display().to_string();
    let checked = must_run(&program, &["check", "--config", &config], Duration::from_secs(30)).await;
    assert!(
        checked.stdout.contains("account docker-hub: https://registry-1.docker.io"),
        "{}",
        checked.stdout
    );
    let mirror = checked.stdout.lines().find_map(|line| line.strip_prefix("pulls at "));
    let mirror = mirror.expect("it says where it serves").trim_end_matches('/').to_owned();
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("the example has this file");
    let daemon: serde_json::Value = serde_json::from_str(&read("daemon.json")).expect("JSON");
    assert_eq!(daemon["registry-mirrors"], json!([mirror]));
    let hosts: toml::Table = read("hosts.toml").parse().expect("TOML");
    assert!(hosts["host"].get(&mirror).is_some(), "{hosts}");
}

//! Real clients over TLS, and a certificate that changes under them.

use std::net::IpAddr;
use std::time::Duration;

use dataproxy_tests::certificate;
use dataproxy_tests::client::{Client as _, Skopeo};
use dataproxy_tests::containerd::{self, Containerd};
use dataproxy_tests::dockerd::Dockerd;
use dataproxy_tests::eventually::eventually;
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::node::{Options, Stamp};
use dataproxy_tests::skopeo;
use dataproxy_tests::throttle::Throttle;

const ADDRESSES: [&str; 3] = ["127.0.0.1", "127.0.1.0", "127.0.1.1"];

fn addresses() -> Vec<IpAddr> {
    ADDRESSES.iter().map(|address| address.parse().expect("an address")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_containerd_and_skopeo_pull_over_tls() {
    let dir = tempfile::tempdir().expect("a folder");
    let certificate = certificate::make(&dir.path().join("tls"), &addresses());
    let files = Some((certificate.server.clone(), certificate.key.clone()));
    let stamp = Stamp::start_with(Options { certificate: files, ..Options::default() }).await;
    let image = Image::multi_platform().await;
    stamp.container("contoso").put_image(&image, "app", TAG);
    let host = stamp.nodes[0].tls();
    let name = format!("{host}/contoso/app:{TAG}");
    let authority = certificate.authority.display();

    // skopeo takes every `*.crt` of a folder as an authority.
    let trusted = dir.path().join("trusted");
    certificate.trust_in(&trusted, "ca");
    let trust = format!("--src-cert-dir={}", trusted.display());
    let (blobs, _) = skopeo::pull_with(&[&trust], &name, &dir.path().join("image")).await;
    assert_eq!(blobs, image.blobs);

    let containerd = Containerd::start().await;
    let hosts = containerd.hosts_dir();
    let registry = "contoso.registry.test";
    containerd::mirror(&hosts, registry, &format!("https://{host}"), &format!("ca = \"{authority}\""));
    containerd.pull_by_hosts(&format!("{registry}/app:{TAG}"), &hosts).await;
    containerd.check(&image).await;

    // docker asks for no authority in 127.0.0.0/8, but it tries TLS first and stays with it where it is spoken.
    Dockerd::start().await.pull(&name).await;
    let handshakes = stamp.nodes[0].scrape().await.sum("dataproxy_connections_total", &["listener=\"tls\""]);
    assert!(handshakes >= 10.0, "three clients made {handshakes} connections over TLS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_served_and_the_pull_under_way_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    let old = certificate::make(&path("old"), &addresses());
    let new = certificate::make(&path("new"), &addresses());
    old.trust_in(&path("trust-old"), "old");
    old.trust_in(&path("trust-both"), "old");
    new.trust_in(&path("trust-both"), "new");
    new.trust_in(&path("trust-new"), "new");
    let trust = |name: &str| format!("--src-cert-dir={}", path(name).display());
    let options = Options { certificate: Some(old.put_into(&path("served"))), ..Options::default() };
    let stamp = Stamp::start_with(options).await;
    let (image, small) = (Image::medium().await, Image::empty_layer().await);
    stamp.container("contoso").put_image(&image, "app", TAG);
    stamp.container("contoso").put_image(&small, "small", TAG);
    let host = stamp.nodes[0].tls();
    let from = format!("docker://{host}/contoso/small:{TAG}");

    let slow = Throttle::start(host, 12 << 20).await;
    let (name, folder, both) =
        (format!("{}/contoso/app:{TAG}", slow.address()), path("image"), trust("trust-both"));
    let both = [both.as_str()];
    let pull = skopeo::pull_with(&both, &name, &folder);
    let change = async {
        slow.wait_for_bytes(8 << 20).await;
        new.put_into(&path("served"));
        let client = Skopeo::start().await;
        let to = format!("dir:{}", client.folder().display());
        eventually("the new certificate", Duration::from_secs(10), async || {
            let copied = skopeo::copy(&[&trust("trust-new")], &from, &to).await;
            copied.map(drop).map_err(|failed| failed.to_string())
        })
        .await;
    };
    let ((blobs, _), ()) = tokio::join!(pull, change);
    assert_eq!(blobs, image.blobs);
    let to = format!("dir:{}", path("refused").display());
    let refused = skopeo::copy(&[&trust("trust-old")], &from, &to).await;
    let refused = refused.expect_err("the old authority does not vouch for the new certificate");
    assert!(refused.output.contains("certificate"), "{refused}");
}

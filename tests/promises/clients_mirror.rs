//! containerd's `hosts.toml` sends pulls of one host to another, which learns the host from `?ns=`.

use dataproxy_tests::containerd::{self, Containerd};
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::node::{Stamp, ZONE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containerd_pulls_by_the_registrys_own_name_through_a_mirror() {
    let stamp = Stamp::start().await;
    let image = Image::multi_platform().await;
    stamp.container("fabrikam").put_image(&image, "team/app", TAG);
    let containerd = Containerd::start().await;
    let hosts = containerd.hosts_dir();
    let host = format!("fabrikam.{ZONE}");
    let name = format!("{host}/team/app:{TAG}");

    for address in [stamp.nodes[0].pull(), stamp.front.pull()] {
        containerd::mirror(&hosts, &host, &format!("http://{address}"), "");
        containerd.pull_by_hosts(&name, &hosts).await;
        containerd.check(&image).await;
        containerd.forget().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_names_only_registries_of_the_zone() {
    let stamp = Stamp::start().await;
    stamp.container("contoso").put_image(&Image::empty_layer().await, "app", TAG);
    let containerd = Containerd::start().await;
    let hosts = containerd.hosts_dir();
    let mirror = format!("http://{}", stamp.nodes[0].pull());
    for host in ["unknown.registry.test", "contoso.elsewhere.test"] {
        containerd::mirror(&hosts, host, &mirror, "");
        let hosts = hosts.display().to_string();
        let pulled =
            containerd.ctr(&["images", "pull", "--hosts-dir", &hosts, &format!("{host}/app:{TAG}")]).await;
        let failed = pulled.expect_err(host);
        assert!(failed.output.contains("not found"), "{host}: {failed}");
    }
}

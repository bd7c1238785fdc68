//! A whole region over Azurite, pulled by real clients.

use std::time::Duration;

use dataproxy_tests::client::{Client as _, Skopeo};
use dataproxy_tests::containerd::Containerd;
use dataproxy_tests::daemon::signal;
use dataproxy_tests::dockerd::Dockerd;
use dataproxy_tests::eventually::eventually;
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::region::Region;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_and_containerd_pull_what_is_seeded_and_imported_and_azurite_may_die() {
    let mut region = Region::start_with(&["--azurite"]).await;
    let front = region.pull("front");
    let dockerd = Dockerd::start().await;
    dockerd.pull(&format!("{front}/contoso/hello:v1")).await;
    let containerd = Containerd::start().await;
    containerd.pull(&format!("{front}/contoso/multi:v1"), &[]).await;
    containerd.check_content().await;

    // What is imported while the region runs is there at once.
    let image = Image::multi_platform().await;
    let imported =
        region.import(&image.layout, &format!("fabrikam/team/app:{TAG}")).await.expect("an import");
    assert!(imported.stdout.contains("put into azurite"), "{}", imported.stdout);
    let client = Skopeo::start().await;
    client.pull(&format!("{front}/fabrikam/team/app:{TAG}"), &image).await;

    // The local folders are no way around Azurite.
    let settings = std::fs::read_to_string(region.data().join("nodes/a1.toml")).expect("settings");
    assert!(settings.contains("kind = \"azure\"") && !settings.contains("kind = \"local\""), "{settings}");

    let before = region.azurite_pid().expect("azurite runs");
    signal(before, "KILL");
    eventually("azurite is started again", Duration::from_secs(20), async || match region.log() {
        log if log.contains("azurite holds all of the accounts again") => Ok(()),
        log => Err(log),
    })
    .await;
    assert_ne!(region.azurite_pid(), Some(before));
    client.forget().await;
    client.pull(&format!("{}/fabrikam/team/app:{TAG}", region.pull("b1")), &image).await;

    region.kill_9_itself();
    eventually("azurite ends with its region", Duration::from_secs(20), async || {
        match region.azurite_pid() {
            None => Ok(()),
            Some(pid) => Err(format!("process {pid}")),
        }
    })
    .await;
}

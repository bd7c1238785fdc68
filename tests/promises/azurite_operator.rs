//! The page for operators who have a registry's content in Azure, done as it says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dataproxy_tests::azurite::Azurite;
use dataproxy_tests::containerd::Containerd;
use dataproxy_tests::daemon::Daemon;
use dataproxy_tests::dockerd::Dockerd;
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::storage::Container;
use dataproxy_tests::{binary, ports, raw_http, run};

use crate::azurite_pull::upload;
use crate::azurite_suites::by_key;

const LIMIT: Duration = Duration::from_secs(30);

/// The first block of this language on the page.
fn block(language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/from-distribution.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let (_, rest) = page.split_once(&format!("```{language}\n")).expect("a block");
    rest.split_once("```").expect("its end").0.to_owned()
}

/// The page's two files, with this machine's addresses in place of the page's.
async fn files(dir: &Path, azurite: &Azurite) -> (PathBuf, String) {
    let [pull, admin] = [ports::free_address(), ports::free_address()].map(|address| address.to_string());
    let here = |text: String| text.replace("127.0.0.1:5000", &pull).replace("127.0.0.1:9100", &admin);
    let endpoint = format!("endpoint = \"{}\"", azurite.endpoint("contosoblobs"));
    let settings = here(block("toml"));
    assert!(settings.contains("account = \"contosoblobs\""), "{settings}");
    std::fs::write(dir.join("node.toml"), settings.replace("account = \"contosoblobs\"", &endpoint))
        .expect("written");
    std::fs::write(dir.join("bindings.json"), here(block("json"))).expect("written");
    std::fs::copy(azurite.sas_file("contosoblobs").await, dir.join("sas")).expect("copied");
    (dir.join("node.toml"), pull)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_for_operators_leads_to_a_pull() {
    let dir = tempfile::tempdir().expect("a folder");
    let azurite = Azurite::start(&["contosoblobs"]).await;
    let image = Image::multi_platform().await;
    let content = Container::new(dir.path().join("content"));
    content.put_image(&image, "team/app", TAG);
    // Named as older versions do: with a slash in front.
    upload(&by_key(&azurite, "contosoblobs"), "registry", "/", content.dir()).await;
    let (config, pull) = files(dir.path(), &azurite).await;
    let program = binary::path("dataproxy").await.display().to_string();
    let config = config.display().to_string();

    run::must_run(&program, &["check", "--config", &config], LIMIT).await;
    let reached = run::must_run(&program, &["check", "--config", &config, "--reach"], LIMIT).await;
    println!("{}", reached.stdout);
    let log = dir.path().join("log");
    let mut node = Daemon::start("dataproxy", &log, &program, &["serve", "--config", &config]);
    let address = pull.parse().expect("an address");
    node.wait_until_ready(async || match raw_http::get(address, "/v2/contoso/team/app/tags/list").await {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let name = format!("{pull}/contoso/team/app:{TAG}");
    let dockerd = Dockerd::start().await;
    dockerd.pull(&name).await;
    assert_eq!(dockerd.saved_layers(&name).await, image.platform("amd64").diff_ids);
    let containerd = Containerd::start().await;
    containerd.pull(&name, &[]).await;
    containerd.check_content().await;

    // A wrong prefix shows as the page says: nothing is found, and storage has no complaint.
    let bindings = dir.path().join("bindings.json");
    let wrong = std::fs::read_to_string(&bindings)
        .expect("bindings")
        .replace("\"prefix\": \"/\"", "\"prefix\": \"\"");
    std::fs::write(&bindings, wrong.replace("\"revision\": 1", "\"revision\": 2")).expect("written");
    run::must_run(&program, &["check", "--config", &config, "--reach"], LIMIT).await;
}

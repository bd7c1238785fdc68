//! `loadtest peers` starts real servers, and ends them whatever happens.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use dataproxy_tests::daemon;
use dataproxy_tests::eventually::eventually;
use dataproxy_tests::run::{Failed, Ran};
use dataproxy_tests::{binary, run};
use serde_json::Value;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(150);

/// A comparison of next to nothing in a folder of its own.
struct Comparison {
    dir: TempDir,
    loadtest: PathBuf,
}

impl Comparison {
    async fn new() -> Self {
        let dir = TempDir::with_prefix("peers.").expect("a folder can be made");
        Self { dir, loadtest: binary::path("loadtest").await }
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let folder = self.folder().display().to_string();
        let mut all =
            vec!["peers", "--folder", &folder, "--large", "2", "--large-size", "256KiB", "--rounds", "1"];
        all.extend(["--allow-noise", "--allow-pacing"]);
        all.extend(more);
        all.into_iter().map(str::to_owned).collect()
    }

    async fn run(&self, more: &[&str]) -> Result<Ran, Failed> {
        run::run(&self.loadtest.display().to_string(), &self.arguments(more), LIMIT).await
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("folder")
    }

    /// The processes whose command line or working folder is of this comparison.
    fn left(&self) -> Vec<String> {
        let folder = self.folder().display().to_string();
        let mut left = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("Linux") {
            let path = entry.expect("an entry").path();
            let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let cwd = std::fs::read_link(path.join("cwd")).unwrap_or_default();
            // loadtest itself, where it is still there to be asked.
            if (line.contains(&folder) || cwd.starts_with(&folder)) && !line.contains(" peers ") {
                left.push(line);
            }
        }
        left
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_server_serves_the_same_content_is_measured_and_ends() {
    let comparison = Comparison::new().await;
    let dataproxy = binary::path("dataproxy").await.display().to_string();
    let [json, html] = ["result.json", "page.html"].map(|name| comparison.dir.path().join(name));
    let (json, html) = (json.display().to_string(), html.display().to_string());
    let ran = comparison
        .run(&["--seconds", "0.5", "--tls", "--dataproxy", &dataproxy, "--json", &json, "--html", &html])
        .await
        .unwrap_or_else(|failed| panic!("{failed}"));
    assert_eq!(comparison.left(), Vec::<String>::new());
    let found: Value = serde_json::from_slice(&std::fs::read(&json).expect("written")).expect("JSON");
    let rows = found["rows"].as_array().expect("rows");
    for (server, schemes) in
        [("dataproxy", 2), ("nginx", 2), ("varnish", 1), ("trafficserver", 2), ("docker-registry", 2)]
    {
        let own: Vec<&Value> = rows.iter().filter(|row| row["server"] == server).collect();
        assert_eq!(own.len(), schemes * 5, "{server}");
        for row in own {
            let sample = &row["samples"][0];
            assert_eq!(sample["failed"], 0, "{row}");
            assert!(sample["peak_rss"].as_u64().expect("bytes") > 1 << 20, "{row}");
        }
        assert!(ran.stdout.contains(&format!("| {server} |")), "{}", ran.stdout);
    }
    assert!(std::fs::read_to_string(&html).expect("written").contains("docker-registry"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_fails_is_named_and_the_others_end() {
    let comparison = Comparison::new().await;
    for (arguments, expected) in [
        (["--only", "nginx,dataproxy", "--dataproxy", "/bin/false"], "dataproxy does not start"),
        (
            ["--only", "nginx,varnish", "--external", "gone=http://127.0.0.1:1,1"],
            "gone does not serve the content",
        ),
    ] {
        let failed = comparison.run(&arguments).await.expect_err("it must fail");
        assert_eq!(failed.status.and_then(|status| status.code()), Some(3), "{failed}");
        assert!(failed.output.contains(expected), "{failed}");
        assert_eq!(comparison.left(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_installed_is_named_with_what_brings_it_or_left_out() {
    let comparison = Comparison::new().await;
    let missing = ["--only", "nginx,dataproxy", "--dataproxy", "/no/such/dataproxy", "--seconds", "0.2"];
    let failed = comparison.run(&missing).await.expect_err("it must fail");
    assert_eq!(failed.status.and_then(|status| status.code()), Some(3), "{failed}");
    assert!(failed.output.contains("cargo build --release -p dataproxy"), "{failed}");
    let mut skipping = missing.to_vec();
    skipping.extend(["--skip-missing", "--work", "small"]);
    let ran = comparison.run(&skipping).await.unwrap_or_else(|failed| panic!("{failed}"));
    assert!(ran.stdout.contains("| nginx |") && ran.stdout.contains("left out"), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_the_servers() {
    let comparison = Comparison::new().await;
    let arguments = comparison.arguments(&["--only", "nginx,varnish,docker-registry", "--seconds", "600"]);
    let mut child = tokio::process::Command::new(&comparison.loadtest)
        .args(&arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it can be run");
    let last = comparison.folder().join("docker-registry-tls/log");
    eventually("every server runs", LIMIT, || {
        // nginx and the origin with their workers, two processes of varnish, two registries.
        let left = comparison.left();
        let all = left.len() >= 8 && last.exists();
        async move { if all { Ok(()) } else { Err(format!("only {left:?}")) } }
    })
    .await;
    daemon::signal(child.id().expect("it runs"), "INT");
    let status = tokio::time::timeout(LIMIT, child.wait()).await.expect("it ends").expect("it ran");
    assert_eq!(status.code(), Some(130));
    assert_eq!(comparison.left(), Vec::<String>::new());
}

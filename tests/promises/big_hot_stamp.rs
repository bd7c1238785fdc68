//! A stamp that is hot, for real: its nodes measure themselves, the router plans from what they told, a person agrees, the
//! plan is carried out under load, and what was predicted is compared with what came. Scaled: bins of a second, windows
//! of a minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dataproxy_tests::download::download;
use dataproxy_tests::eventually::eventually;
use dataproxy_tests::image::Image;
use dataproxy_tests::region::Region;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const LIMIT: Duration = Duration::from_secs(240);
/// Registries, and clients that pull from each without a pause.
const LOADS: [(&str, usize); 2] = [("contoso", 1), ("fabrikam", 2)];

async fn asked(region: &Region, arguments: &[&str]) -> Result<Value, String> {
    let mut all = arguments.to_vec();
    all.extend(["-o", "json"]);
    let shown = region.stampctl(&all).await.map_err(|error| error.to_string())?;
    serde_json::from_str(&shown.stdout).map_err(|error| format!("{error}: {}", shown.stdout))
}

/// The signal of a stamp's pool.
async fn signal(region: &Region, stamp: &str) -> Result<Value, String> {
    let all = asked(region, &["top"]).await?;
    let found = all.as_array().into_iter().flatten().find(|signal| signal["stamp"] == stamp);
    found.cloned().ok_or_else(|| format!("stamp {stamp} has no signal: {all}"))
}

fn percent(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN) * 100.0
}

/// Pulls a blob of each registry over and over; gives the pulls and what failed.
async fn load(
    region: Arc<Region>,
    registry: &str,
    blobs: Vec<String>,
    stop: Arc<AtomicBool>,
) -> (usize, Vec<String>) {
    let (mut pulls, mut failures) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        for digest in &blobs {
            let target = format!("/v2/{registry}/app/blobs/{digest}");
            // As a client by DNS: it goes where the registry is.
            let address = region.resolve(registry).await;
            match download(address, &target).await {
                Ok(came) if came.digest == *digest => pulls += 1,
                other => failures.push(format!("{registry} from {address}: {other:?}")),
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (pulls, failures)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_stamp_is_measured_planned_for_and_relieved_as_predicted_with_no_failed_pull() {
    let image = Image::medium().await;
    let region = Arc::new(Region::start_with(&["--no-seed", "--bin-seconds", "1"]).await);
    for (registry, _) in LOADS {
        region.import(&image.layout, &format!("{registry}/app:v1")).await.expect("an import");
    }
    // Both at stamp a, which makes it the hot one.
    let at_a =
        ["registry", "move", "fabrikam", "--to", "a", "--quiet", "1s", "--drain", "5s", "--observe", "1s"];
    region.stampctl(&at_a).await.expect("moved");
    let settled = async || {
        let shown = asked(&region, &["registry", "show", "fabrikam"]).await?;
        let is = (&shown["home_stamp"], &shown["phase"]) == (&json!("a"), &json!("stable"));
        if is { Ok(()) } else { Err(format!("{shown}")) }
    };
    eventually("fabrikam is at a", LIMIT, settled).await;

    let stop = Arc::<AtomicBool>::default();
    let mut clients = JoinSet::new();
    let blobs: Vec<String> = image.blobs.keys().cloned().collect();
    for (registry, count) in LOADS {
        for _ in 0..count {
            let (region, stop, blobs) = (Arc::clone(&region), Arc::clone(&stop), blobs.clone());
            clients.spawn(async move { load(region, registry, blobs, stop).await });
        }
    }
    // A whole window of one-second bins under load.
    let full = async || {
        let signal = signal(&region, "a").await?;
        let valid = signal["signal"]["status"]["is"] == "valid" && percent(&signal["signal"]["avg"]) > 2.0;
        let own = signal["signal"]["bins"] == 60;
        if valid && own { Ok(signal) } else { Err(format!("{signal}")) }
    };
    tokio::time::sleep(Duration::from_secs(65)).await;
    let before = eventually("stamp a is measured", LIMIT, full).await;
    println!("before: {before:#}");

    let file = region.data().join("plan.json");
    let policy = region.data().join("policy.json");
    // A minute is no day: what keeps moves apart by days does not apply, and a phase is watched for one window.
    let scaled = json!({
        "execution": {"autonomy": "execute", "drift": 0.25},
        "planning": {
            "registry_cooldown": 0, "pair_cooldown": 0, "no_move_back": 0, "observe": 70, "observe_large": 70,
            "destination": 0.95, "node_lost": 1.0, "hot": 0.9, "goal": 0.8,
        },
    });
    std::fs::write(&policy, scaled.to_string()).expect("written");
    let policy = policy.display().to_string();
    region.stampctl(&["policy", "set", &policy, "--reason", "scaled"]).await.expect("a policy");
    let save = file.display().to_string();
    let make =
        ["plan", "make", "--move", "fabrikam", "--to", "b", "--save", &save, "--submit", "--reason", "hot"];
    let made = region.stampctl(&make).await.expect("a plan");
    println!("{}", made.stdout);
    let plan: Value = serde_json::from_slice(&std::fs::read(&file).expect("saved")).expect("JSON");
    let id = plan["id"].as_str().expect("an id").to_owned();
    region.stampctl(&["plan", "approve", &id, "--reason", "looks right"]).await.expect("approved");
    region.stampctl(&["apply", &id]).await.expect("applied");
    let ended = async || {
        let shown = asked(&region, &["plan", "show", &id]).await?;
        match shown["state"].as_str() {
            Some("running") | None => Err(format!("{}: {}", shown["state"], shown["next"])),
            Some(_) => Ok(shown),
        }
    };
    let done = eventually("the plan ends", LIMIT, ended).await;
    stop.store(true, Ordering::Relaxed);
    let (mut pulls, mut failures) = (0, Vec::new());
    while let Some(came) = clients.join_next().await {
        let (more, failed) = came.expect("a client does not panic");
        pulls += more;
        failures.extend(failed);
    }
    println!("{}", region.stampctl(&["plan", "show", &id]).await.expect("shown").stdout);
    println!("{}", region.stampctl(&["plan", "ledger"]).await.expect("shown").stdout);
    println!("{pulls} pulls, {} failed", failures.len());
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!(done["state"], "done", "{done:#}");
    let readings = done["phases"][0]["gate"]["readings"].as_array().expect("readings").clone();
    let source =
        readings.iter().find(|reading| reading["check"] == "source-p95").expect("the source was judged");
    let figures = &source["figures"];
    assert!(percent(&figures["actual"]) < percent(&figures["before"]), "stamp a is cooler: {figures}");
}

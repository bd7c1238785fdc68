//! A registry goes from one stamp to another, a stamp dies, a node is drained, the router is killed: under pulls, none of
//! which fails. The region's real processes, clients that go through the front door, clients that ask DNS each time and
//! clients that never look up anything again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dataproxy_tests::client::{Client as _, Skopeo};
use dataproxy_tests::containerd::Containerd;
use dataproxy_tests::daemon::signal;
use dataproxy_tests::dockerd::Dockerd;
use dataproxy_tests::download::download;
use dataproxy_tests::eventually::eventually;
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::region::Region;
use tokio::task::JoinSet;

const LIMIT: Duration = Duration::from_secs(60);

/// How a client finds whom to ask.
#[derive(Clone, Copy)]
enum Finds {
    /// Through the front door.
    Front,
    /// By DNS, anew for each pull.
    Dns,
    /// By an address that it has had since before anything moved.
    Pinned(&'static str),
}

/// What the clients have seen.
#[derive(Debug, Default)]
struct Seen {
    pulls: usize,
    failures: Vec<String>,
    /// First bytes of blobs, in milliseconds.
    first_bytes: Vec<f64>,
}

impl Seen {
    fn p99(&mut self) -> f64 {
        self.first_bytes.sort_by(f64::total_cmp);
        self.first_bytes.get(self.first_bytes.len() * 99 / 100).copied().unwrap_or_default()
    }
}

/// Clients that pull one image over and over until they are told to stop.
struct Pullers {
    stop: Arc<AtomicBool>,
    running: JoinSet<Seen>,
}

impl Pullers {
    fn start(region: &Arc<Region>, image: &Image, clients: &[Finds]) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let mut running = JoinSet::new();
        let blobs: Arc<Vec<(String, u64)>> = Arc::new(image.blobs.clone().into_iter().collect());
        for finds in clients.iter().copied() {
            let (region, stop, blobs) = (Arc::clone(region), Arc::clone(&stop), Arc::clone(&blobs));
            running.spawn(async move {
                let mut seen = Seen::default();
                while !stop.load(Ordering::Relaxed) {
                    let address = match finds {
                        Finds::Front => region.pull("front"),
                        Finds::Dns => region.resolve("contoso").await,
                        Finds::Pinned(node) => region.pull(node),
                    };
                    if let Err(error) = pull(address, &blobs, &mut seen).await {
                        seen.failures.push(format!("{address}: {error}"));
                    }
                    seen.pulls += 1;
                }
                seen
            });
        }
        Self { stop, running }
    }

    async fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        while let Some(seen) = self.running.join_next().await {
            let seen = seen.expect("a client does not panic");
            all.pulls += seen.pulls;
            all.failures.extend(seen.failures);
            all.first_bytes.extend(seen.first_bytes);
        }
        all
    }
}

async fn pull(address: SocketAddr, blobs: &[(String, u64)], seen: &mut Seen) -> Result<(), String> {
    let say = |error: std::io::Error| error.to_string();
    download(address, &format!("/v2/contoso/app/manifests/{TAG}")).await.map_err(say)?;
    for (digest, size) in blobs {
        let came = download(address, &format!("/v2/contoso/app/blobs/{digest}")).await.map_err(say)?;
        if (&came.digest, came.bytes) != (digest, *size) {
            return Err(format!("{digest} of {size} bytes came as {came:?}"));
        }
        seen.first_bytes.extend(came.first_byte.map(|time| time.as_secs_f64() * 1000.0));
    }
    Ok(())
}

async fn region_with(image: &Image) -> Arc<Region> {
    let region = Region::start().await;
    region.import(&image.layout, &format!("contoso/app:{TAG}")).await.expect("an import");
    Arc::new(region)
}

const EVERYBODY: [Finds; 8] = [
    Finds::Front,
    Finds::Front,
    Finds::Front,
    Finds::Dns,
    Finds::Dns,
    Finds::Pinned("a1"),
    Finds::Pinned("a2"),
    Finds::Pinned("b1"),
];

/// Moves `contoso` and waits until the move has ended; gives the times to the switch and to a quiet source, in seconds.
async fn move_to(region: &Region, stamp: &str) -> (f64, f64) {
    let asked = [
        "registry",
        "move",
        "contoso",
        "--to",
        stamp,
        "--quiet",
        "1s",
        "--drain",
        "5s",
        "--observe",
        "1s",
        "-o",
        "json",
    ];
    let moved = region.stampctl(&asked).await.expect("the move begins");
    let answer: serde_json::Value = serde_json::from_str(&moved.stdout).expect("JSON");
    let id = answer["migration"].as_str().expect("a move").to_owned();
    let shown = ended(region, &id).await;
    assert_eq!(shown["state"], "done", "{shown:#}");
    let seconds = |name: &str| shown[name].as_f64().expect("a time") / 1000.0;
    (seconds("to_switch_ms"), seconds("to_drained_ms"))
}

async fn ended(region: &Region, id: &str) -> serde_json::Value {
    eventually(id, LIMIT, async || {
        // The router may be starting again.
        let shown =
            region.stampctl(&["migration", "show", id, "-o", "json"]).await.map_err(|e| e.to_string())?;
        let shown: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
        match shown["state"].as_str() {
            Some("done" | "aborted" | "rolled_back") => Ok(shown),
            _ => Err(format!("{shown:#}")),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_see_nothing_of_a_registry_that_moves_to_and_fro_under_their_pulls() {
    let image = Image::medium().await;
    let region = region_with(&image).await;
    let calm = Pullers::start(&region, &image, &EVERYBODY);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut calm = calm.stop().await;

    let pullers = Pullers::start(&region, &image, &EVERYBODY);
    let mut times = Vec::new();
    for stamp in ["b", "a", "b", "a"] {
        times.push(move_to(&region, stamp).await);
        let answered = region.resolve("contoso").await.ip();
        let home = if stamp == "a" { "127.0.1." } else { "127.0.2." };
        assert!(answered.to_string().starts_with(home), "DNS says {answered}, and the home is {stamp}");
    }
    let mut seen = pullers.stop().await;
    let (p99, p99_before) = (seen.p99(), calm.p99());
    println!(
        "{} pulls while contoso moved 4 times; {} failed; to the switch and from there to a quiet source: {times:.1?} s; \
         first byte p99 {p99:.1} ms, before {p99_before:.1} ms over {} pulls",
        seen.pulls,
        seen.failures.len(),
        calm.pulls,
    );
    assert_eq!((calm.failures, seen.failures), (Vec::<String>::new(), Vec::new()));
    assert!(seen.pulls > 20, "{} pulls show little", seen.pulls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_docker_containerd_and_skopeo_pull_while_their_registry_moves() {
    let image = Image::debian().await;
    let region = Region::start().await;
    region.import(&image.layout, "contoso/debian:v1").await.expect("an import");
    let region = Arc::new(region);
    let (stop, moved) = (Arc::<AtomicBool>::default(), Arc::clone(&region));
    let stopped = Arc::clone(&stop);
    let moves = tokio::spawn(async move {
        let mut moves = 0;
        while !stopped.load(Ordering::Relaxed) {
            move_to(&moved, ["b", "a"][moves % 2]).await;
            moves += 1;
        }
        moves
    });
    let name = format!("{}/contoso/debian:v1", region.pull("front"));
    let (dockerd, containerd, skopeo) =
        (Dockerd::start().await, Containerd::start().await, Skopeo::start().await);
    for _ in 0..3 {
        dockerd.pull(&name).await;
        assert_eq!(dockerd.saved_layers(&name).await, image.platform("amd64").diff_ids);
        dockerd.forget().await;
        containerd.pull(&name, &[]).await;
        containerd.check_content().await;
        containerd.forget().await;
        skopeo.pull(&name, &image).await;
        skopeo.forget().await;
    }
    stop.store(true, Ordering::Relaxed);
    println!("9 pulls while contoso moved {} times", moves.await.expect("every move ended"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_go_on_when_a_stamp_dies_and_its_registries_are_evacuated() {
    let image = Image::medium().await;
    let region = region_with(&image).await;
    let nodes: Vec<u32> = ["a1", "a2"].iter().map(|node| region.pid(node).expect("it runs")).collect();
    // Frozen and not killed: the region would start them again.
    nodes.iter().for_each(|pid| signal(*pid, "STOP"));
    let died = Instant::now();
    eventually("the nodes are gone", LIMIT, async || {
        let shown =
            region.stampctl(&["node", "ls", "-o", "json"]).await.map_err(|error| error.to_string())?;
        let nodes: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
        let gone =
            nodes.as_array().into_iter().flatten().filter(|node| node["node"]["state"] == "gone").count();
        if gone == 2 { Ok(()) } else { Err(format!("{gone} of 2 are gone")) }
    })
    .await;
    let noticed = died.elapsed();
    region
        .stampctl(&["stamp", "evacuate", "a", "--to", "b", "--quiet", "1s", "--observe", "1s"])
        .await
        .expect("evacuated");
    eventually("DNS says b", LIMIT, async || match region.resolve("contoso").await.ip().to_string() {
        ip if ip.starts_with("127.0.2.") => Ok(()),
        ip => Err(ip),
    })
    .await;
    let took = died.elapsed();
    let pullers = Pullers::start(&region, &image, &[Finds::Front, Finds::Dns, Finds::Dns]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let seen = pullers.stop().await;
    nodes.iter().for_each(|pid| signal(*pid, "CONT"));
    println!(
        "noticed after {noticed:.1?}, answered by b after {took:.1?}; {} pulls, {:?}",
        seen.pulls, seen.failures
    );
    assert_eq!(seen.failures, Vec::<String>::new());
    assert!(seen.pulls > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_see_nothing_of_a_node_that_is_drained_and_starts_again() {
    let image = Image::medium().await;
    let region = region_with(&image).await;
    let pullers = Pullers::start(&region, &image, &[Finds::Front, Finds::Front, Finds::Dns, Finds::Dns]);
    for node in ["a1", "a2"] {
        let before = region.pid(node).expect("it runs");
        region
            .stampctl(&["node", "drain", node, "--deadline", "30s", "--reason", "a test"])
            .await
            .expect("drained");
        eventually("another process", LIMIT, async || match region.pid(node) {
            Some(pid) if pid != before => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        region.wait_until_ready(node).await;
        eventually("in rotation", LIMIT, async || {
            let shown =
                region.stampctl(&["node", "show", node, "-o", "json"]).await.map_err(|e| e.to_string())?;
            let shown: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
            if shown["in_rotation"] == true { Ok(()) } else { Err(format!("{shown:#}")) }
        })
        .await;
    }
    let seen = pullers.stop().await;
    println!("{} pulls while two nodes were drained in turn: {:?}", seen.pulls, seen.failures);
    assert_eq!(seen.failures, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_see_nothing_of_a_stamp_that_is_restarted_node_by_node() {
    restarted(&[Finds::Front, Finds::Front, Finds::Dns, Finds::Dns], false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_see_nothing_of_a_stamp_whose_restart_outlives_its_router() {
    // With the router its DNS is away, as another router's would not be.
    restarted(&[Finds::Front, Finds::Front, Finds::Pinned("b1")], true).await;
}

/// Restarts stamp a under the pulls of these clients; kills the router when a node has had its turn.
async fn restarted(clients: &[Finds], kills: bool) {
    let image = Image::medium().await;
    let region = region_with(&image).await;
    let pullers = Pullers::start(&region, &image, clients);
    let before = ["a1", "a2"].map(|node| region.pid(node).expect("it runs"));
    let alone = region.stampctl(&["stamp", "restart", "a", "--max-unavailable", "2"]).await;
    let refused = alone.expect_err("nobody would serve").to_string();
    assert!(refused.contains("at most 1 is right"), "{refused}");
    let began = Instant::now();
    let asked = ["stamp", "restart", "a", "--max-unavailable", "1", "--deadline", "30s", "--settle", "6s"];
    region.stampctl(&asked).await.expect("the restart begins");
    let show = async || {
        // The router may be starting again.
        let shown = region.stampctl(&["stamp", "show-restart", "a", "-o", "json"]).await;
        let shown = shown.map_err(|error| error.to_string())?;
        let shown: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
        Ok::<_, String>(shown)
    };
    eventually("a node has had its turn", LIMIT * 2, async || {
        let shown = show().await?;
        if shown["nodes"][0]["turn"] == "back" { Ok(()) } else { Err(format!("{shown:#}")) }
    })
    .await;
    if kills {
        signal(region.router_pid().expect("the router runs"), "KILL");
    }
    let shown = eventually("the end", LIMIT * 2, async || {
        let shown = show().await?;
        if shown["state"] == "running" { Err(format!("{shown:#}")) } else { Ok(shown) }
    })
    .await;
    let took = began.elapsed();
    let seen = pullers.stop().await;
    println!("{} pulls while stamp a was restarted in {took:.1?}: {:?}", seen.pulls, seen.failures);
    assert_eq!((&shown["state"], &shown["paused"]), (&"done".into(), &serde_json::Value::Null), "{shown:#}");
    for (node, before) in ["a1", "a2"].into_iter().zip(before) {
        assert_ne!(region.pid(node).expect("it runs"), before, "{node} has a new process");
    }
    assert_eq!(seen.failures, Vec::<String>::new());
    assert!(seen.pulls > 20, "{} pulls show little", seen.pulls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_see_nothing_of_a_router_that_is_killed_and_its_move_goes_on() {
    let image = Image::medium().await;
    let region = region_with(&image).await;
    let pullers = Pullers::start(&region, &image, &[Finds::Front, Finds::Front, Finds::Pinned("a1")]);
    let asked = [
        "registry",
        "move",
        "contoso",
        "--to",
        "b",
        "--quiet",
        "3s",
        "--drain",
        "8s",
        "--observe",
        "1s",
        "-o",
        "json",
    ];
    let moved = region.stampctl(&asked).await.expect("the move begins");
    let answer: serde_json::Value = serde_json::from_str(&moved.stdout).expect("JSON");
    let id = answer["migration"].as_str().expect("a move").to_owned();
    for _ in 0..3 {
        signal(region.router_pid().expect("the router runs"), "KILL");
        eventually("the router answers again", LIMIT, async || {
            region.stampctl(&["status"]).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }
    let shown = ended(&region, &id).await;
    let seen = pullers.stop().await;
    println!("{} pulls while the router was killed 3 times: {:?}", seen.pulls, seen.failures);
    assert_eq!(shown["state"], "done", "{shown:#}");
    assert_eq!(seen.failures, Vec::<String>::new());
}

//! The load tester against a region: what it counts is what was served, and what cannot be measured is said at once.

use dataproxy_tests::loadtest::loadtest;
use dataproxy_tests::region::Region;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_of_a_region_are_whole_for_every_client_and_counted_as_the_node_counts_them() {
    let region = Region::start_with(&[]).await;
    let node = "a1";
    let subjects =
        ["hello:v1", "multi:v1"].map(|image| format!("http://{}/contoso/{image}", region.pull(node)));
    let served = async || {
        let scrape = region.scrape(node).await;
        let (sum, get) = (|name, labels: &[&str]| scrape.sum(name, labels) as u64, "method=\"GET\"");
        (
            sum("dataproxy_requests_total", &[]),
            sum("dataproxy_requests_total", &["kind=\"blob\"", get]),
            sum("dataproxy_response_bytes_total", &["kind=\"blob\""]),
        )
    };
    let before = served().await;
    let (mut requests, mut bytes) = (0, 0);
    for client in ["docker", "containerd", "containers-image"] {
        let arguments =
            ["pull", &subjects[0], &subjects[1], "--client", client, "--burst", "4", "--no-check", "--quiet"];
        let found = loadtest(&arguments).await;
        assert_eq!(found.code, 0, "{client}: {}", found.output);
        assert_eq!((found.pulls("ok"), found.ended()), (4, 4), "{client}: {}", found.output);
        requests += found.flow()["requests"].as_u64().expect("a count");
        bytes += found.bytes();
        let connections = found.flow()["connections"].as_u64().expect("a count");
        if client == "docker" {
            assert_eq!(connections, found.flow()["requests"].as_u64().unwrap(), "docker keeps no connection");
        } else {
            assert!(connections <= 4 * 6, "{client} keeps connections, and opened {connections}");
        }
    }
    let after = served().await;
    assert_eq!(after.0 - before.0, requests, "requests, as the node counts them and as they were sent");
    assert!(after.1 > before.1);
    // What was sent beside blobs is manifests.
    let blobs = after.2 - before.2;
    assert!(blobs <= bytes && bytes - blobs < 1 << 20, "{bytes} bytes came, {blobs} of blobs were sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_region_binary_is_the_load_tester_too() {
    let region = Region::start_with(&[]).await;
    let subject = format!("{}/contoso/hello:v1", region.pull("front"));
    let ran =
        region.run_with(&["loadtest", "pull", &subject, "--burst", "2"]).await.expect("the pulls succeed");
    assert!(ran.stdout.contains("ok") && ran.stdout.contains("p99"), "{}{}", ran.stdout, ran.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_measured_is_one_clear_sentence_and_an_exit_code() {
    let region = Region::start_with(&["--no-seed"]).await;
    let free = dataproxy_tests::ports::free_address();
    let absent = format!("{}/contoso/absent:v1", region.pull("front"));
    let nobody = format!("{free}/contoso/hello:v1");
    let cases: [(&[&str], i32, &str); 8] = [
        (&["pull", &nobody], 3, &free.to_string()),
        (&["pull", &absent], 3, "404"),
        (&["pull"], 2, "name what to pull"),
        (&["pull", "nothing"], 2, "HOST[:PORT]/REPOSITORY:TAG"),
        (&["pull", &absent, "--limit", "p42<=1"], 2, "p42"),
        (&["scenario", "run", "no-such", &absent], 2, "no-such"),
        (&["scenario", "run", "rebind", &absent], 2, "move_command"),
        (&["compare", "/nowhere/a.json", "/nowhere/b.json"], 2, "/nowhere/a.json"),
    ];
    for (arguments, code, word) in cases {
        let found = loadtest(arguments).await;
        assert_eq!(found.code, code, "{arguments:?}: {}", found.output);
        assert!(found.output.contains(word), "{arguments:?}: {}", found.output);
        assert!(found.output.lines().count() < 20, "{arguments:?}: {}", found.output);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_under_load_fails_no_pull_through_the_front_door() {
    let region = Region::start_with(&[]).await;
    let subject = format!("http://{}/contoso/hello:v1", region.pull("front"));
    let load = ["pull", &subject, "--poisson", "5", "--duration", "6s", "--seed", "1", "--quiet"];
    let (found, ()) = tokio::join!(loadtest(&load), async {
        // Once pulls run, whichever node serves them.
        dataproxy_tests::eventually::eventually("pulls", std::time::Duration::from_secs(20), async || {
            let served = region.scrape("a1").await.sum("dataproxy_requests_total", &["kind=\"blob\""])
                + region.scrape("a2").await.sum("dataproxy_requests_total", &["kind=\"blob\""]);
            if served > 4.0 { Ok(()) } else { Err(format!("{served} requests for blobs")) }
        })
        .await;
        region.kill_9("a1");
    });
    assert_eq!(found.code, 0, "{}", found.output);
    assert_eq!(found.pulls("ok") + found.pulls("resumed"), found.ended(), "{}", found.output);
    assert!(found.ended() >= 10, "{}", found.output);
}

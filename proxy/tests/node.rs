//! The binary as an operator runs it: starts that fail say why with their own exit code, a node serves pulls from
//! a folder, takes new bindings and ends when asked.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use dataproxy_cache::{Algorithm, Digest};
use rustix::process::Signal;

mod harness;

use harness::{Setup, eventually, free, get, read, request};

#[test]
fn a_start_that_fails_says_why_with_its_own_exit_code() {
    let setup = Setup::new();
    setup.write("node.toml", setup.config("colour = 1\n"));
    setup.fails(78, "node.toml:3: node.colour: unknown setting `colour`");

    setup.write("node.toml", setup.config("stamp = \"a\"\n"));
    let taken = TcpListener::bind(setup.pull).unwrap();
    setup.fails(69, &format!("{} cannot be listened on (listen.pull)", setup.pull));
    drop(taken);

    setup.write("bindings.json", "{\n  \"revision\": \"one\"\n}");
    setup.fails(66, "bindings.json:2:");
    std::fs::remove_file(setup.path("bindings.json")).unwrap();
    setup.fails(66, "bindings.json: the bindings file cannot be read");

    setup.bind(1, "anonymous");
    std::fs::rename(setup.path("account"), setup.path("away")).unwrap();
    setup.fails(73, "accounts.main.path: the storage folder");
    std::fs::rename(setup.path("away"), setup.path("account")).unwrap();

    setup.write("cache", "a file where a folder should be");
    setup.fails(73, "cache.dir: ");

    let usage = Command::new(env!("CARGO_BIN_EXE_dataproxy")).arg("srve").output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn a_check_of_reach_tries_every_placement_and_ends_with_68_if_one_cannot_be_served() {
    let setup = Setup::new();
    let Output { status, stdout, .. } = setup.command("check").arg("--reach").output().unwrap();
    let said = String::from_utf8(stdout).unwrap();
    assert_eq!(status.code(), Some(0), "{said}");
    let row = said.lines().find(|line| line.starts_with("contoso ")).expect("a row");
    assert!(row.contains("main") && row.contains("reachable"), "{said}");
    assert!(said.ends_with("this node can serve every registry\n"), "{said}");
    let bindings = std::fs::read_to_string(setup.path("bindings.json")).unwrap();
    setup.write("bindings.json", bindings.replace("\"account\": \"main\"", "\"account\": \"elsewhere\""));
    let Output { status, stdout, .. } = setup.command("check").arg("--reach").output().unwrap();
    let said = String::from_utf8(stdout).unwrap();
    assert_eq!(status.code(), Some(68), "{said}");
    assert!(said.contains("not_configured  add an [accounts] section of this name"), "{said}");
    assert!(said.ends_with("this node cannot serve: contoso\n"), "{said}");
}

#[test]
fn a_check_says_what_a_node_would_do_and_opens_no_socket() {
    let setup = Setup::new();
    let _taken = TcpListener::bind(setup.pull).unwrap();
    let Output { status, stdout, .. } = setup.command("check").output().unwrap();
    let stdout = String::from_utf8(stdout).unwrap();
    assert_eq!(status.code(), Some(0));
    for words in [
        "node a1 of stamp a, in region local, for *.registry.test".to_owned(),
        format!("pulls at http://{}/", setup.pull),
        "revision 1, 1 stamps, 1 registries".to_owned(),
    ] {
        assert!(stdout.contains(&words), "{words:?} is not in {stdout}");
    }
    setup.write("bindings.json", "");
    assert_eq!(setup.command("check").output().unwrap().status.code(), Some(66));
}

#[test]
fn a_node_serves_pulls_from_a_folder_and_is_seen_doing_it() {
    let setup = Setup::new();
    let mut running = setup.start();
    let manifest = get(setup.pull, "/v2/contoso/app/manifests/v1").unwrap();
    assert_eq!(manifest.status, 200, "{}", manifest.head);
    let manifest: serde_json::Value = serde_json::from_slice(&manifest.body).unwrap();
    let layer = format!("/v2/contoso/app/blobs/{}", manifest["layers"][0]["digest"].as_str().unwrap());
    for _ in 0..2 {
        let blob = get(setup.pull, &layer).unwrap();
        assert_eq!(blob.status, 200, "{}", blob.head);
        assert!(blob.body == setup.layer, "{} bytes, {}", blob.body.len(), blob.head);
    }
    let mut stream = TcpStream::connect(setup.pull).unwrap();
    request(&mut stream, &layer, "range: bytes=1048570-1048581\r\n");
    let part = read(stream).unwrap();
    assert_eq!(part.status, 206, "{}", part.head);
    assert_eq!(part.body, setup.layer[1_048_570..=1_048_581]);

    let metrics = String::from_utf8(get(setup.admin, "/metrics").unwrap().body).unwrap();
    for name in
        ["dataproxy_requests_total{", "dataproxy_cache_origin_bytes_total", "dataproxy_anonymous_bytes "]
    {
        assert!(metrics.contains(&format!("\n{name}")), "no {name} in\n{metrics}");
    }
    // Lines go out together, a moment after what they tell of.
    eventually(&running.log, "an access line", || {
        let access = std::fs::read_to_string(&running.log).unwrap();
        access.lines().any(|line| line.contains(" access: ") && line.contains("registry=\"contoso\""))
    });

    running.signal(Signal::TERM);
    assert_eq!(running.code(), Some(0));
}

#[test]
fn new_bindings_are_in_force_within_a_second() {
    let setup = Setup::new();
    let running = setup.start();
    assert_eq!(get(setup.pull, "/v2/contoso/app/manifests/v1").unwrap().status, 200);
    let start = Instant::now();
    setup.bind(2, "denied");
    eventually(&running.log, "denied", || {
        get(setup.pull, "/v2/contoso/app/manifests/v1").unwrap().status == 403
    });
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let bindings: serde_json::Value =
        serde_json::from_slice(&get(setup.admin, "/v1/bindings").unwrap().body).unwrap();
    assert_eq!(bindings["revision"], 2);
}

#[test]
fn a_second_signal_cuts_what_still_runs_and_says_so() {
    // Far more than the sockets hold, so that the response runs for as long as nobody reads it.
    let setup = Setup::with_layer(128 << 20);
    let mut running = setup.start();
    let mut stream = TcpStream::connect(setup.pull).unwrap();
    let layer = Digest::of(Algorithm::Sha256, &setup.layer);
    request(&mut stream, &format!("/v2/contoso/app/blobs/{layer}"), "");
    stream.peek(&mut [0]).unwrap();
    running.signal(Signal::TERM);
    eventually(&running.log, "draining", || {
        let ready = get(setup.admin, "/readyz").unwrap();
        ready.status == 503 && String::from_utf8_lossy(&ready.body).contains("draining")
    });
    assert_eq!(
        get(setup.pull, "/v2/contoso/app/manifests/v1").unwrap().status,
        200,
        "a draining node serves"
    );
    running.signal(Signal::TERM);
    let short = read(stream).expect("FIN, not RST");
    assert_eq!(running.code(), Some(3));
    assert_eq!(short.status, 200);
    assert!(short.body.len() < setup.layer.len());
    assert!(setup.layer.starts_with(&short.body));
}

#[test]
fn an_idle_node_ends_at_once() {
    let setup = Setup::new();
    let mut running = setup.start();
    let start = Instant::now();
    running.signal(Signal::INT);
    assert_eq!(running.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_front_door_forwards_to_the_node_and_outlives_it() {
    let setup = Setup::new();
    let mut node = setup.start();
    let (pull, admin) = (free(), free());
    let front = Setup { pull, admin, ..Setup::new() };
    front.write("node.toml", front.config(""));
    front.write("bindings.json", std::fs::read(setup.path("bindings.json")).unwrap());
    let _front = front.start();
    let got = get(front.pull, "/v2/contoso/app/manifests/v1").unwrap();
    assert_eq!(got.status, 200, "{}", got.head);
    node.signal(Signal::KILL);
    node.code();
    let node = setup.start();
    eventually(&node.log, "forwarded again", || {
        get(front.pull, "/v2/contoso/app/manifests/v1").is_some_and(|got| got.status == 200)
    });
}

#[test]
fn a_signal_ends_a_node_that_still_starts() {
    // A node that takes a connection and says nothing: the front door waits for its first look at it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let setup = Setup { admin: silent.local_addr().unwrap(), ..Setup::new() };
    setup.bind(1, "anonymous");
    let front = Setup { pull: free(), admin: free(), ..Setup::new() };
    front.write("node.toml", front.config("") + "[front]\nconnect_timeout = \"1h\"\n");
    front.write("bindings.json", std::fs::read(setup.path("bindings.json")).unwrap());
    let mut running = front.spawn();
    let _looked_at = silent.accept().unwrap();
    running.signal(Signal::TERM);
    assert_eq!(running.code(), Some(0));
}

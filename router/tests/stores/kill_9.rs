//! A process that commits in a loop is killed with -9, over and over. `DATAPROXY_KILLS` says how often; 50 is
//! the ordinary number. `DATAPROXY_SEED` repeats the choices, though not their instants.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use dataproxy_router::store::embedded::EmbeddedStore;
use dataproxy_router::store::{Commit, Key, Outcome, Store as _};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const KEYS: [&str; 3] = ["torn/a", "torn/b", "torn/c"];
const STORE: &str = "DATAPROXY_TEST_STORE";

/// The number that every key says, which is that of the last commit.
async fn number(store: &EmbeddedStore) -> u64 {
    let listing = store.list("torn/").await.expect("listed");
    let said: Vec<u64> = listing
        .entries
        .iter()
        .map(|entry| {
            let text = str::from_utf8(&entry.value).expect("text");
            text.split(' ').next().expect("a word").parse().expect("a number")
        })
        .collect();
    match said[..] {
        [] => 0,
        [a, b, c] if a == b && b == c => {
            let last = listing.entries.iter().map(|entry| entry.version).max();
            assert_eq!(last, Some(listing.revision), "the revision is that of the last commit");
            a
        }
        _ => panic!("a torn commit: {said:?}"),
    }
}

#[tokio::test]
#[ignore = "a process that the test below starts and kills"]
async fn commits_until_it_is_killed() {
    let store = EmbeddedStore::open(Path::new(&std::env::var_os(STORE).expect("a path"))).expect("opened");
    let mut random = StdRng::seed_from_u64(rand::random());
    for number in number(&store).await + 1.. {
        // From one page of the file to many.
        let filling = "x".repeat(random.random_range(0..20_000));
        let commit = KEYS
            .iter()
            .fold(Commit::new(), |commit, key| commit.put(Key::new(*key), format!("{number} {filling}")));
        let outcome = store.commit(&commit).await.expect("committed");
        assert!(matches!(outcome, Outcome::Committed { .. }));
        println!("acknowledged {number}");
    }
}

#[tokio::test]
async fn kill_9_at_any_instant_loses_no_acknowledged_commit_and_tears_none() {
    let from_env = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("it is a number"));
    let kills: u64 = from_env("DATAPROXY_KILLS").unwrap_or(50);
    let seed: u64 = from_env("DATAPROXY_SEED").unwrap_or_else(rand::random);
    println!("DATAPROXY_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store");
    let (mut acknowledged, mut unanswered) = (0, 0);
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "kill_9::commits_until_it_is_killed", "--ignored", "--nocapture"])
            .env(STORE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let mut said = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
        for _ in 0..random.random_range(1..10_u32) {
            acknowledged = said.next().expect("it commits");
        }
        // Somewhere inside the next commit.
        for _ in 0..random.random_range(0..200_000_u32) {
            std::hint::spin_loop();
        }
        child.kill().expect("killed");
        child.wait().expect("it has ended");
        acknowledged = said.last().unwrap_or(acknowledged);

        let store =
            EmbeddedStore::open(&path).unwrap_or_else(|error| panic!("kill {kill}, seed {seed}: {error}"));
        let found = number(&store).await;
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "kill {kill}, seed {seed}: {found} is there, {acknowledged} was acknowledged"
        );
        unanswered += found - acknowledged;
        acknowledged = found;
    }
    println!("{kills} kills, {acknowledged} commits, {unanswered} there without an answer");
    assert!(acknowledged >= kills, "hardly anything was committed");
}

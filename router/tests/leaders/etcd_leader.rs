//! A leader in a process of its own, over a real etcd, that is paused and wakes up.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use dataproxy_router::leader::{Candidate, Standing, Term};
use dataproxy_router::store::etcd::{EtcdOptions, EtcdStore};
use dataproxy_router::store::{Commit, Key, Outcome, Store};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use crate::etcd_server::Etcd;

const ENDPOINTS: &str = "DATAPROXY_TEST_ENDPOINTS";
const TERM: Term = Term { lease: Duration::from_secs(2) };

#[tokio::test]
#[ignore = "a process that the test below starts and pauses"]
async fn leads_and_writes_without_a_pause() {
    let endpoints = std::env::var(ENDPOINTS).expect("endpoints");
    let store = Arc::new(EtcdStore::new(&EtcdOptions::new(endpoints.split(','))).expect("options"));
    let candidate = Candidate::stand(store.clone() as Arc<dyn Store>, "child".into(), TERM);
    let mut standing = candidate.standing();
    let fence = loop {
        if let Standing::Leading(fence) = *standing.borrow_and_update() {
            break fence;
        }
        standing.changed().await.expect("it stands");
    };
    println!("leading {}", fence.revision());
    // Whatever it is told: as a leader that has not looked at its standing since.
    loop {
        let commit = fence.guard(Commit::new().put(Key::new("by-child"), "x"));
        match store.commit(&commit).await {
            Ok(Outcome::Committed { revision }) => println!("wrote {revision}"),
            Ok(Outcome::Conflict { .. }) => break println!("refused"),
            Err(error) => println!("{error}"),
        }
    }
    let ended = standing.wait_for(|standing| matches!(standing, Standing::Following { .. }));
    timeout(Duration::from_secs(20), ended).await.expect("told").expect("it stands");
    println!("deposed");
    // Until it is killed: a leader that comes back does not matter here.
    std::future::pending().await
}

/// The number after `word` in the next line that begins with it.
fn number(lines: &mut impl Iterator<Item = String>, word: &str) -> u64 {
    let line = lines.find(|line| line.starts_with(word)).unwrap_or_else(|| panic!("it never says {word:?}"));
    line[word.len()..].trim().parse().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_paused_past_its_lease_writes_nothing_when_it_wakes_up() {
    let etcd = Etcd::start(3).await;
    let store = Arc::new(etcd.store());
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "etcd_leader::leads_and_writes_without_a_pause", "--ignored", "--nocapture"])
        .env(ENDPOINTS, etcd.options().endpoints.join(","))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a process");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let old = number(&mut lines, "leading ");
    number(&mut lines, "wrote ");

    let candidate = Candidate::stand(store.clone() as Arc<dyn Store>, "parent".into(), TERM);
    let mut standing = candidate.standing();
    let known = Standing::Following { leader: Some("child".into()) };
    timeout(Duration::from_secs(10), standing.wait_for(|standing| *standing == known))
        .await
        .expect("told")
        .expect("told");
    kill_process(pid, Signal::STOP).expect("paused");
    let led = standing.wait_for(|standing| matches!(standing, Standing::Leading(_)));
    let fence = match *timeout(Duration::from_secs(20), led).await.expect("another leads").expect("it stands")
    {
        Standing::Leading(fence) => fence,
        Standing::Following { .. } => unreachable!(),
    };
    assert!(fence.revision().0 > old);
    kill_process(pid, Signal::CONT).expect("woken");
    number(&mut lines, "refused");
    number(&mut lines, "deposed");
    let entry = store.get(&Key::new("by-child")).await.expect("read").expect("it wrote before");
    assert!(entry.version < fence.revision(), "{} was written after {fence:?}", entry.version);
    let commit = fence.guard(Commit::new().put(Key::new("by-parent"), "x"));
    assert!(matches!(store.commit(&commit).await, Ok(Outcome::Committed { .. })));
    child.kill().expect("killed");
    child.wait().expect("it has ended");
}

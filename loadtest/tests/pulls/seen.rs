//! What a pull told, as a list.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataproxy_loadtest::access::AccessOptions;
use dataproxy_loadtest::outcome::Outcome;
use dataproxy_loadtest::phase::Phase;
use dataproxy_loadtest::plan::{Client, Reading};
use dataproxy_loadtest::pull::{Job, Puller};
use dataproxy_loadtest::sink::{Finished, Sink};

/// Everything that one or more pulls told.
#[derive(Debug, Default)]
pub struct Seen {
    pub phases: RefCell<Vec<(Phase, Outcome)>>,
    pub requests: Cell<u64>,
    pub connections: Cell<u64>,
    pub received: Cell<u64>,
    pub finished: RefCell<Vec<Finished>>,
}

impl Sink for Seen {
    fn phase(&self, phase: Phase, outcome: Outcome, _took: Duration) {
        self.phases.borrow_mut().push((phase, outcome));
    }
    fn request(&self) {
        self.requests.set(self.requests.get() + 1);
    }
    fn connection(&self) {
        self.connections.set(self.connections.get() + 1);
    }
    fn received(&self, bytes: u64) {
        self.received.set(self.received.get() + bytes);
    }
    fn finished(&self, pull: &Finished) {
        self.finished.borrow_mut().push(pull.clone());
    }
}

impl Seen {
    /// How one phase ended, each time.
    pub fn of(&self, wanted: Phase) -> Vec<Outcome> {
        self.phases
            .borrow()
            .iter()
            .filter(|(phase, _)| *phase == wanted)
            .map(|(_, outcome)| *outcome)
            .collect()
    }
}

/// A way to read that no test waits for long.
pub fn reading() -> Reading {
    Reading { timeout: Duration::from_secs(60), ..Reading::default() }
}

/// A puller with nothing particular.
pub fn puller(client: Client, reading: Reading) -> Puller {
    let access = AccessOptions::default().open().expect("access");
    Puller::new(Arc::new(access), client, reading, 1).expect("a puller")
}

/// Pulls once, and what it told.
pub async fn pull(puller: &Puller, subject: &str) -> (Finished, Seen) {
    let seen = Seen::default();
    let subject = Arc::new(subject.parse().expect("a subject"));
    puller.pull(Job { number: 7, subject, intended: Instant::now() }, &seen).await;
    let finished = seen.finished.borrow().clone();
    let [finished] = &finished[..] else { panic!("it finished {} times", finished.len()) };
    assert_eq!(finished.number, 7);
    assert_eq!(finished.bytes, seen.received.get());
    assert_eq!(finished.failure.is_none(), finished.outcome.is_good());
    assert_eq!(seen.of(Phase::Pull), [finished.outcome]);
    (finished.clone(), seen)
}

/// Runs a test on a thread of its own kind, within a minute of real time.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test ends");
    });
}

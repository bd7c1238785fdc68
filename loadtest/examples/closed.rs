//! How fast one thread pulls: a closed loop of N tasks over some URLs, without a schedule or a report.
//!
//! ```console
//! $ cargo run --release -p dataproxy-loadtest --example closed -- --tasks 64 --seconds 5 --no-hash http://127.0.0.1:8080/v2/…
//! ```

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use dataproxy_loadtest::access::AccessOptions;
use dataproxy_loadtest::outcome::Outcome;
use dataproxy_loadtest::phase::Phase;
use dataproxy_loadtest::plan::{Client, Reading};
use dataproxy_loadtest::pull::{Job, Puller};
use dataproxy_loadtest::sink::{Finished, Sink};
use dataproxy_loadtest::subject::Subject;

/// Pulls in a closed loop on one thread, and says how fast that went.
#[derive(Parser)]
struct Options {
    /// What is pulled, one after the other
    #[arg(required = true)]
    subjects: Vec<Subject>,
    /// Pulls under way at any time
    #[arg(long, default_value_t = 1)]
    tasks: u32,
    /// For how long
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Whose ways they have
    #[arg(long, value_enum, default_value_t = Client::Plain)]
    client: Client,
    /// Drop bodies unseen
    #[arg(long)]
    no_hash: bool,
    #[command(flatten)]
    access: AccessOptions,
}

/// Counts, and nothing else.
#[derive(Default)]
struct Counts {
    requests: Cell<u64>,
    connections: Cell<u64>,
    bytes: Cell<u64>,
    pulls: Cell<u64>,
    failed: Cell<u64>,
    failure: RefCell<Option<String>>,
}

impl Sink for Counts {
    fn phase(&self, _phase: Phase, _outcome: Outcome, _took: Duration) {}
    fn request(&self) {
        self.requests.set(self.requests.get() + 1);
    }
    fn connection(&self) {
        self.connections.set(self.connections.get() + 1);
    }
    fn received(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
    }
    fn finished(&self, pull: &Finished) {
        self.pulls.set(self.pulls.get() + 1);
        if let Some(failure) = &pull.failure {
            self.failed.set(self.failed.get() + 1);
            self.failure.borrow_mut().get_or_insert_with(|| failure.to_string());
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let reading = Reading { hash: !options.no_hash, ..Reading::default() };
    let puller = Rc::new(Puller::new(Arc::new(options.access.open()?), options.client, reading, 1)?);
    let subjects: Rc<[Arc<Subject>]> = options.subjects.into_iter().map(Arc::new).collect();
    let counts = Rc::new(Counts::default());
    let (began, number) = (Instant::now(), Rc::new(Cell::new(0)));
    let end = began + Duration::from_secs_f64(options.seconds);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    for _ in 0..options.tasks {
        let (puller, subjects, counts) = (Rc::clone(&puller), Rc::clone(&subjects), Rc::clone(&counts));
        let number = Rc::clone(&number);
        local.spawn_local(async move {
            while Instant::now() < end {
                let next: u64 = number.replace(number.get() + 1);
                let Some(subject) = subjects.get(next as usize % subjects.len()) else { return };
                let job = Job { number: next, subject: Arc::clone(subject), intended: Instant::now() };
                puller.pull(job, &*counts).await;
            }
        });
    }
    let cpu = thread_cpu()?;
    runtime.block_on(local);
    let (took, cpu) = (began.elapsed().as_secs_f64(), (thread_cpu()? - cpu).as_secs_f64());
    let (pulls, gib) = (counts.pulls.get() as f64, counts.bytes.get() as f64 / f64::from(1 << 30));
    println!(
        "{:.0} pulls/s, {:.0} requests/s, {:.2} GiB/s, {:.2} cores, {:.2} us a pull, {:.3} CPU-s/GiB, {} connections, {} failed{}",
        pulls / took,
        counts.requests.get() as f64 / took,
        gib / took,
        cpu / took,
        cpu * 1e6 / pulls,
        cpu / gib,
        counts.connections.get(),
        counts.failed.get(),
        counts.failure.borrow().as_ref().map(|failure| format!(": {failure}")).unwrap_or_default(),
    );
    Ok(())
}

/// CPU of this thread so far, by the kernel's own clock.
fn thread_cpu() -> std::io::Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default()))
}

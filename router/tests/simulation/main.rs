//! Routers, nodes and a store in virtual time, with everything going wrong that can: calls to the store that fail or whose
//! answer is lost, routers that are paused and killed, reports that do not arrive, nodes that die or learn late, clocks that
//! are set wrong, two operators at once.
//!
//! One seed is one story. `DATAPROXY_SEEDS=10000` tells more of them, `DATAPROXY_SEED=n` one again.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by a panic")]

mod history;
mod proxy;
mod slow;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dataproxy_router::audit;
use dataproxy_router::command::{Command, Occasion, RegistrySpec, Verb, Wish};
use dataproxy_router::control::{Control, ControlError};
use dataproxy_router::fleet::Fleet;
use dataproxy_router::leader::{Candidate, Term};
use dataproxy_router::migration::{Terms, UnixMillis};
use dataproxy_router::reconcile::{Unmeasured, reconcile};
use dataproxy_router::store::Store;
use dataproxy_router::store::memory::{Fault, MemoryStore};
use dataproxy_router_api::{Delivery, Epoch, NodeState, Placement, PullPolicy};
use futures_util::StreamExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use history::History;
use proxy::Proxy;
use slow::Slow;

const STAMPS: [&str; 3] = ["a", "b", "c"];
const REGISTRIES: [&str; 3] = ["contoso", "fabrikam", "tailspin"];
/// Turns with faults, and the most that everything may take to come to rest after them.
const TURNS: usize = 240;
const REST: Duration = Duration::from_secs(600);

static SKEW: AtomicU64 = AtomicU64::new(0);

/// The wall's clock of all routers, which may be set wrong.
fn wall() -> UnixMillis {
    let since = BEGAN.with(|began| began.elapsed());
    UnixMillis(1_700_006_400_000 + u64::try_from(since.as_millis()).unwrap() + SKEW.load(Ordering::Relaxed))
}

thread_local! {
    static BEGAN: Instant = Instant::now();
}

/// A router that runs, as others meet it.
struct Router {
    store: Arc<MemoryStore>,
    control: Arc<Control>,
    fleet: Arc<Fleet>,
    tasks: Vec<JoinHandle<()>>,
    _candidate: Candidate,
}

impl Router {
    async fn start(shared: &MemoryStore, name: &str, seed: u64) -> Self {
        let store = shared.another();
        let random = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        let slow = Arc::new(Slow { store: Arc::clone(&store), random });
        let control = Control::open(slow.clone(), "local".parse().unwrap()).await.unwrap();
        let fleet = Arc::<Fleet>::default();
        let candidate = Candidate::stand(slow, name.to_owned(), Term::default());
        let following = Arc::clone(&control);
        let tasks = vec![
            tokio::spawn(async move { following.follow().await }),
            tokio::spawn(reconcile(
                Arc::clone(&control),
                Arc::clone(&fleet),
                Arc::new(Unmeasured),
                candidate.standing(),
                wall,
            )),
        ];
        Self { store, control, fleet, tasks, _candidate: candidate }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

struct Region {
    seed: u64,
    random: StdRng,
    shared: Arc<MemoryStore>,
    routers: Vec<Option<Router>>,
    proxies: Vec<Proxy>,
}

fn occasion() -> Occasion {
    Occasion { actor: "operator".into(), reason: "a story".into(), now: wall() }
}

impl Region {
    async fn new(seed: u64) -> Self {
        let shared = MemoryStore::new();
        let routers = vec![
            Some(Router::start(&shared, "one", seed).await),
            Some(Router::start(&shared, "two", seed + 1_000_000).await),
        ];
        let proxies = STAMPS.iter().flat_map(|stamp| [Proxy::new(stamp, 1), Proxy::new(stamp, 2)]).collect();
        let region = Self { seed, random: StdRng::seed_from_u64(seed), shared, routers, proxies };
        for stamp in STAMPS {
            let accounts = Some(vec![format!("{stamp}1").parse().unwrap()]);
            region.must(Command::PutStamp { name: stamp.parse().unwrap(), accounts, state: None }).await;
        }
        for (registry, stamp) in REGISTRIES.iter().zip(STAMPS) {
            let spec = RegistrySpec {
                home_stamp: stamp.parse().unwrap(),
                placement: Placement::new(format!("{stamp}1").parse().unwrap(), *registry),
                pull: PullPolicy::Anonymous,
                delivery: Delivery::Stream,
                hosts: Vec::new(),
            };
            let registry = registry.parse().unwrap();
            region.must(Command::PutRegistry { registry, spec, if_epoch: None }).await;
        }
        region
    }

    async fn must(&self, command: Command) {
        let router = self.routers.iter().flatten().next().unwrap();
        // Others may be faster, again and again for a while.
        while let Err(error) = router.control.execute(&command, &occasion(), None).await {
            assert!(!matches!(error, ControlError::Refused(_)), "seed {}: {command:?}: {error}", self.seed);
        }
    }

    fn any<'a, T>(&mut self, some: &'a [T]) -> &'a T {
        &some[self.random.random_range(0..some.len())]
    }

    fn one_in(&mut self, many: u32) -> bool {
        self.random.random_range(0..many) == 0
    }

    /// One turn: nodes learn and report, pulls begin and end, and perhaps something goes wrong or is asked for.
    async fn turn(&mut self, with_faults: bool) {
        for at in 0..self.proxies.len() {
            let followed = self.random.random_range(0..self.routers.len());
            let (misses, loses) = (with_faults && self.one_in(4), with_faults && self.one_in(4));
            let busy = self.one_in(3);
            let registry = (*self.any(&REGISTRIES)).to_owned();
            let proxy = &mut self.proxies[at];
            if !proxy.is_alive {
                continue;
            }
            let router = self.routers[followed].as_ref().or_else(|| self.routers.iter().flatten().next());
            if let Some(router) = router.filter(|_| !misses) {
                proxy.learn(router);
            }
            // A pull begins or ends; one in a story without faults ends.
            let running = proxy.running.entry(registry).or_default();
            *running = if with_faults && busy { *running + 1 } else { running.saturating_sub(1) };
            if proxy.node.state == NodeState::Draining && proxy.running.values().all(|running| *running == 0)
            {
                proxy.is_alive = false;
                continue;
            }
            if let Some(report) = proxy.report().filter(|_| !loses) {
                for router in self.routers.iter().flatten() {
                    router.fleet.hear(report.clone(), Instant::now());
                }
            }
        }
        if with_faults {
            self.break_something().await;
            self.ask_for_something().await;
        }
        sleep(Duration::from_millis(500)).await;
    }

    async fn break_something(&mut self) {
        match self.random.random_range(0..60) {
            0 | 1 => {
                let faults = [Fault::Unavailable, Fault::LostOnTheWay, Fault::LostOnTheWayBack];
                let (fault, calls) = (*self.any(&faults), self.random.random_range(1..12));
                let at = self.random.random_range(0..self.routers.len());
                if let Some(router) = &self.routers[at] {
                    router.store.fail(fault, calls);
                }
            }
            2 => {
                // Killed, and started again now or later; the other goes on meanwhile.
                let at = self.random.random_range(0..self.routers.len());
                if self.routers.iter().flatten().count() == self.routers.len() {
                    self.routers[at] = None;
                }
            }
            3..=5 => self.start_routers().await,
            6 => {
                let at = self.random.random_range(0..self.proxies.len());
                self.proxies[at].is_alive = false;
            }
            7..=10 => {
                let at = self.random.random_range(0..self.proxies.len());
                if !self.proxies[at].is_alive {
                    self.proxies[at].restart();
                }
            }
            11 => {
                let at = self.random.random_range(0..self.proxies.len());
                self.proxies[at].reads_storage ^= true;
            }
            12 => SKEW.store(self.random.random_range(0..20_000), Ordering::Relaxed),
            13 => self.shared.compact(),
            _ => {}
        }
    }

    async fn start_routers(&mut self) {
        for at in 0..self.routers.len() {
            if self.routers[at].is_none() {
                let seed = self.random.random();
                self.routers[at] = Some(Router::start(&self.shared, ["one", "two"][at], seed).await);
            }
        }
    }

    async fn ask_for_something(&mut self) {
        let registry = *self.any(&REGISTRIES);
        let stamp = *self.any(&STAMPS);
        let verb = match self.random.random_range(0..5) {
            0 => Verb::Pause,
            1 => Verb::Resume,
            2 => Verb::Abort,
            3 => Verb::Rollback,
            _ => Verb::Finish,
        };
        let command = match self.random.random_range(0..40) {
            0..=3 => Command::Move {
                registry: registry.parse().unwrap(),
                to: stamp.parse().unwrap(),
                if_epoch: None,
                terms: Terms {
                    prepare_seconds: 20,
                    quiet_seconds: 2,
                    drain_seconds: 30,
                    observe_seconds: 10,
                },
            },
            4 | 5 => {
                let router = self.routers.iter().flatten().next();
                let id = router.and_then(|router| {
                    router.control.state().moving().next().map(|moving| moving.value.id.clone())
                });
                let Some(id) = id else { return };
                Command::Steer { id, verb }
            }
            6 => Command::Node {
                name: format!("{stamp}1").parse().unwrap(),
                wish: Wish::Drain { deadline_seconds: 60 },
            },
            _ => return,
        };
        // Two operators, at a router each, who do not wait for one another. Whatever comes of it is right or is told; what
        // it did to the store is judged.
        for router in self.routers.iter().flatten() {
            let (control, command) = (Arc::clone(&router.control), command.clone());
            tokio::spawn(async move { control.execute(&command, &occasion(), None).await });
        }
    }

    /// Everything is mended, nobody asks for anything: all has to come to rest.
    async fn rest(&mut self) {
        self.start_routers().await;
        for router in self.routers.iter().flatten() {
            router.store.heal();
        }
        for proxy in &mut self.proxies {
            proxy.reads_storage = true;
            if !proxy.is_alive {
                proxy.restart();
            }
        }
        let deadline = Instant::now() + REST;
        loop {
            self.turn(false).await;
            for proxy in &mut self.proxies {
                if !proxy.is_alive {
                    proxy.restart();
                }
            }
            let paused: Vec<String> = {
                let state = self.routers[0].as_ref().unwrap().control.state();
                let paused = state.moving().filter(|moving| moving.value.paused.is_some());
                paused.map(|moving| moving.value.id.clone()).collect()
            };
            for id in paused {
                let router = self.routers[0].as_ref().unwrap();
                let resume = Command::Steer { id, verb: Verb::Resume };
                let _ = router.control.execute(&resume, &occasion(), None).await;
            }
            if self.is_at_rest() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "seed {}: not at rest: {:?}",
                self.seed,
                self.routers[0].as_ref().map(|router| router
                    .control
                    .state()
                    .moving()
                    .map(|moving| moving.value.clone())
                    .collect::<Vec<_>>())
            );
        }
    }

    fn is_at_rest(&self) -> bool {
        let [Some(one), Some(two)] = self.routers.as_slice() else { return false };
        let snapshot = one.control.state().snapshot();
        let moving = one.control.state().moving().count();
        let ready =
            snapshot.stamps.iter().flat_map(|stamp| &stamp.nodes).filter(|node| node.in_rotation()).count();
        moving == 0
            && ready == self.proxies.len()
            && two.control.state().snapshot() == snapshot
            && self.proxies.iter().all(|proxy| {
                proxy
                    .held
                    .as_ref()
                    .is_some_and(|held| held.bindings == snapshot.bindings && held.stamps == snapshot.stamps)
            })
    }

    /// What holds at the end of every story.
    async fn judge(&self) {
        let seed = self.seed;
        let state = self.routers[0].as_ref().unwrap().control.state().snapshot();
        state.validate().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let bound: Vec<&str> = state.bindings.iter().map(|binding| binding.registry.as_str()).collect();
        assert_eq!(bound, REGISTRIES, "seed {seed}: no binding is lost");
        for binding in &state.bindings {
            assert!(binding.epoch >= Epoch(1) && binding.destination.is_none(), "seed {seed}: {binding:?}");
        }
        let day = audit::of_day(self.shared.as_ref(), UnixMillis(1_700_006_400_000)).await.unwrap();
        assert_eq!(day.broken, Vec::<String>::new(), "seed {seed}");
    }
}

/// How many moves came to which end.
type Ends = BTreeMap<&'static str, usize>;

async fn story(seed: u64) -> Ends {
    SKEW.store(0, Ordering::Relaxed);
    let mut region = Region::new(seed).await;
    let watching = region.shared.another();
    let judged = tokio::spawn(async move {
        let mut history = History::default();
        // A compaction tells a watch to list again; what was between is judged at the end alone.
        loop {
            let after = watching.list("").await.unwrap().revision;
            let mut changes = watching.watch("", after);
            while let Some(Ok(batch)) = changes.next().await {
                history.take(batch, seed);
            }
            history = History::default();
        }
    });
    for _ in 0..TURNS {
        region.turn(true).await;
        assert!(!judged.is_finished(), "seed {seed}: the history is wrong");
    }
    region.rest().await;
    region.judge().await;
    assert!(!judged.is_finished(), "seed {seed}: the history is wrong");
    judged.abort();
    let mut ends = Ends::new();
    for migration in region.routers[0].as_ref().unwrap().control.state().migrations() {
        *ends.entry(migration.value.state.as_str()).or_default() += 1;
    }
    ends
}

#[test]
fn whatever_fails_no_binding_is_lost_or_double_and_every_move_comes_to_its_end() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("DATAPROXY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DATAPROXY_SEEDS").unwrap_or(200),
    };
    let count = seeds.end - seeds.start;
    let mut ends = Ends::new();
    for seed in seeds {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        for (end, moves) in runtime.block_on(story(seed)) {
            *ends.entry(end).or_default() += moves;
        }
    }
    println!("{count} stories came to rest; moves by their end: {ends:?}");
    // A story in which nothing happens shows nothing.
    if count > 1 {
        assert!(["done", "aborted", "rolled_back"].iter().all(|end| ends.contains_key(end)), "{ends:?}");
    }
}

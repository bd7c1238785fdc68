//! The run of a region, from its folder to its end.

use std::collections::HashSet;
use std::io::Write;
use std::time::{Duration, Instant};

use dataproxy_router_api::Snapshot;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::azurite::{self, Azurite};
use crate::charge::Charge;
use crate::control::Router;
use crate::data::Data;
use crate::error::RegionError;
use crate::node_process::tail;
use crate::options::Run;
use crate::publish::publish;
use crate::supervise::{News, Order, tend};
use crate::topology::Topology;
use crate::{greeting, ports, seed};

/// For all nodes to become ready.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Runs a region until it is told to end.
pub(crate) fn run(options: &Run) -> Result<(), RegionError> {
    let topology = Topology::new(options.port_offset)?;
    let azurite = options.azurite.then(|| Azurite::new(options.port_offset, &topology.accounts));
    if azurite.is_some() {
        azurite::program()?;
    }
    let data = Data::open(&options.dir.data)?;
    let _lock = data.lock()?;
    ports::check(&topology, azurite.as_ref())?;
    let snapshot = data.load(&topology)?;
    if !options.no_seed {
        let begun = Instant::now();
        let mut made = |image: &str| say(&format!("made {image}"));
        seed::seed(&data, &snapshot, &mut made)?;
        if begun.elapsed() > Duration::from_secs(1) {
            say(&format!("images made in {:.1} s", begun.elapsed().as_secs_f64()));
        }
    }
    if let Some(azurite) = &azurite {
        azurite.make_keys(&data)?;
    }
    data.set_azurite_address(azurite.as_ref().map(|azurite| azurite.address))?;
    let router = Router::at(topology.control.api)?;
    let region = Region { snapshot, data, topology, azurite, router };
    region.data.write(&region.topology, &options.zone, region.azurite.as_ref(), options.bin_seconds)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| RegionError::System { what: "runtime", error })?;
    runtime.block_on(serve(&region, options))
}

/// Prints a line. A terminal that went away is no reason to end.
fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// What is to be run.
struct Region {
    data: Data,
    topology: Topology,
    /// What a new router begins with.
    snapshot: Snapshot,
    azurite: Option<Azurite>,
    router: Router,
}

async fn serve(region: &Region, options: &Run) -> Result<(), RegionError> {
    let mut signals =
        Signals::new().map_err(|error| RegionError::System { what: "signal handler", error })?;
    let (order, orders) = watch::channel(Order::Run);
    let (teller, mut news) = mpsc::unbounded_channel();
    let mut running = JoinSet::new();
    let done = tokio::select! {
        started = start(region, &mut running, (&orders, &teller), &mut news) => match started {
            Ok(()) => {
                say(&greeting::greeting(&region.data, &region.topology, options));
                tokio::select! {
                    never = report(region, &mut news) => match never {},
                    never = region.router.mirror(&region.data) => match never {},
                    () = signals.next() => Ok(()),
                }
            }
            Err(error) => Err(error),
        },
        () = signals.next() => Ok(()),
    };
    say("ending all of it; once more to end it at once");
    let _ = order.send(Order::Drain);
    tokio::select! {
        () = all_gone(&mut running) => {}
        () = signals.next() => {
            let _ = order.send(Order::Kill);
            all_gone(&mut running).await;
        }
    }
    done
}

async fn all_gone(nodes: &mut JoinSet<()>) {
    while nodes.join_next().await.is_some() {}
}

type Told = (Charge, News);

/// Copies what azurite lacks of the accounts' folders.
async fn publish_all(region: &Region, azurite: &Azurite) -> Result<(), RegionError> {
    for binding in &region.snapshot.bindings {
        let done = publish(&region.data, azurite, binding).await?;
        if done.objects > 0 {
            let (objects, mib) = (done.objects, done.bytes >> 20);
            say(&format!("put {objects} objects ({mib} MiB) of {} into azurite", binding.registry));
        }
    }
    Ok(())
}

/// Starts everything, storage first, then the router: nodes are ready when they know what there is to pull.
async fn start(
    region: &Region,
    running: &mut JoinSet<()>,
    (orders, teller): (&watch::Receiver<Order>, &mpsc::UnboundedSender<Told>),
    news: &mut mpsc::UnboundedReceiver<Told>,
) -> Result<(), RegionError> {
    let mut begin = |charge: &Charge| {
        running.spawn(tend(region.data.clone(), charge.clone(), orders.clone(), teller.clone()));
    };
    if let Some(azurite) = &region.azurite {
        let charge = Charge::Azurite(azurite.clone());
        begin(&charge);
        all_ready(&region.data, &[charge], news).await?;
        publish_all(region, azurite).await?;
    }
    let router = Charge::Router(region.topology.control);
    begin(&router);
    all_ready(&region.data, &[router], news).await?;
    region.router.set_up(&region.snapshot).await?;
    let nodes: Vec<Charge> = region.topology.members.iter().cloned().map(Charge::Node).collect();
    nodes.iter().for_each(begin);
    all_ready(&region.data, &nodes, news).await
}

/// Waits until all of these are ready. One that ends before that has something to say in its log.
async fn all_ready(
    data: &Data,
    charges: &[Charge],
    news: &mut mpsc::UnboundedReceiver<Told>,
) -> Result<(), RegionError> {
    let deadline = tokio::time::Instant::now() + START_DEADLINE;
    let mut waiting: HashSet<_> = charges.iter().map(Charge::name).collect();
    let failed = |charge: &Charge, what: String| {
        let log = charge.log(data);
        RegionError::Process { process: charge.name(), what, tail: tail(&log), log }
    };
    while !waiting.is_empty() {
        let told = tokio::select! {
            told = news.recv() => told,
            () = sleep_until(deadline) => None,
        };
        match told {
            Some((charge, News::Ready { .. })) => {
                waiting.remove(&charge.name());
            }
            Some((_, News::NotStarted { error, .. })) => return Err(error),
            Some((charge, News::Ended { how, .. })) => return Err(failed(&charge, how)),
            None => {
                let late = charges.iter().find(|charge| waiting.contains(&charge.name()));
                let Some(charge) = late else { return Ok(()) };
                let what =
                    format!("is not ready after {} s: {}", START_DEADLINE.as_secs(), charge.said().await);
                return Err(failed(charge, what));
            }
        }
    }
    Ok(())
}

/// Says what becomes of the nodes, for as long as the region runs.
async fn report(region: &Region, news: &mut mpsc::UnboundedReceiver<Told>) -> std::convert::Infallible {
    loop {
        match news.recv().await {
            Some((charge, News::Ready { pid })) => {
                say(&format!("{} is ready again (process {pid})", charge.name()));
                // It writes what it is told some seconds later, so one that was killed may have lost some.
                if let Charge::Azurite(azurite) = &charge {
                    match publish_all(region, azurite).await {
                        Ok(()) => say("azurite holds all of the accounts again"),
                        Err(error) => say(&format!("azurite may lack content: {error}")),
                    }
                }
            }
            Some((charge, News::NotStarted { error, again_in })) => {
                say(&format!("{} cannot be started: {error}; again in {}", charge.name(), seconds(again_in)));
            }
            Some((charge, News::Ended { pid, how, again_in })) => {
                let (log, again) = (charge.log(&region.data), seconds(again_in));
                say(&format!(
                    "{} (process {pid}) {how}; starting it again in {again}; its log is {}",
                    charge.name(),
                    log.display()
                ));
            }
            None => std::future::pending().await,
        }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// What ends a region: Ctrl-C, a polite kill, a terminal that closes.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> std::io::Result<Self> {
        let [interrupt, terminate, hang_up] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self([interrupt?, terminate?, hang_up?]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hang_up] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    }
}

//! The run of a region, from its folder to its end.

use std::collections::HashSet;
use std::io::Write;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::data::Data;
use crate::error::RegionError;
use crate::node_process::tail;
use crate::options::Run;
use crate::supervise::{News, Order, tend};
use crate::topology::{Member, Topology};
use crate::{greeting, ports, readiness, seed};

/// For all nodes to become ready.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Runs a region until it is told to end.
pub(crate) fn run(options: &Run) -> Result<(), RegionError> {
    let topology = Topology::new(options.port_offset)?;
    let data = Data::open(&options.dir.data)?;
    let _lock = data.lock()?;
    ports::check(&topology)?;
    let snapshot = data.load(&topology)?;
    if !options.no_seed {
        let begun = Instant::now();
        let mut made = |image: &str| say(&format!("made {image}"));
        seed::seed(&data, &snapshot, &mut made)?;
        if begun.elapsed() > Duration::from_secs(1) {
            say(&format!("images made in {:.1} s", begun.elapsed().as_secs_f64()));
        }
    }
    data.write(&topology, snapshot, &options.zone)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| RegionError::System { what: "runtime", error })?;
    runtime.block_on(serve(&data, &topology, options))
}

/// Prints a line. A terminal that went away is no reason to end.
fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

async fn serve(data: &Data, topology: &Topology, options: &Run) -> Result<(), RegionError> {
    let mut signals =
        Signals::new().map_err(|error| RegionError::System { what: "signal handler", error })?;
    let (order, orders) = watch::channel(Order::Run);
    let (teller, mut news) = mpsc::unbounded_channel();
    let mut nodes = JoinSet::new();
    for member in &topology.members {
        nodes.spawn(tend(data.clone(), member.clone(), orders.clone(), teller.clone()));
    }
    let done = tokio::select! {
        started = start(data, topology, &mut news) => match started {
            Ok(()) => {
                say(&greeting::greeting(data, topology, options));
                tokio::select! {
                    never = report(data, &mut news) => match never {},
                    () = signals.next() => Ok(()),
                }
            }
            Err(error) => Err(error),
        },
        () = signals.next() => Ok(()),
    };
    say("ending all nodes; once more to end them at once");
    let _ = order.send(Order::Drain);
    tokio::select! {
        () = all_gone(&mut nodes) => {}
        () = signals.next() => {
            let _ = order.send(Order::Kill);
            all_gone(&mut nodes).await;
        }
    }
    done
}

async fn all_gone(nodes: &mut JoinSet<()>) {
    while nodes.join_next().await.is_some() {}
}

/// Waits until every node is ready. One that ends before that has something to say in its log.
async fn start(
    data: &Data,
    topology: &Topology,
    news: &mut mpsc::UnboundedReceiver<(Member, News)>,
) -> Result<(), RegionError> {
    let deadline = tokio::time::Instant::now() + START_DEADLINE;
    let mut waiting: HashSet<_> = topology.members.iter().map(|member| member.name.clone()).collect();
    let failed = |member: &Member, what: String| RegionError::Node {
        node: member.name.to_string(),
        what,
        log: data.log(member),
        tail: tail(&data.log(member)),
    };
    while !waiting.is_empty() {
        let told = tokio::select! {
            told = news.recv() => told,
            () = sleep_until(deadline) => None,
        };
        match told {
            Some((member, News::Ready { .. })) => {
                waiting.remove(&member.name);
            }
            Some((_, News::NotStarted { error, .. })) => return Err(error),
            Some((member, News::Ended { how, .. })) => return Err(failed(&member, how)),
            None => {
                let late = topology.members.iter().find(|member| waiting.contains(&member.name));
                let Some(member) = late else { return Ok(()) };
                let said = readiness::said(member.admin).await;
                let what = format!("is not ready after {} s: {said}", START_DEADLINE.as_secs());
                return Err(failed(member, what));
            }
        }
    }
    Ok(())
}

/// Says what becomes of the nodes, for as long as the region runs.
async fn report(data: &Data, news: &mut mpsc::UnboundedReceiver<(Member, News)>) -> std::convert::Infallible {
    loop {
        match news.recv().await {
            Some((member, News::Ready { pid })) => {
                say(&format!("node {} is ready again (process {pid})", member.name));
            }
            Some((member, News::NotStarted { error, again_in })) => {
                say(&format!(
                    "node {} cannot be started: {error}; again in {}",
                    member.name,
                    seconds(again_in)
                ));
            }
            Some((member, News::Ended { pid, how, again_in })) => {
                let (log, again) = (data.log(&member), seconds(again_in));
                say(&format!(
                    "node {} (process {pid}) {how}; starting it again in {again}; its log is {}",
                    member.name,
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

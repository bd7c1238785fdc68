//! What is done beside the pulling threads: events, the servers' cost, the watchdog, the view.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::gauges::Gauges;
use super::{RunError, RunOptions};
use crate::cost::Watch;
use crate::drive::{FlowWork, Running};
use crate::events::Events;
use crate::health::{FlowSeen, Health, Seen};
use crate::machine::Congestion;
use crate::plan::Plan;
use crate::report::{Client, EventReport, Node, Server, Summary};
use crate::schedule::Timing;
use crate::stall::{Waits, Watchdog};
use crate::tally::{Distribution, Frame, State, Waiting, merged};

/// How often the run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What came of a run.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) frame: Frame,
    /// What each flow saw.
    pub(super) flows: Vec<State>,
    pub(super) events: Vec<EventReport>,
    pub(super) servers: Vec<Server>,
    pub(super) nodes: Vec<Node>,
    pub(super) client: Client,
    /// Seconds that count.
    pub(super) seconds: f64,
    /// Why it was stopped, if it was.
    pub(super) stopped: Option<String>,
}

/// Bodies and requests of all pulls, those of the warm-up included: what a server does, it does for all of them.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    bytes: u64,
    requests: u64,
}

/// Stays with the run until it has ended.
pub(super) async fn observe(
    mut running: Running,
    plan: &Plan,
    work: &[FlowWork],
    file_limit: u64,
    options: &mut RunOptions<'_>,
) -> Result<Observed, RunError> {
    let frame = running.frame;
    let watching = !options.watched.is_empty() || !options.metrics.is_empty();
    let set_up = || -> Result<_, RunError> {
        let watch = watching.then(|| Watch::start(frame.start, &options.watched, &options.metrics));
        Ok((watch.transpose()?, Gauges::new(&plan.title, frame, work)?))
    };
    let (watch, mut gauges) = match set_up() {
        Ok(set_up) => set_up,
        Err(error) => {
            running.stop.ask("it cannot be watched");
            running.ended().await;
            return Err(error);
        }
    };
    let events = Events::begin(&plan.events, frame.start);
    let mut watchdog = Watchdog::new(plan.stall_after, frame.start);
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut counting: Option<(Health, Work)> = None;
    loop {
        tokio::select! {
            biased;
            () = running.ended() => break,
            () = tokio::time::sleep_until(frame.counts_from().into()), if counting.is_none() => {
                counting = Some(begin_counting(&running, work, watch.as_ref())?);
            }
            _ = look.tick() => {
                let now = Instant::now();
                if let Some((health, _)) = &mut counting {
                    health.look(now);
                }
                let (progress, waits) = waits(&running, work);
                if let Some(stalled) = watchdog.look(now, progress, &waits) {
                    running.stop.ask(stalled);
                }
                if let Some(live) = &mut options.live {
                    let notes = notes(&running, &watchdog, now);
                    live.show(&gauges.snapshot(now, &running, events.snapshot(), notes));
                }
            }
        }
    }
    let ended = Instant::now();
    if let Some(live) = &mut options.live {
        live.show(&gauges.snapshot(ended, &running, events.snapshot(), Vec::new()));
        live.end();
    }
    let (health, before) = match counting {
        Some(counting) => counting,
        // Stopped in the warm-up.
        None => begin_counting(&running, work, watch.as_ref())?,
    };
    let after = done(&running);
    let (servers, nodes) = match watch {
        Some(watch) => watch.stop(after.bytes - before.bytes, after.requests - before.requests)?,
        None => Default::default(),
    };
    let flows: Vec<State> = running.tallies.iter().filter_map(|tallies| merged(tallies)).collect();
    let used = servers.iter().map(|server| server.user + server.system).sum();
    let seen = seen(&running, plan, work, &flows, file_limit, options, watching);
    let client = health.end(ended, used, timer_lag(&running)?, &seen);
    let stop = running.stop.clone();
    let events = events.end(stop.asked()).await;
    let stopped = running.stop.reason();
    let seconds = seconds(&frame, work, &flows, stopped.is_some().then_some(ended));
    Ok(Observed { frame, flows, events, servers, nodes, client, seconds, stopped })
}

fn begin_counting(
    running: &Running,
    work: &[FlowWork],
    watch: Option<&Watch>,
) -> Result<(Health, Work), RunError> {
    if let Some(watch) = watch
        && let Err(error) = watch.mark()
    {
        running.stop.ask(error.to_string());
    }
    // Beside connections, each thread has a timer for itself, one for each open loop and one for each closed puller.
    let timers = work.iter().map(|flow| match &flow.timing {
        Timing::Open(_) => running.threads.len() as u64,
        Timing::Closed(closed) => u64::from(closed.pullers),
    });
    let before = running.files_before + timers.sum::<u64>() + running.threads.len() as u64;
    let threads = running.threads.iter().map(|thread| thread.id);
    Ok((Health::begin(Instant::now(), threads, before), done(running)))
}

fn done(running: &Running) -> Work {
    let mut done = Work::default();
    for tally in running.tallies.iter().flatten() {
        tally.read(|state| {
            done.bytes += state.counted.bytes + state.warm_up.bytes;
            done.requests += state.counted.requests + state.warm_up.requests;
        });
    }
    done
}

fn waits<'a>(running: &Running, work: &'a [FlowWork]) -> (u64, Vec<Waits<'a>>) {
    let mut progress = 0;
    let each = work.iter().zip(&running.tallies).map(|(flow, tallies)| {
        let mut pulls = [0; Waiting::ALL.len()];
        for tally in tallies {
            tally.read(|state| {
                progress += state.progress;
                pulls.iter_mut().zip(state.waiting).for_each(|(sum, more)| *sum += more);
            });
        }
        Waits { flow: &flow.name, pulls }
    });
    let each = each.collect();
    (progress, each)
}

fn notes(running: &Running, watchdog: &Watchdog, now: Instant) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(silent) = watchdog.worry(now) {
        notes.push(format!("nothing has come for {:.0} s", silent.as_secs_f64()));
    }
    if running.held_back() > 0 {
        notes.push(format!("{} pulls had to wait at the bound of pulls under way", running.held_back()));
    }
    notes
}

fn timer_lag(running: &Running) -> Result<Summary, RunError> {
    let mut whole = Distribution::new()?;
    for thread in &running.threads {
        whole.add(&thread.timer_lag.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
    Ok(whole.summary())
}

fn seen(
    running: &Running,
    plan: &Plan,
    work: &[FlowWork],
    flows: &[State],
    file_limit: u64,
    options: &RunOptions<'_>,
    watched: bool,
) -> Seen {
    let of_flows = work.iter().zip(flows).map(|(flow, state)| FlowSeen {
        name: flow.name.clone(),
        lateness: state.counted.lateness.summary(),
        latency: state.counted.good_latency().map(|latency| latency.summary()).unwrap_or_default(),
    });
    let is_loopback =
        |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let mut targets = work.iter().flat_map(|flow| flow.workload.subjects());
    let loopback = targets.any(|subject| is_loopback(&subject.endpoint.host));
    let congestion = if loopback { Congestion::look() } else { Congestion::default() };
    Seen {
        threads: usize::from(plan.threads),
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
        flows: of_flows.collect(),
        held_back: running.held_back(),
        starved: flows.iter().map(|state| state.counted.starved).sum(),
        most_under_way: options.most_under_way,
        file_limit,
        watched,
        loopback: congestion.of_loopback().into_iter().map(str::to_owned).collect(),
    }
}

/// From the end of the warm-up to the end of the last pull; to the end of the run where a flow goes on until then, since
/// the time after its last pull is part of its rate.
fn seconds(frame: &Frame, work: &[FlowWork], flows: &[State], stopped: Option<Instant>) -> f64 {
    let last = flows.iter().filter_map(|flow| flow.counted.last_end).max();
    let lasts = work.iter().any(|flow| flow.timing.lasts(frame.warm_up + frame.duration));
    let end = match stopped {
        Some(stopped) => Some(stopped),
        None if lasts => last.max(Some(frame.end())),
        None => last,
    };
    end.map_or(0.0, |end| end.saturating_duration_since(frame.counts_from()).as_secs_f64())
}

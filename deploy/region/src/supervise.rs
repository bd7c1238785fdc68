//! Keeps one process running: starts it, says when it is ready, starts it again when it ends, ends it when told.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::charge::Charge;
use crate::data::Data;
use crate::error::RegionError;
use crate::node_settings::DRAIN_SECONDS;

/// Before the first restart; doubled for each one after that.
const BACK_OFF_FIRST: Duration = Duration::from_millis(200);
const BACK_OFF_MOST: Duration = Duration::from_secs(10);
/// A node that ran this long has earned a quick restart.
const BACK_OFF_FORGOTTEN: Duration = Duration::from_secs(30);
/// A node that was told to end gets its drain deadline and this much more.
const END_GRACE: Duration = Duration::from_secs(3);

/// What the nodes are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Run,
    /// End as soon as running pulls have ended or the drain deadline has come.
    Drain,
    /// End now.
    Kill,
}

/// What became of a node.
#[derive(Debug)]
pub(crate) enum News {
    Ready {
        pid: u32,
    },
    /// It could not be started.
    NotStarted {
        error: RegionError,
        again_in: Duration,
    },
    /// It ended by itself.
    Ended {
        pid: u32,
        how: String,
        again_in: Duration,
    },
}

/// Keeps a process running until it is ordered to end, and tells every change.
pub(crate) async fn tend(
    data: Data,
    charge: Charge,
    mut order: watch::Receiver<Order>,
    news: mpsc::UnboundedSender<(Charge, News)>,
) {
    let mut back_off = BACK_OFF_FIRST;
    // Nobody listens any more once the region ends, and then nothing needs to be told.
    let tell = |what: News| drop(news.send((charge.clone(), what)));
    while *order.borrow_and_update() == Order::Run {
        let started = Instant::now();
        match charge.start(&data) {
            Err(error) => tell(News::NotStarted { error, again_in: back_off }),
            Ok(mut node) => {
                let child = &mut node.child;
                let pid = child.id().unwrap_or_default();
                let ready = async {
                    charge.ready().await;
                    tell(News::Ready { pid });
                    std::future::pending::<()>().await;
                };
                let status = tokio::select! {
                    status = child.wait() => status,
                    () = ready => return,
                    _ = order.changed() => {
                        end(child, &mut order).await;
                        return node.logged().await;
                    }
                };
                if started.elapsed() > BACK_OFF_FORGOTTEN {
                    back_off = BACK_OFF_FIRST;
                }
                node.logged().await;
                let how = status.map_or_else(|error| error.to_string(), describe);
                tell(News::Ended { pid, how, again_in: back_off });
            }
        }
        tokio::select! {
            () = sleep(back_off) => {}
            _ = order.changed() => {}
        }
        back_off = (back_off * 2).min(BACK_OFF_MOST);
    }
}

/// Ends a node as it was ordered, and returns when it is gone.
async fn end(child: &mut Child, order: &mut watch::Receiver<Order>) {
    if *order.borrow_and_update() == Order::Drain {
        // The number is still the child's: it has not been waited for.
        if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            // It fails only if the child has ended by itself, which is what is waited for next.
            let _ = kill_process(pid, Signal::TERM);
        }
        let patience = Duration::from_secs(DRAIN_SECONDS) + END_GRACE;
        tokio::select! {
            ended = timeout(patience, child.wait()) => if ended.is_ok() { return },
            _ = order.changed() => {}
        }
    }
    let _ = child.kill().await;
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (_, Some(signal)) => format!("was ended by signal {signal}{}", name_of(signal)),
        _ => "ended".to_owned(),
    }
}

fn name_of(signal: i32) -> &'static str {
    match signal {
        6 => " (SIGABRT)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

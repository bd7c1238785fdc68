//! What the node's end asks of one connection, and when.
//!
//! | state | HTTP/1.1 | HTTP/2 |
//! |---|---|---|
//! | draining | its first response after a moment drawn at random from the spread says `Connection: close`; without a request it is closed once that has lasted `idle` | GOAWAY at such a moment; it ends with its last stream |
//! | cutting, closing | its response is cut at its turn, if the client can resume it, and in any case shortly after | its streams go on |
//! | hard stop | whatever runs is cut | the same |

use metrics::counter;
use tokio::time::{Duration, Instant, sleep_until};

use super::{End, FIRST_REQUEST, Protocol};
use crate::connections::{Connection, Entry};
use crate::lifecycle::{Cuts, Leaving, Lifecycle, Slot, State};

/// What a client has to have got of one response before it is cut: skopeo, podman and CRI-O go on with a body at most
/// once if less came since the request (containers/image, `docker/body_reader.go`). A head is at most 16 KiB of it.
const RESUMABLE_BYTES: u64 = (1 << 20) + (16 << 10);

/// What is asked of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// To end after what runs, and to take no more.
    Finish,
    /// To end now, so that its client resumes.
    Cut,
    /// To end with the process.
    Stop,
}

/// When a connection is told to close: at a moment of its own, so that not all clients come back at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goodbye {
    opened: Instant,
    /// From 0 to 1: how far into the spread.
    share: f64,
}

impl Goodbye {
    fn at(self, leaving: &Leaving) -> Instant {
        leaving.began.max(self.opened) + leaving.spread.mul_f64(self.share)
    }

    /// Whether it is time.
    pub(super) fn is_due(self, life: &Lifecycle) -> bool {
        if !life.is_leaving() {
            return false;
        }
        let over = |leaving: &Leaving| leaving.cuts.is_some() || life.state() == State::Exit;
        life.leaving().is_some_and(|leaving| over(&leaving) || self.at(&leaving) <= Instant::now())
    }
}

/// The orders of one connection.
pub(super) struct Orders<'a> {
    protocol: Protocol,
    life: &'a Lifecycle,
    entry: &'a Entry,
    goodbye: Goodbye,
    finishing: bool,
    slot: Option<Slot>,
}

impl<'a> Orders<'a> {
    pub(super) fn new(protocol: Protocol, life: &'a Lifecycle, entry: &'a Entry) -> Self {
        let goodbye = Goodbye { opened: Instant::now(), share: rand::random() };
        Self { protocol, life, entry, goodbye, finishing: false, slot: None }
    }

    /// When it is told to close.
    pub(super) fn goodbye(&self) -> Goodbye {
        self.goodbye
    }

    /// The next order. It has to be polled whenever the connection is, after it. Safe to drop at any point.
    pub(super) async fn next(&mut self) -> Order {
        loop {
            let state = self.life.state();
            let Some(leaving) = self.life.leaving().filter(|_| state >= State::Draining) else {
                self.life.leaves(state).await;
                continue;
            };
            if leaving.stop {
                return Order::Stop;
            }
            // The process waits for nothing but a connection that came in the last moment.
            let limit = if state == State::Exit { FIRST_REQUEST } else { leaving.idle };
            let (slot, finishing) = (&mut self.slot, self.finishing);
            let (life, entry, goodbye) = (self.life, self.entry, self.goodbye);
            let order = match (self.protocol, &leaving.cuts) {
                (Protocol::Http1, None) => tokio::select! {
                    _ = life.leaves(state) => continue,
                    () = idle(&entry.connection, limit), if !finishing => Order::Finish,
                },
                (Protocol::Http1, Some(cuts)) => tokio::select! {
                    _ = life.leaves(state) => continue,
                    () = idle(&entry.connection, FIRST_REQUEST), if !finishing => Order::Finish,
                    () = turn(entry, cuts, slot) => Order::Cut,
                },
                (Protocol::Http2, cuts) => {
                    let at = if cuts.is_some() { Instant::now() } else { goodbye.at(&leaving) };
                    tokio::select! {
                        _ = life.leaves(state) => continue,
                        () = sleep_until(at), if !finishing => Order::Finish,
                    }
                }
            };
            if order == Order::Finish {
                self.finishing = true;
                if self.protocol == Protocol::Http1 {
                    counter!("dataproxy_idle_closed_total").increment(1);
                }
            }
            return order;
        }
    }

    /// Counts what `order` cuts, and says how the connection ends.
    pub(super) fn cut(&self, order: Order) -> End {
        let responses = self.entry.connection.cut();
        if responses == 0 {
            return End::Whole;
        }
        let kind = if order == Order::Cut { "soft" } else { "hard" };
        counter!("dataproxy_cuts_total", "kind" => kind).increment(responses);
        if order == Order::Cut {
            self.life.has_cut(responses);
        }
        End::Cut
    }
}

/// Resolves once a connection has been without a request for so long.
async fn idle(connection: &Connection, limit: Duration) {
    loop {
        let now = Instant::now();
        let until = connection.idle_since().map_or(now, |since| since) + limit;
        if until <= now {
            return;
        }
        sleep_until(until).await;
    }
}

/// Resolves when it is the turn of a connection's response to be cut.
async fn turn(entry: &Entry, cuts: &Cuts, slot: &mut Option<Slot>) {
    let connection = &entry.connection;
    // Nothing else wakes the task of a connection that begins a request or writes, so these look whenever it is polled.
    seen(|| connection.is_busy()).await;
    let Slot { due, latest } = *slot.get_or_insert_with(|| cuts.slot(|| entry.table().count().responses));
    sleep_until(due).await;
    tokio::select! {
        () = seen(|| connection.is_busy() && connection.written_since_request() >= RESUMABLE_BYTES) => {}
        () = async { sleep_until(latest).await; seen(|| connection.is_busy()).await } => {}
    }
}

/// Resolves when it is polled and `look` says yes.
async fn seen(look: impl Fn() -> bool) {
    std::future::poll_fn(|_| if look() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending })
        .await;
}

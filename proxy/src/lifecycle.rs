//! The life of a node: one state, seen by every part, and the one place where a wish to change it is heard.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio::time::Instant;

use machine::{Machine, Seen};
use past::Past;
use wish::Wishes;

mod cuts;
mod machine;
mod past;
mod timers;
mod wish;

pub use cuts::{Cuts, Slot};
pub use machine::{Ending, State, TooLate};
pub use timers::Timers;
pub use wish::{Drain, Source, Wish};

/// The state in force, what is asked of the node, and the wish to read files again. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Lifecycle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Every response reads it, so there is no lock around it.
    state: AtomicU8,
    changes: watch::Sender<State>,
    /// Moves with everything that may move the time of the next look.
    stirred: watch::Sender<u64>,
    control: Mutex<Control>,
    leaving: ArcSwapOption<Leaving>,
    reload: watch::Sender<u64>,
    epoch: Instant,
    /// Milliseconds after `epoch`, and one more, at which the last connection came; 0 for none.
    last_arrival: AtomicU64,
    soft_cuts: AtomicU64,
}

#[derive(Debug)]
struct Control {
    machine: Machine,
    wishes: Wishes,
    asked: Option<(Source, Instant)>,
    past: Past,
}

/// What connections need to know of a drain under way.
#[derive(Debug)]
pub struct Leaving {
    /// When it began to drain.
    pub began: Instant,
    /// Connections are told to close at moments spread over this.
    pub spread: Duration,
    /// How long a connection may be without a request.
    pub idle: Duration,
    /// Which response is cut when; none before responses are.
    pub cuts: Option<Arc<Cuts>>,
    /// Whether whatever runs ends now, with the process.
    pub stop: bool,
}

/// What is known of a node's end.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// The state.
    pub state: State,
    /// How long it lasts.
    pub age: Duration,
    /// What is asked of the node.
    pub wish: Wish,
    /// Who asked last, and how long ago.
    pub asked: Option<(Source, Duration)>,
    /// Until running responses are cut.
    pub deadline: Option<Duration>,
    /// Until whatever still runs ends with the process.
    pub hard_stop: Option<Duration>,
    /// Responses cut so that their clients resume.
    pub soft_cuts: u64,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new(Timers::default())
    }
}

impl Lifecycle {
    /// A node that starts, and whose end takes these times.
    pub fn new(timers: Timers) -> Self {
        let epoch = Instant::now();
        let machine = Machine::new(timers, epoch);
        Self(Arc::new(Shared {
            state: AtomicU8::new(State::Starting as u8),
            changes: watch::Sender::new(State::Starting),
            stirred: watch::Sender::new(0),
            control: Mutex::new(Control {
                machine,
                wishes: Wishes::default(),
                asked: None,
                past: Past::default(),
            }),
            leaving: ArcSwapOption::empty(),
            reload: watch::Sender::new(0),
            epoch,
            last_arrival: AtomicU64::new(0),
            soft_cuts: AtomicU64::new(0),
        }))
    }

    /// The state now.
    pub fn state(&self) -> State {
        let number = self.0.state.load(Ordering::Acquire);
        State::ALL.get(usize::from(number)).copied().unwrap_or(State::Exit)
    }

    /// Whether connections end, one after the other.
    pub fn is_leaving(&self) -> bool {
        self.state() >= State::Draining
    }

    /// What connections need to know of the drain under way, if one is.
    pub fn leaving(&self) -> Option<Arc<Leaving>> {
        self.0.leaving.load_full()
    }

    /// Asks something of the node on behalf of `source`, in place of what `source` asked before. Of all that is asked the
    /// strongest is in force. To ask the same again changes nothing.
    ///
    /// # Errors
    /// [`TooLate`]: it is being cut, and was asked for less than that.
    pub fn ask(&self, source: Source, wish: Wish) -> Result<(), TooLate> {
        let now = Instant::now();
        let mut control = self.control();
        let wishes = control.wishes.with(source, wish);
        let before = control.machine.wish();
        control.machine.ask(wishes.strongest(), now)?;
        control.wishes = wishes;
        if before != control.machine.wish() {
            control.asked = Some((source, now));
            tracing::info!(
                source = source.as_str(),
                wish = control.machine.wish().as_str(),
                "asked of the node"
            );
        }
        self.publish(&mut control, now);
        Ok(())
    }

    /// What `source` asks of the node.
    pub fn standing(&self, source: Source) -> Wish {
        self.control().wishes.of(source)
    }

    /// Who else but `source` asks for more than to serve.
    pub fn others_ask(&self, source: Source) -> Option<Source> {
        self.control().wishes.others(source)
    }

    /// All is open: the node serves.
    pub fn opened(&self) {
        self.change(Machine::opened);
    }

    /// Has what runs cut now.
    pub fn hurry(&self) {
        self.change(Machine::hurry);
    }

    /// Looks whether it is time for the next state, with so many connections `open`.
    pub fn look(&self, open: usize) {
        let seen = Seen { open, cuts: self.soft_cuts(), last_arrival: self.last_arrival() };
        self.change(|machine, now| machine.look(seen, now));
    }

    fn change(&self, change: impl FnOnce(&mut Machine, Instant)) {
        let now = Instant::now();
        let mut control = self.control();
        change(&mut control.machine, now);
        self.publish(&mut control, now);
    }

    /// Shows connections and waiters what the machine has come to.
    fn publish(&self, control: &mut Control, now: Instant) {
        let (machine, before) = (&control.machine, self.state());
        let after = machine.state();
        if after != before {
            tracing::info!(state = after.as_str(), "node state");
            control.past.enters(machine, now, self.soft_cuts());
            self.0.leaving.store(self.leave(machine, now));
            self.0.state.store(after as u8, Ordering::Release);
            self.0.changes.send_replace(after);
        }
        self.0.stirred.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn leave(&self, machine: &Machine, now: Instant) -> Option<Arc<Leaving>> {
        if machine.state() < State::Draining {
            return None;
        }
        let (before, timers) = (self.leaving(), machine.timers());
        let cuts = before.as_ref().and_then(|before| before.cuts.clone());
        let hard_stop = machine.hard_stop();
        Some(Arc::new(Leaving {
            began: before.map_or(now, |before| before.began),
            spread: timers.spread,
            idle: timers.idle,
            cuts: cuts.or_else(|| Some(Arc::new(Cuts::new(now, timers.cut_window, hard_stop?)))),
            stop: machine.state() == State::Exit && machine.ending() == Ending::HardStop,
        }))
    }

    /// Resolves with the next state that is not `seen`. Safe to drop at any point.
    ///
    /// Every connection polls this whenever it is polled itself, and each poll of a receiver takes locks that all
    /// connections share. So the receiver is asked only if the state has moved, or if it would wake somebody else.
    pub async fn leaves(&self, seen: State) -> State {
        let mut receiver = self.0.changes.subscribe();
        let mut moved = std::pin::pin!(receiver.wait_for(|state| *state != seen));
        let mut wakes: Option<Waker> = None;
        poll_fn(|context| {
            let now = self.state();
            if now != seen {
                return Poll::Ready(now);
            }
            if wakes.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                return Poll::Pending;
            }
            wakes = Some(context.waker().clone());
            match moved.as_mut().poll(context) {
                Poll::Ready(Ok(state)) => Poll::Ready(*state),
                // The sender lives as long as `self` does.
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Resolves once the node is in `state` or one after it. Safe to drop at any point.
    pub async fn reaches(&self, state: State) {
        let mut now = self.state();
        while now < state {
            now = self.leaves(now).await;
        }
    }

    /// A receiver that changes when the time of the next look may have moved.
    pub fn stirs(&self) -> watch::Receiver<u64> {
        self.0.stirred.subscribe()
    }

    /// When to look again at the latest.
    pub fn due(&self) -> Option<Instant> {
        self.control().machine.due()
    }

    /// Whether to look when no connection is open any more.
    pub fn ends_when_empty(&self) -> bool {
        self.control().machine.ends_when_empty()
    }

    /// How it ended, once it is in EXIT.
    pub fn ending(&self) -> Ending {
        self.control().machine.ending()
    }

    /// A connection has come.
    pub fn arrived(&self) {
        let millis = u64::try_from(self.0.epoch.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.0.last_arrival.store(millis + 1, Ordering::Relaxed);
    }

    fn last_arrival(&self) -> Option<Instant> {
        let millis = self.0.last_arrival.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.0.epoch + Duration::from_millis(millis))
    }

    /// So many responses were cut so that their clients resume.
    pub(crate) fn has_cut(&self, responses: u64) {
        self.0.soft_cuts.fetch_add(responses, Ordering::Relaxed);
    }

    /// Responses cut so that their clients resume.
    pub fn soft_cuts(&self) -> u64 {
        self.0.soft_cuts.load(Ordering::Relaxed)
    }

    /// All that is known of the node's end.
    pub fn report(&self) -> Report {
        let now = Instant::now();
        let control = self.control();
        let machine = &control.machine;
        let until = |at: Instant| at.saturating_duration_since(now);
        Report {
            state: machine.state(),
            age: machine.age(now),
            wish: machine.wish(),
            asked: control.asked.map(|(source, at)| (source, now.saturating_duration_since(at))),
            deadline: machine.deadline().map(until),
            hard_stop: machine.hard_stop().map(until),
            soft_cuts: self.soft_cuts(),
        }
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.0.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the watched files to be read again now.
    pub fn reload(&self) {
        self.0.reload.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// A receiver that changes with each [`Lifecycle::reload`].
    pub fn reloads(&self) -> watch::Receiver<u64> {
        self.0.reload.subscribe()
    }
}

#[cfg(test)]
mod tests;

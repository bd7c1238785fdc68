//! A node's life once it serves: signals and time drive its states until it has ended.

use std::io::IsTerminal;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, sleep_until, timeout};

use crate::accept::Acceptor;
use crate::exit::{Exit, Failure};
use crate::lifecycle::{Drain, Ending, Lifecycle, Source, State, Wish};

use super::Handler;

/// How often, and for how long at most, new connections wait until a draining node with passed sockets is empty. Clients wait
/// 30 s for an answer.
const LULL_EVERY: Duration = Duration::from_secs(2);
const LULL: Duration = Duration::from_secs(1);
/// How long connections may take to end at the hard stop.
const STOP_WINDOW: Duration = Duration::from_millis(500);
/// How long connections may take that came while the node was just about to end.
const LATE_WINDOW: Duration = Duration::from_secs(30);

/// Serves until the node has come to its end; gives how it ended. The listeners are open until then.
pub(super) async fn live(life: &Lifecycle, acceptor: &Acceptor<Handler>, signals: &mut Signals) -> Ending {
    let mut stirs = life.stirs();
    while life.state() != State::Exit {
        let due = life.due();
        tokio::select! {
            asked = signals.next() => asked.obey(life),
            () = async { if let Some(due) = due { sleep_until(due).await } }, if due.is_some() => {
                life.look(acceptor.open());
            }
            () = acceptor.empty(), if life.ends_when_empty() => life.look(acceptor.open()),
            _ = stirs.changed() => {}
        }
    }
    life.ending()
}

/// Ends a draining node's connections though new ones come all the time, where somebody else has its sockets too: every
/// `LULL_EVERY` they wait in the kernel's queue for a moment, and if the node is empty in it, it is their successor's to take
/// them. It goes on for as long as it is polled.
pub(super) async fn lulls(life: &Lifecycle, acceptor: &Acceptor<Handler>) {
    loop {
        life.reaches(State::Draining).await;
        sleep(LULL_EVERY).await;
        if life.state() == State::Draining {
            acceptor.hold(true);
            // An empty node ends by itself, so there is nothing to hurry for.
            sleep(LULL).await;
            acceptor.hold(false);
        }
    }
}

/// Lets connections end that are still open once nothing is accepted any more.
pub(super) async fn leave(acceptor: &Acceptor<Handler>, ending: Ending) {
    let window = if ending == Ending::HardStop { STOP_WINDOW } else { LATE_WINDOW };
    // What does not end by then ends with the process.
    let _ = timeout(window, acceptor.empty()).await;
}

impl From<Ending> for Exit {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Clean => Self::Done,
            Ending::Cut => Self::Cut,
            Ending::HardStop => Self::HardStop,
        }
    }
}

/// What a signal asks of the node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    /// To drain.
    Drain(Drain),
    /// The same once more: to cut what runs, unless the drain was taken back meanwhile.
    Again(Drain),
    /// To cut what runs.
    Hurry,
    /// To be sent nothing any more.
    Cordon,
}

impl Asked {
    fn obey(self, life: &Lifecycle) {
        let drains = matches!(life.standing(Source::Operator), Wish::Drain(_));
        let asked = match self {
            Self::Again(_) if drains => {
                life.hurry();
                Ok(())
            }
            Self::Hurry => {
                life.hurry();
                Ok(())
            }
            Self::Drain(drain) | Self::Again(drain) => life.ask(Source::Operator, Wish::Drain(drain)),
            // Nothing takes a drain back by a signal.
            Self::Cordon if drains => Ok(()),
            Self::Cordon => life.ask(Source::Operator, Wish::Cordon),
        };
        if let Err(too_late) = asked {
            tracing::warn!(%too_late, "a signal asked for what cannot be done any more");
        }
    }
}

/// The signals that a node obeys; one that reloads is handled on the way.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user: Signal,
    drain: Drain,
    /// Whether one has asked for a drain already.
    asked: bool,
}

impl Signals {
    /// Listens to them; a drain that they ask for has this `deadline`.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn listen(life: &Lifecycle, deadline: Duration) -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::new(Exit::System, error));
        let mut hangup = listen(SignalKind::hangup())?;
        let life = life.clone();
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                life.reload();
            }
        });
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            user: listen(SignalKind::user_defined1())?,
            drain: Drain { deadline, lame_duck: None },
            asked: false,
        })
    }

    /// Resolves once a node that still starts is to end. Safe to drop at any point.
    pub(super) async fn end(&mut self, life: &Lifecycle) {
        loop {
            tokio::select! {
                asked = self.next() => asked.obey(life),
                () = life.reaches(State::Exit) => return,
            }
        }
    }

    /// Resolves with what the next signal asks. Safe to drop at any point.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => {}
            // Whoever sits at a terminal has seen enough.
            _ = self.interrupt.recv() => if std::io::stdin().is_terminal() { return Asked::Hurry },
            _ = self.user.recv() => return Asked::Cordon,
        }
        if std::mem::replace(&mut self.asked, true) {
            Asked::Again(self.drain)
        } else {
            Asked::Drain(self.drain)
        }
    }
}

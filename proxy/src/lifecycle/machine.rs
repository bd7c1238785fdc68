//! The states of a node and what leads from one to the next. Pure: it is told what happens and when, and says when it
//! wants to be told again.
//!
//! ```text
//! STARTING → READY ⇄ LAME_DUCK → DRAINING → CUTTING → CLOSING → EXIT
//! ```
//!
//! Until CUTTING a drain can be taken back. Every state but EXIT accepts connections.

use std::time::Duration;

use tokio::time::Instant;

use super::timers::Timers;
use super::wish::{Drain, Wish};

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Sockets are bound; bindings, accounts and cache are being opened.
    Starting,
    /// Pulls are served.
    Ready,
    /// Pulls are served as before; whoever asks is told to send none.
    LameDuck,
    /// Pulls are served, and connections end, one after the other.
    Draining,
    /// What still runs is being cut.
    Cutting,
    /// All that ran has ended; who was cut may still come back here.
    Closing,
    /// The process ends.
    Exit,
}

impl State {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Ready,
        Self::LameDuck,
        Self::Draining,
        Self::Cutting,
        Self::Closing,
        Self::Exit,
    ];

    /// The stable word for answers, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::LameDuck => "lame_duck",
            Self::Draining => "draining",
            Self::Cutting => "cutting",
            Self::Closing => "closing",
            Self::Exit => "exit",
        }
    }
}

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing was cut.
    Clean,
    /// Responses were cut so that clients resume them.
    Cut,
    /// Connections were open at the hard stop.
    HardStop,
}

/// It is too late to take a drain back: responses are being cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node is {}: what ran is being cut, and that cannot be taken back; start it again once it has ended", .0.as_str())]
pub struct TooLate(pub State);

/// What a node sees of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Connections open.
    pub(super) open: usize,
    /// Responses cut so far.
    pub(super) cuts: u64,
    /// When the last connection came.
    pub(super) last_arrival: Option<Instant>,
}

/// A drain under way.
#[derive(Clone, Copy, Debug)]
struct Run {
    lame_until: Instant,
    deadline: Instant,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Machine {
    timers: Timers,
    state: State,
    since: Instant,
    wish: Wish,
    run: Option<Run>,
    hard_stop: Option<Instant>,
    last_arrival: Option<Instant>,
    /// CLOSING: nobody has come back for long enough.
    settled: bool,
    ending: Ending,
}

impl Machine {
    pub(super) fn new(timers: Timers, now: Instant) -> Self {
        Self {
            timers,
            state: State::Starting,
            since: now,
            wish: Wish::Serve,
            run: None,
            hard_stop: None,
            last_arrival: None,
            settled: false,
            ending: Ending::Clean,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn timers(&self) -> &Timers {
        &self.timers
    }

    /// What is asked of the node.
    pub(super) fn wish(&self) -> Wish {
        self.wish
    }

    /// When running responses will be cut, if nothing else is asked.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.run.map(|run| run.deadline)
    }

    /// When whatever still runs ends with the process; known from CUTTING on.
    pub(super) fn hard_stop(&self) -> Option<Instant> {
        self.hard_stop
    }

    /// How it ended, once it is in EXIT.
    pub(super) fn ending(&self) -> Ending {
        self.ending
    }

    /// When to look again at the latest; never, if nothing will happen by itself.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Starting | State::Ready | State::Exit => None,
            State::LameDuck => self.run.map(|run| run.lame_until.min(run.deadline).min(self.quiet_at())),
            State::Draining => self.run.map(|run| run.deadline),
            State::Cutting => self.hard_stop,
            State::Closing if self.settled => self.hard_stop,
            State::Closing => self.hard_stop.map(|hard| hard.min(self.settles_at())),
        }
    }

    /// Whether the moment at which no connection is open counts: the next look then changes the state.
    pub(super) fn ends_when_empty(&self) -> bool {
        match self.state {
            State::Draining | State::Cutting => true,
            State::Closing => self.settled,
            State::Starting | State::Ready | State::LameDuck | State::Exit => false,
        }
    }

    /// All is open.
    pub(super) fn opened(&mut self, now: Instant) {
        if self.state == State::Starting {
            let cordoned = self.wish == Wish::Cordon;
            self.enter(if cordoned { State::LameDuck } else { State::Ready }, now);
        }
    }

    /// Something is asked of the node. To ask the same again changes nothing, and a deadline only ever comes nearer.
    pub(super) fn ask(&mut self, wish: Wish, now: Instant) -> Result<(), TooLate> {
        if self.state >= State::Cutting {
            return if matches!(wish, Wish::Drain(_)) { Ok(()) } else { Err(TooLate(self.state)) };
        }
        self.wish = wish;
        match wish {
            Wish::Drain(drain) => self.drain(drain, now),
            Wish::Serve | Wish::Cordon => {
                self.run = None;
                let next = if wish == Wish::Serve { State::Ready } else { State::LameDuck };
                if self.state > State::Starting && self.state != next {
                    self.enter(next, now);
                }
            }
        }
        Ok(())
    }

    fn drain(&mut self, Drain { deadline, lame_duck }: Drain, now: Instant) {
        if self.state == State::Starting {
            // Nothing is served yet that could end.
            return self.enter(State::Exit, now);
        }
        if self.state == State::Ready {
            self.enter(State::LameDuck, now);
        }
        // The time for which a node was cordoned counts. A short deadline leaves most of itself for running pulls.
        let lame_duck = lame_duck.unwrap_or(self.timers.lame_duck).min(deadline / 4);
        let asked = Run { lame_until: self.since + lame_duck, deadline: now + deadline };
        let run = self.run.get_or_insert(asked);
        run.lame_until = run.lame_until.min(asked.lame_until);
        run.deadline = run.deadline.min(asked.deadline);
        if self.state == State::LameDuck && run.lame_until <= now {
            self.enter(State::Draining, now);
        }
    }

    /// What runs is to be cut now.
    pub(super) fn hurry(&mut self, now: Instant) {
        match self.state {
            State::Starting => self.enter(State::Exit, now),
            State::Ready | State::LameDuck | State::Draining => self.cut(now),
            State::Cutting | State::Closing | State::Exit => {}
        }
    }

    fn cut(&mut self, now: Instant) {
        self.hard_stop = Some(now + self.timers.hard_stop);
        self.enter(State::Cutting, now);
    }

    /// Time has passed, or connections have ended.
    pub(super) fn look(&mut self, seen: Seen, now: Instant) {
        self.last_arrival = self.last_arrival.max(seen.last_arrival);
        let empty = seen.open == 0;
        match (self.state, self.run) {
            (State::LameDuck, Some(run)) if now >= run.deadline => self.cut(now),
            (State::LameDuck, Some(run)) if now >= run.lame_until.min(self.quiet_at()) => {
                self.enter(State::Draining, now);
            }
            (State::Draining, _) if empty => self.end(Ending::Clean, now),
            (State::Draining, Some(run)) if now >= run.deadline => self.cut(now),
            (State::Cutting, _) if empty && seen.cuts == 0 => self.end(Ending::Clean, now),
            (State::Cutting, _) if empty => self.enter(State::Closing, now),
            (State::Cutting | State::Closing, _) if self.hard_stop.is_some_and(|hard| now >= hard) => {
                self.end(if empty { Ending::Cut } else { Ending::HardStop }, now);
            }
            (State::Closing, _) => {
                self.settled |= now >= self.settles_at();
                if self.settled && empty {
                    self.end(Ending::Cut, now);
                }
            }
            _ => {}
        }
    }

    /// Since when or until when nobody has come for `quiet`.
    fn quiet_at(&self) -> Instant {
        self.last_arrival.map_or(self.since, |last| last.max(self.since)) + self.timers.quiet
    }

    fn settles_at(&self) -> Instant {
        let quiet = self.timers.closing_quiet;
        let last = self.last_arrival.map_or(self.since, |last| last.max(self.since));
        (last + quiet).min(self.since + quiet * 2)
    }

    fn end(&mut self, ending: Ending, now: Instant) {
        self.ending = ending;
        self.enter(State::Exit, now);
    }

    fn enter(&mut self, state: State, now: Instant) {
        self.state = state;
        self.since = now;
    }

    /// How long the state lasts so far.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

#[cfg(test)]
mod tests;

//! From readings to bins.
//!
//! A bin is a stretch of the wall's clock, aligned to multiples of its length since 1970 UTC: with 60 s, a minute. Its
//! busy time is the difference of the counters at its edges. A reading is seldom made at the edge itself, so the time
//! between the two around it is divided. Where the clocks or the counters cannot be believed, the time between two
//! readings counts as not observed, and the bins that it touches say why: a wrong ratio is never made up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Times;
use crate::limit::{Counters, Scope};

/// The wall's clock may be off by so much against the one that nobody sets, within a bin, before it counts as set.
const STEP: Duration = Duration::from_millis(500);
/// The machine counts as suspended from here.
const SUSPENDED: Duration = Duration::from_millis(100);
/// A busy time beyond what the cores have is taken for rounding of the kernel's up to this part of it …
const SLACK: f64 = 0.02;
/// … and so many seconds a core: two ticks.
const SLACK_SECONDS: f64 = 0.02;

/// What is known at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The clocks.
    pub times: Times,
    /// The counters.
    pub counters: Counters,
    /// Whether new traffic is sent to the node.
    pub in_rotation: bool,
}

/// Why a bin is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suspicion {
    /// The wall's clock was set.
    ClockStep,
    /// The machine was suspended.
    Suspended,
    /// No reading was made around an edge.
    MissedEdge,
    /// A counter began anew.
    CounterReset,
    /// Another limit binds than before.
    LimitChanged,
    /// More was used than the limit allows.
    OverLimit,
}

impl Suspicion {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClockStep => "clock_step",
            Self::Suspended => "suspended",
            Self::MissedEdge => "missed_edge",
            Self::CounterReset => "counter_reset",
            Self::LimitChanged => "limit_changed",
            Self::OverLimit => "over_limit",
        }
    }
}

/// What was measured of a bin. Times are in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The bin's number: its start since 1970, divided by its length. After a clock was set back, the same may come again.
    pub number: u64,
    /// Busy time, of all cores.
    pub busy: f64,
    /// The part of it that a hypervisor took.
    pub steal: f64,
    /// Cores that the limit allowed, on average.
    pub cores: f64,
    /// The part of the bin that was measured.
    pub observed: f64,
    /// The part of that in which new traffic was sent to the node.
    pub in_rotation: f64,
    /// What was measured.
    pub scope: Scope,
    /// Why it is not to be believed; each once, in order.
    pub suspicions: Vec<Suspicion>,
}

impl Measured {
    /// The busy part of what the cores had, 0 to 1 where nothing is suspect; 0 if nothing was observed.
    pub fn ratio(&self) -> f64 {
        let capacity = self.cores * self.observed;
        if capacity > 0.0 { self.busy / capacity } else { 0.0 }
    }
}

/// Makes bins of readings. Asks no clock.
#[derive(Debug)]
pub struct Meter {
    bin: Duration,
    /// The longest time between two readings that is divided at an edge.
    gap: Duration,
    last: Option<(Reading, Open)>,
}

/// A bin that has not ended.
#[derive(Clone, Debug)]
struct Open {
    number: u64,
    /// How far the wall's clock was ahead of the other when the bin was opened.
    ahead: i128,
    busy: f64,
    steal: f64,
    capacity: f64,
    observed: f64,
    in_rotation: f64,
    scope: Scope,
    suspicions: Vec<Suspicion>,
}

impl Open {
    fn new(number: u64, at: &Reading) -> Self {
        Self {
            number,
            ahead: ahead(&at.times),
            busy: 0.0,
            steal: 0.0,
            capacity: 0.0,
            observed: 0.0,
            in_rotation: 0.0,
            scope: at.counters.scope,
            suspicions: Vec::new(),
        }
    }

    fn suspect(&mut self, why: Suspicion) {
        if let Err(at) = self.suspicions.binary_search(&why) {
            self.suspicions.insert(at, why);
        }
    }

    fn end(mut self) -> Measured {
        let cores = if self.observed > 0.0 { self.capacity / self.observed } else { 0.0 };
        if self.busy > self.capacity {
            if self.busy > self.capacity * (1.0 + SLACK) + cores * SLACK_SECONDS {
                self.suspect(Suspicion::OverLimit);
            } else {
                self.busy = self.capacity;
            }
        }
        Measured {
            number: self.number,
            busy: self.busy,
            steal: self.steal.min(self.busy),
            cores,
            observed: self.observed,
            in_rotation: self.in_rotation,
            scope: self.scope,
            suspicions: self.suspicions,
        }
    }
}

impl Meter {
    /// A meter of bins of `bin`, whole seconds, fed every `every` or so.
    pub fn new(bin: Duration, every: Duration) -> Self {
        let bin = bin.max(Duration::from_secs(1));
        Self { bin, gap: (every * 3).max(bin / 20), last: None }
    }

    /// The number of the bin that holds a moment of the wall's clock.
    pub fn number(&self, wall: Duration) -> u64 {
        wall.as_secs() / self.bin.as_secs()
    }

    /// Takes a reading, made after all before; gives the bin that has ended by it.
    pub fn take(&mut self, reading: Reading) -> Option<Measured> {
        let number = self.number(reading.times.wall);
        let Some((before, mut open)) = self.last.take() else {
            self.last = Some((reading, Open::new(number, &reading)));
            return None;
        };
        let lost = self.lost(&before, &open, &reading, number);
        if let Some(why) = lost {
            open.suspect(why);
            if number == open.number && why != Suspicion::ClockStep {
                self.last = Some((reading, open));
                return None;
            }
            // The same number again, if the clock was set within a bin: the router puts the parts together.
            let mut next = Open::new(number, &reading);
            next.suspect(why);
            self.last = Some((reading, next));
            return Some(open.end());
        }
        let whole = reading.times.running.saturating_sub(before.times.running).as_secs_f64();
        let busy = (reading.counters.busy - before.counters.busy).as_secs_f64();
        let steal = reading.counters.steal.saturating_sub(before.counters.steal).as_secs_f64();
        let rotation = before.in_rotation && reading.in_rotation;
        let add = |open: &mut Open, part: f64| {
            open.busy += busy * part;
            open.steal += steal * part;
            open.capacity += whole * part * reading.counters.cores;
            open.observed += whole * part;
            open.in_rotation += if rotation { whole * part } else { 0.0 };
        };
        if number == open.number {
            add(&mut open, 1.0);
            self.last = Some((reading, open));
            return None;
        }
        let edge = Duration::from_secs(number.saturating_mul(self.bin.as_secs()));
        let (to, from) = (edge.saturating_sub(before.times.wall), reading.times.wall.saturating_sub(edge));
        let all = (to + from).as_secs_f64();
        let part = if all > 0.0 { to.as_secs_f64() / all } else { 1.0 };
        let mut next = Open::new(number, &reading);
        add(&mut open, part);
        add(&mut next, 1.0 - part);
        self.last = Some((reading, next));
        Some(open.end())
    }

    /// Why the time since `before` counts as not observed, if so.
    fn lost(&self, before: &Reading, open: &Open, now: &Reading, number: u64) -> Option<Suspicion> {
        let (was, is) = (&before.times, &now.times);
        let running = is.running.saturating_sub(was.running);
        if is.boot.saturating_sub(was.boot) > running + SUSPENDED {
            return Some(Suspicion::Suspended);
        }
        if (ahead(is) - open.ahead).unsigned_abs() > STEP.as_nanos() {
            return Some(Suspicion::ClockStep);
        }
        let crosses = number != open.number;
        if crosses && (running > self.gap || number != open.number + 1) {
            return Some(Suspicion::MissedEdge);
        }
        if (before.counters.counter, before.counters.scope) != (now.counters.counter, now.counters.scope) {
            return Some(Suspicion::LimitChanged);
        }
        (now.counters.busy < before.counters.busy).then_some(Suspicion::CounterReset)
    }
}

/// How far the wall's clock is ahead of the one that goes on in suspension, in nanoseconds.
fn ahead(times: &Times) -> i128 {
    let nanos = |time: Duration| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
    nanos(times.wall) - nanos(times.boot)
}

#[cfg(test)]
mod tests;

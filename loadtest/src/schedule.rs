//! When the pulls of a flow are meant to start, as a function of its plan and the seed alone.
//!
//! A [`Schedule`] is an iterator of intended starts that knows nothing of the pulls that still run: this is what makes an
//! open loop. Every pulling thread walks the whole schedule and takes the pulls whose number is its own, so that the
//! schedule is the same however many threads there are.

mod trace;

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand_distr::Exp1;

use crate::plan::{Arrivals, Flow, Step};
use crate::random::{Generator, Purpose, generator_for};
use crate::subject::Subject;
pub(crate) use trace::TraceError;

/// One pull to be made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arrival {
    /// Its place in the order of intended starts, from 0.
    pub(crate) number: u64,
    /// When it is meant to start, after the start of the run.
    pub(crate) at: Duration,
    /// What it takes, where a trace says so.
    pub(crate) subject: Option<Arc<Subject>>,
}

/// How a flow is timed.
#[derive(Clone, Debug)]
pub(crate) enum Timing {
    /// By the clock.
    Open(Schedule),
    /// By the end of the pull before.
    Closed(Closed),
}

/// A closed loop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Closed {
    /// Pulls under way at any time.
    pub(crate) pullers: u32,
    /// Pause between two pulls of one puller.
    pub(crate) think: Duration,
    /// From when on, after the start of the run.
    pub(crate) begin: Duration,
    /// Until when pulls are started.
    pub(crate) end: Duration,
    /// The most pulls.
    pub(crate) most: u64,
}

/// Intended starts in order. Cheap to copy; a copy goes on from where the original stands.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    begin: Duration,
    end: Duration,
    most: u64,
    next: u64,
    pace: Pace,
}

#[derive(Clone, Debug)]
enum Pace {
    Even { rate: f64 },
    Random { steps: Arc<[Step]>, current: usize, entered: f64, clock: f64, generator: Generator },
    AtOnce,
    Trace { lines: Arc<[trace::Line]>, speed: f64 },
}

/// Arrivals that cannot be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScheduleError {
    #[error("{what} is {value}, and must be a number above 0")]
    NotPositive { what: &'static str, value: f64 },
    #[error("arrivals by steps need at least one step with a rate above 0 and a time above 0")]
    NoStep,
    #[error(
        "it begins {begin:?} after the start of the run and ends at {end:?}: there is no time left for a pull"
    )]
    NoTime { begin: Duration, end: Duration },
    #[error(transparent)]
    Trace(#[from] TraceError),
}

impl Timing {
    /// The timing of a flow in a run that starts pulls until `run_end`.
    ///
    /// # Errors
    ///
    /// If a rate, a speed or a count is not above 0, the flow has no time, or its trace cannot be read.
    pub(crate) fn new(
        flow: &Flow,
        index: usize,
        seed: u64,
        run_end: Duration,
    ) -> Result<Self, ScheduleError> {
        let begin = flow.begin;
        let end = flow.end.map_or(run_end, |end| end.min(run_end));
        if begin >= end {
            return Err(ScheduleError::NoTime { begin, end });
        }
        let most = flow.pulls.unwrap_or(u64::MAX);
        let generator = || generator_for(seed, index, Purpose::Arrivals);
        let (most, pace) = match &flow.arrivals {
            Arrivals::Constant { rate } => (most, Pace::Even { rate: positive("the rate", *rate)? }),
            Arrivals::Poisson { rate } => {
                let forever = Step { rate: positive("the rate", *rate)?, lasts: Duration::MAX };
                (most, Pace::random([forever].into(), generator()))
            }
            Arrivals::Steps { steps } => (most, Pace::random(checked(steps)?, generator())),
            Arrivals::Burst { pulls } => {
                positive("the number of pulls of the burst", *pulls as f64)?;
                (most.min(*pulls), Pace::AtOnce)
            }
            Arrivals::Replay { trace, speed } => {
                let lines = trace::read(trace)?.into();
                (most, Pace::Trace { lines, speed: positive("the speed of the replay", *speed)? })
            }
            Arrivals::Closed { pullers, think } => {
                positive("the number of pullers", f64::from(*pullers))?;
                return Ok(Self::Closed(Closed { pullers: *pullers, think: *think, begin, end, most }));
            }
        };
        Ok(Self::Open(Schedule { begin, end, most, next: 0, pace }))
    }

    /// Starts no more than `most` pulls.
    pub(crate) fn at_most(&mut self, most: u64) {
        match self {
            Self::Open(schedule) => schedule.most = schedule.most.min(most),
            Self::Closed(closed) => closed.most = closed.most.min(most),
        }
    }

    /// How many pulls are meant to start from `from` until before `to`; `None` where that is not known before.
    pub(crate) fn planned(&self, from: Duration, to: Duration) -> Option<u64> {
        /// Beyond this it would take a noticeable time to count.
        const COUNTED: usize = 2_000_000;
        let Self::Open(schedule) = self else { return None };
        let mut counted = 0;
        for (walked, arrival) in schedule.clone().enumerate() {
            if arrival.at >= to {
                break;
            }
            if walked == COUNTED {
                return None;
            }
            counted += u64::from(arrival.at >= from);
        }
        Some(counted)
    }

    /// Whether it goes on until the end of the run, and not only until some number of pulls.
    pub(crate) fn lasts(&self, run_end: Duration) -> bool {
        match self {
            Self::Closed(closed) => closed.most == u64::MAX && closed.end >= run_end,
            Self::Open(Schedule { pace, most, end, .. }) => {
                let endless = match pace {
                    Pace::Even { .. } => true,
                    Pace::Random { steps, .. } => steps.iter().any(|step| step.lasts == Duration::MAX),
                    Pace::AtOnce | Pace::Trace { .. } => false,
                };
                endless && *most == u64::MAX && *end >= run_end
            }
        }
    }

    /// The subjects that a trace names.
    pub(crate) fn traced_subjects(&self) -> Vec<Arc<Subject>> {
        match self {
            Self::Open(Schedule { pace: Pace::Trace { lines, .. }, .. }) => {
                lines.iter().filter_map(|line| line.subject.clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether some pull has to choose its subject, since no trace names it.
    pub(crate) fn chooses(&self) -> bool {
        match self {
            Self::Open(Schedule { pace: Pace::Trace { lines, .. }, .. }) => {
                lines.iter().any(|line| line.subject.is_none())
            }
            _ => true,
        }
    }
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let number = self.next;
        if number >= self.most {
            return None;
        }
        let (after, subject) = self.pace.at(number)?;
        let at = self.begin.checked_add(after)?;
        if at >= self.end {
            return None;
        }
        self.next += 1;
        Some(Arrival { number, at, subject })
    }
}

impl Pace {
    fn random(steps: Arc<[Step]>, generator: Generator) -> Self {
        Self::Random { steps, current: 0, entered: 0.0, clock: 0.0, generator }
    }

    /// When the `number`-th pull is meant to start, after the begin of the flow. Asked for in order.
    fn at(&mut self, number: u64) -> Option<(Duration, Option<Arc<Subject>>)> {
        match self {
            // From the number and not from the last one, so that nothing adds up.
            Self::Even { rate } => seconds(number as f64 / *rate).map(|after| (after, None)),
            Self::AtOnce => Some((Duration::ZERO, None)),
            Self::Trace { lines, speed } => {
                let line = lines.get(usize::try_from(number).ok()?)?;
                seconds(line.seconds / *speed).map(|after| (after, line.subject.clone()))
            }
            Self::Random { steps, current, entered, clock, generator } => {
                // The time to the next one is exponential under the rate of each step; what one step has not used up of it
                // the next goes on with at its own rate (a Poisson process has no memory).
                let mut left: f64 = generator.sample(Exp1);
                loop {
                    let step = steps.get(*current)?;
                    let ends = *entered + step.lasts.as_secs_f64();
                    let inside = (ends - *clock) * step.rate;
                    if left < inside {
                        *clock += left / step.rate;
                        return seconds(*clock).map(|after| (after, None));
                    }
                    left -= inside;
                    *entered = ends;
                    *clock = ends;
                    *current += 1;
                }
            }
        }
    }
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

fn positive(what: &'static str, value: f64) -> Result<f64, ScheduleError> {
    if value.is_finite() && value > 0.0 { Ok(value) } else { Err(ScheduleError::NotPositive { what, value }) }
}

fn checked(steps: &[Step]) -> Result<Arc<[Step]>, ScheduleError> {
    for step in steps {
        if step.rate != 0.0 {
            positive("the rate of a step", step.rate)?;
        }
    }
    if !steps.iter().any(|step| step.rate > 0.0 && !step.lasts.is_zero()) {
        return Err(ScheduleError::NoStep);
    }
    Ok(steps.into())
}

#[cfg(test)]
mod tests;

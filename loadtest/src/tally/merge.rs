//! The tallies of a flow's threads, as one.

use std::sync::Arc;

use super::series::by_outcome;
use super::{Frame, State, Tally};
use crate::outcome::Outcome;
use crate::phase::Phase;
use crate::report::{FlowReport, PhaseReport};

/// All that the threads of one flow saw; `None` without any.
pub(crate) fn merged(tallies: &[Arc<Tally>]) -> Option<State> {
    let (first, others) = tallies.split_first()?;
    let mut whole = first.read(State::clone);
    for other in others {
        other.read(|state| {
            whole.counted.add(&state.counted);
            whole.warm_up.add(&state.warm_up);
            whole.progress += state.progress;
            for (count, more) in whole.waiting.iter_mut().zip(state.waiting) {
                *count += more;
            }
        });
    }
    Some(whole)
}

/// What a flow found, after its run.
pub(crate) fn flow_report(name: &str, subjects: u64, whole: &State, frame: &Frame) -> FlowReport {
    let counted = &whole.counted;
    let seen = Phase::ALL.iter().zip(&counted.phases).flat_map(|(phase, outcomes)| {
        Outcome::ALL.iter().zip(outcomes).filter_map(|(outcome, distribution)| {
            let distribution = distribution.as_ref()?;
            Some(PhaseReport {
                phase: *phase,
                outcome: *outcome,
                summary: distribution.summary(),
                histogram: distribution.buckets(),
            })
        })
    });
    FlowReport {
        name: name.to_owned(),
        subjects,
        pulls: by_outcome(&counted.pulls),
        warm_up_pulls: whole.warm_up.started,
        unfinished: counted.started.saturating_sub(counted.ended()),
        bytes: by_outcome(&counted.pull_bytes),
        requests: counted.requests,
        connections: counted.connections,
        resumes: counted.resumes,
        phases: seen.collect(),
        lateness: counted.lateness.summary(),
        series: counted.series.bins(frame.start, frame.duration),
        failures: counted.failures.clone(),
    }
}

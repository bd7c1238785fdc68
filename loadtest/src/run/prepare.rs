//! A plan, checked and ready to be driven. Whatever is wrong with a plan is found here, before anything is asked.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::drive::FlowWork;
use crate::plan::{Arrivals, Client, Flow, LimitError, Plan};
use crate::schedule::{ScheduleError, Timing};
use crate::workload::{Weighted, Workload, WorkloadError};

/// No time of a plan is longer: a hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

/// A plan that cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("the plan has no flow; a flow says what is pulled, how, and when")]
    NoFlow,
    #[error("the plan has two flows named {0:?}; a name is what reports and limits know a flow by")]
    TwoFlows(String),
    #[error("the {what} of the run is 0; give it a time such as 30s")]
    NoTime { what: &'static str },
    #[error("{what} is {time:?}; no time of a plan is longer than a hundred years")]
    TooLong { what: String, time: Duration },
    #[error("the run has no thread to pull; use 1 or more")]
    NoThread,
    #[error("flow {flow:?}: {problem}")]
    Flow { flow: String, problem: FlowError },
    #[error("event {name:?} is at {at:?}, and the run starts its last pull at {end:?}")]
    Event { name: String, at: Duration, end: Duration },
    #[error("closed loops have {pullers} pulls under way, and --most-under-way is {most}")]
    TooManyPullers { pullers: u64, most: usize },
    #[error(transparent)]
    Limit(#[from] LimitError),
}

/// A flow that cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlowError {
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    #[error(
        "all its pulls are meant to start in the warm-up of {0:?}, and would not count; let it begin later"
    )]
    AllWarmUp(Duration),
    #[error("its {what} is 0; leave it out or give it a number above 0")]
    Zero { what: &'static str },
    #[error("it reads both in chunks and in ranges; choose one")]
    ChunksAndRanges,
    #[error("it reads in chunks, which is what containerd does; its client is {0:?}")]
    Chunks(Client),
}

/// The flows of `plan`, with what the command line gives for those that name no subjects.
///
/// # Errors
///
/// The first thing that is wrong with the plan.
pub(crate) fn prepare(
    plan: &Plan,
    seed: u64,
    given: &[Weighted],
    most_under_way: usize,
) -> Result<Vec<FlowWork>, PlanError> {
    for (what, time) in [("duration", plan.duration), ("stall_after", plan.stall_after)] {
        if time.is_zero() {
            return Err(PlanError::NoTime { what });
        }
    }
    check_times(plan)?;
    if plan.threads == 0 {
        return Err(PlanError::NoThread);
    }
    if plan.flows.is_empty() {
        return Err(PlanError::NoFlow);
    }
    let end = plan.warm_up + plan.duration;
    let mut names = BTreeSet::new();
    let mut flows = Vec::new();
    for (index, flow) in plan.flows.iter().enumerate() {
        if !names.insert(flow.name.as_str()) {
            return Err(PlanError::TwoFlows(flow.name.clone()));
        }
        let work = work(flow, index, seed, given, plan.warm_up, end);
        flows.push(work.map_err(|problem| PlanError::Flow { flow: flow.name.clone(), problem })?);
    }
    if let Some(event) = plan.events.iter().find(|event| event.at > end) {
        return Err(PlanError::Event { name: event.name.clone(), at: event.at, end });
    }
    let pullers = flows.iter().map(|flow| match &flow.timing {
        Timing::Closed(closed) => u64::from(closed.pullers),
        Timing::Open(_) => 0,
    });
    let pullers: u64 = pullers.sum();
    if pullers > most_under_way as u64 {
        return Err(PlanError::TooManyPullers { pullers, most: most_under_way });
    }
    plan.check_limits()?;
    Ok(flows)
}

/// That sums of times, and instants so far away, are none beyond what a clock can say.
fn check_times(plan: &Plan) -> Result<(), PlanError> {
    let mut times = vec![
        ("the warm-up".to_owned(), plan.warm_up),
        ("the duration".to_owned(), plan.duration),
        ("stall_after".to_owned(), plan.stall_after),
    ];
    for flow in &plan.flows {
        let mut add = |what: &str, time| times.push((format!("{what} of the flow {:?}", flow.name), time));
        add("the begin", flow.begin);
        add("the end", flow.end.unwrap_or_default());
        add("the timeout", flow.reading.timeout);
        match &flow.arrivals {
            Arrivals::Closed { think, .. } => add("the pause", *think),
            Arrivals::Steps { steps } => steps.iter().for_each(|step| add("a step", step.lasts)),
            _ => {}
        }
    }
    times.extend(
        plan.events.iter().map(|event| (format!("the time of the event {:?}", event.name), event.at)),
    );
    match times.into_iter().find(|(_, time)| *time > LONGEST) {
        Some((what, time)) => Err(PlanError::TooLong { what, time }),
        None => Ok(()),
    }
}

fn work(
    flow: &Flow,
    index: usize,
    seed: u64,
    given: &[Weighted],
    warm_up: Duration,
    end: Duration,
) -> Result<FlowWork, FlowError> {
    check_reading(flow)?;
    let mut timing = Timing::new(flow, index, seed, end)?;
    let traced = timing.traced_subjects();
    let workload =
        if timing.chooses() { Workload::new(flow, index, seed, given)? } else { Workload::traced(traced)? };
    if let Some(most) = workload.most() {
        timing.at_most(most);
    }
    if timing.planned(warm_up, end) == Some(0) {
        return Err(FlowError::AllWarmUp(warm_up));
    }
    Ok(FlowWork { name: flow.name.clone(), timing, workload, timeout: flow.reading.timeout })
}

fn check_reading(flow: &Flow) -> Result<(), FlowError> {
    let reading = &flow.reading;
    let numbers = [
        ("reading rate", reading.rate),
        ("number of layers at once", reading.layers_at_once.map(u64::from)),
        ("chunk", reading.chunk),
        ("number of ranges", reading.ranges.map(|ranges| u64::from(ranges.count))),
        ("size of a range", reading.ranges.map(|ranges| ranges.size)),
        ("timeout", Some(u64::from(!reading.timeout.is_zero()))),
        ("most pulls", flow.pulls),
    ];
    if let Some((what, _)) = numbers.into_iter().find(|(_, number)| *number == Some(0)) {
        return Err(FlowError::Zero { what });
    }
    match (reading.chunk, reading.ranges) {
        (Some(_), Some(_)) => Err(FlowError::ChunksAndRanges),
        (Some(_), None) if flow.client != Client::Containerd => Err(FlowError::Chunks(flow.client)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(text: &str) -> Result<Vec<FlowWork>, PlanError> {
        let given = [Weighted::named("127.0.0.1:5000/contoso/a:1").expect("a subject")];
        prepare(&toml::from_str(text).expect("TOML"), 1, &given, 100)
    }

    const FLOW: &str = "[[flow]]\nname = 'f'\narrivals = { kind = 'constant', rate = 2 }\n";

    #[test]
    fn a_plan_that_cannot_be_run_is_refused_with_what_is_wrong() {
        let burst = "[[flow]]\nname = 'f'\narrivals = { kind = 'burst', pulls = 5 }\n";
        for (text, problem) in [
            ("title = 't'".to_owned(), "no flow"),
            (format!("title = 't'\n{FLOW}{FLOW}"), "two flows named \"f\""),
            (format!("title = 't'\nduration = '0s'\n{FLOW}"), "duration of the run is 0"),
            (format!("title = 't'\nstall_after = '0s'\n{FLOW}"), "stall_after of the run is 0"),
            (format!("title = 't'\nthreads = 0\n{FLOW}"), "no thread"),
            (
                format!("title = 't'\nwarm_up = '300000000000y'\nduration = '300000000000y'\n{FLOW}"),
                "the warm-up is",
            ),
            (
                format!("title = 't'\n{FLOW}reading = {{ timeout = '300000000000y' }}"),
                "the timeout of the flow \"f\" is",
            ),
            (
                format!("title = 't'\nwarm_up = '5s'\n{burst}"),
                "flow \"f\": all its pulls are meant to start in the warm-up",
            ),
            (format!("title = 't'\n{FLOW}reading = {{ timeout = '0s' }}"), "its timeout is 0"),
            (
                format!("title = 't'\n{FLOW}reading = {{ chunk = 1, ranges = {{ count = 1, size = 1 }} }}"),
                "choose one",
            ),
            (
                format!("title = 't'\n{FLOW}client = 'docker'\nreading = {{ chunk = 1 }}"),
                "its client is Docker",
            ),
            (format!("title = 't'\n{FLOW}only = 'x'"), "is of the registry \"x\""),
            (
                format!("title = 't'\n{FLOW}[[event]]\nat = '1h'\nname = 'e'\nrun = 'true'"),
                "event \"e\" is at 3600s",
            ),
            (format!("title = 't'\n{FLOW}[[limit]]\nmeasure = 'p99'"), "at_most or at_least"),
            (
                "title = 't'\n[[flow]]\nname = 'f'\narrivals = { kind = 'closed', pullers = 101 }".to_owned(),
                "101 pulls under way",
            ),
        ] {
            let error = prepared(&text).expect_err(&text).to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
        assert_eq!(prepared(&format!("title = 't'\n{FLOW}")).expect("valid").len(), 1);
    }

    #[test]
    fn a_flow_that_takes_each_subject_once_ends_with_them() {
        let text = format!("title = 't'\n{FLOW}popularity = {{ kind = 'once' }}");
        let flows = prepared(&text).expect("valid");
        assert_eq!(flows[0].timing.planned(Duration::ZERO, Duration::MAX), Some(1));
    }

    #[test]
    fn a_trace_that_names_all_its_subjects_needs_no_others() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "0 127.0.0.1:5000/traced/a:1\n").expect("written");
        let arrivals = format!("arrivals = {{ kind = 'replay', trace = '{}' }}", file.path().display());
        let plan: Plan =
            toml::from_str(&format!("title = 't'\n[[flow]]\nname = 'f'\n{arrivals}")).expect("TOML");
        let flows = prepare(&plan, 1, &[], 100).expect("valid");
        assert_eq!(flows[0].workload.subjects()[0].registry(), "traced");
    }
}

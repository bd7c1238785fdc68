//! A scenario made longer or shorter, busier or quieter, and still the same scenario.

use std::time::Duration;

use crate::plan::{Arrivals, Plan};

/// A change that leaves no scenario.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum ScaleError {
    #[error("the rate is scaled by {0}, and must be by a number above 0")]
    Rate(f64),
    #[error("the duration is {0:?}, and must be above 0 and not more than 1000 times that of the scenario")]
    Duration(Duration),
}

/// Makes the part that counts last `duration`. All other times of the plan but time limits change in proportion: the warm-up,
/// steps, when flows begin and end, and when something is done to the servers.
pub(crate) fn stretch_to(plan: &mut Plan, duration: Duration) -> Result<(), ScaleError> {
    let factor = duration.as_secs_f64() / plan.duration.as_secs_f64();
    if !(factor.is_finite() && factor > 0.0 && factor <= 1000.0) {
        return Err(ScaleError::Duration(duration));
    }
    // What is beyond a clock is refused with the plan.
    let scale = |time: &mut Duration| {
        *time = Duration::try_from_secs_f64(time.as_secs_f64() * factor).unwrap_or(Duration::MAX);
    };
    plan.duration = duration;
    scale(&mut plan.warm_up);
    plan.events.iter_mut().for_each(|event| scale(&mut event.at));
    for flow in &mut plan.flows {
        scale(&mut flow.begin);
        flow.end.iter_mut().for_each(scale);
        if let Arrivals::Steps { steps } = &mut flow.arrivals {
            steps.iter_mut().for_each(|step| scale(&mut step.lasts));
        }
    }
    Ok(())
}

/// Multiplies every rate, burst and number of pullers, and the speed of replays.
pub(crate) fn scale_rates(plan: &mut Plan, by: f64) -> Result<(), ScaleError> {
    if !(by.is_finite() && by > 0.0) {
        return Err(ScaleError::Rate(by));
    }
    let count = |count: f64| (count * by).round().max(1.0);
    for flow in &mut plan.flows {
        match &mut flow.arrivals {
            Arrivals::Constant { rate } | Arrivals::Poisson { rate } => *rate *= by,
            Arrivals::Steps { steps } => steps.iter_mut().for_each(|step| step.rate *= by),
            Arrivals::Burst { pulls } => *pulls = count(*pulls as f64) as u64,
            Arrivals::Replay { speed, .. } => *speed *= by,
            Arrivals::Closed { pullers, .. } => *pullers = count(f64::from(*pullers)) as u32,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let text = "
            title = 't'
            warm_up = '10s'
            duration = '1m'
            [[flow]]
            name = 'steps'
            begin = '10s'
            end = '40s'
            arrivals = { kind = 'steps', steps = [{ rate = 4, for = '20s' }] }
            [[flow]]
            name = 'burst'
            begin = '10s'
            arrivals = { kind = 'burst', pulls = 3 }
            [[event]]
            at = '30s'
            name = 'e'
            run = 'true'
        ";
        toml::from_str(text).expect("a plan")
    }

    #[test]
    fn a_scenario_that_is_stretched_keeps_its_shape() {
        let mut plan = plan();
        stretch_to(&mut plan, Duration::from_secs(30)).expect("shorter");
        let seconds = Duration::from_secs;
        assert_eq!((plan.warm_up, plan.duration, plan.events[0].at), (seconds(5), seconds(30), seconds(15)));
        assert_eq!((plan.flows[0].begin, plan.flows[0].end), (seconds(5), Some(seconds(20))));
        let Arrivals::Steps { steps } = &plan.flows[0].arrivals else { panic!("steps") };
        assert_eq!((steps[0].lasts, steps[0].rate), (seconds(10), 4.0));
        assert_eq!(plan.stall_after, seconds(30), "a limit is not part of the shape");
        assert!(stretch_to(&mut plan, Duration::ZERO).is_err());
    }

    #[test]
    fn a_scenario_that_is_made_busier_has_more_pulls_and_never_none() {
        let mut plan = plan();
        scale_rates(&mut plan, 2.5).expect("busier");
        let Arrivals::Steps { steps } = &plan.flows[0].arrivals else { panic!("steps") };
        assert_eq!(steps[0].rate, 10.0);
        assert_eq!(plan.flows[1].arrivals, Arrivals::Burst { pulls: 8 });
        scale_rates(&mut plan, 0.001).expect("quieter");
        assert_eq!(plan.flows[1].arrivals, Arrivals::Burst { pulls: 1 });
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(scale_rates(&mut plan, wrong).is_err(), "{wrong}");
        }
    }
}

//! When pulls start, as options.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::plan::{Arrivals, Step};

/// When pulls start.
#[derive(Debug, Args)]
#[command(next_help_heading = "When pulls start (one of the first six)")]
pub(super) struct TimingOptions {
    #[command(flatten)]
    way: Way,
    /// How many times faster than it was recorded the trace is replayed
    #[arg(long, value_name = "TIMES", requires = "trace", default_value_t = 1.0)]
    speed: f64,
    /// Pause of each puller of a closed loop after each pull, such as 100ms
    #[arg(long, value_name = "TIME", requires = "closed", value_parser = humantime::parse_duration)]
    think: Option<Duration>,
    /// How long pulls that count are started, after the warm-up [default: 10s]
    #[arg(long, short, value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// How long pulls are made first that do not count [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    warm_up: Option<Duration>,
    /// The most pulls, those of the warm-up included
    #[arg(long, value_name = "COUNT")]
    pub(super) pulls: Option<u64>,
    /// End a run in which nothing comes and nothing ends for so long [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    stall_after: Option<Duration>,
}

/// One of these.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Way {
    /// So many pulls a second, at even distances [default: 2]
    #[arg(long, value_name = "PULLS")]
    rate: Option<f64>,
    /// So many pulls a second on average, at random, as from many users
    #[arg(long, value_name = "PULLS")]
    poisson: Option<f64>,
    /// One rate after the other, at random, such as 10:30s,50:30s,10:1m
    #[arg(long, value_name = "PULLS:TIME,…", value_delimiter = ',', value_parser = step)]
    steps: Vec<Step>,
    /// So many pulls at once, after the warm-up
    #[arg(long, value_name = "PULLS")]
    burst: Option<u64>,
    /// As the lines of a file say: SECONDS, or SECONDS SUBJECT
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// A closed loop: so many pulls under way, each followed by the next. For throughput and cost; its latencies hide stalls
    #[arg(long, value_name = "PULLERS")]
    closed: Option<u32>,
}

const DURATION: Duration = Duration::from_secs(10);
const STALL_AFTER: Duration = Duration::from_secs(30);
const RATE: f64 = 2.0;

impl TimingOptions {
    pub(super) fn arrivals(&self) -> Arrivals {
        match &self.way {
            Way { poisson: Some(rate), .. } => Arrivals::Poisson { rate: *rate },
            Way { burst: Some(pulls), .. } => Arrivals::Burst { pulls: *pulls },
            Way { trace: Some(trace), .. } => Arrivals::Replay { trace: trace.clone(), speed: self.speed },
            Way { closed: Some(pullers), .. } => {
                Arrivals::Closed { pullers: *pullers, think: self.think.unwrap_or_default() }
            }
            Way { steps, .. } if !steps.is_empty() => Arrivals::Steps { steps: steps.clone() },
            Way { rate, .. } => Arrivals::Constant { rate: rate.unwrap_or(RATE) },
        }
    }

    pub(super) fn has_trace(&self) -> bool {
        self.way.trace.is_some()
    }

    /// A burst is after the warm-up, which could not count it; all else goes on through it.
    pub(super) fn begin(&self) -> Duration {
        if self.way.burst.is_some() { self.warm_up() } else { Duration::ZERO }
    }

    pub(super) fn warm_up(&self) -> Duration {
        self.warm_up.unwrap_or_default()
    }

    /// What is said, else as long as the steps last, else ten seconds.
    pub(super) fn duration(&self) -> Duration {
        let steps = self.way.steps.iter().fold(Duration::ZERO, |sum, step| sum.saturating_add(step.lasts));
        let after_warm_up = steps.saturating_sub(self.warm_up());
        self.duration.unwrap_or(if after_warm_up.is_zero() { DURATION } else { after_warm_up })
    }

    pub(super) fn stall_after(&self) -> Duration {
        self.stall_after.unwrap_or(STALL_AFTER)
    }
}

fn step(text: &str) -> Result<Step, String> {
    let wanted =
        || format!("{text:?} is no step; one is PULLS:TIME, such as 50:30s for 50 a second for 30 seconds");
    let (rate, lasts) = text.split_once(':').ok_or_else(wanted)?;
    let rate = rate.trim().parse().map_err(|_| wanted())?;
    let lasts = humantime::parse_duration(lasts.trim()).map_err(|_| wanted())?;
    Ok(Step { rate, lasts })
}

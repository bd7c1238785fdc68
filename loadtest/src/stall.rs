//! Notices a run in which nothing comes any more.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::tally::Waiting;

/// Watches for progress.
#[derive(Debug)]
pub(crate) struct Watchdog {
    after: Duration,
    progress: u64,
    /// Since when there is none.
    since: Instant,
}

/// What the pulls of one flow wait for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits<'a> {
    pub(crate) flow: &'a str,
    /// How many, by [`Waiting`].
    pub(crate) pulls: [u64; Waiting::ALL.len()],
}

impl Watchdog {
    /// Barks after so long without progress.
    pub(crate) fn new(after: Duration, now: Instant) -> Self {
        Self { after, progress: 0, since: now }
    }

    /// Looks at a count that grows whenever something comes or ends. While pulls are under way and it stands still for too
    /// long, says so, and which flow waits for what.
    pub(crate) fn look(&mut self, now: Instant, progress: u64, flows: &[Waits<'_>]) -> Option<String> {
        let under_way: u64 = flows.iter().flat_map(|flow| flow.pulls).sum();
        if progress != self.progress || under_way == 0 {
            self.progress = progress;
            self.since = now;
            return None;
        }
        let silent = now.saturating_duration_since(self.since);
        (silent >= self.after).then(|| sentence(silent, flows))
    }

    /// For how long there has been no progress, where that is half of what is borne.
    pub(crate) fn worry(&self, now: Instant) -> Option<Duration> {
        let silent = now.saturating_duration_since(self.since);
        (silent >= self.after / 2).then_some(silent)
    }
}

fn sentence(silent: Duration, flows: &[Waits<'_>]) -> String {
    let mut text = format!(
        "nothing came and nothing ended for {:.0} s while pulls were under way",
        silent.as_secs_f64()
    );
    for flow in flows {
        let waits = Waiting::ALL.iter().zip(flow.pulls).filter(|(_, pulls)| *pulls > 0);
        for (place, (waiting, pulls)) in waits.enumerate() {
            let before =
                if place == 0 { format!("; of the flow {:?}", flow.flow) } else { " and".to_owned() };
            let wait = if pulls == 1 { "waits" } else { "wait" };
            // Writing to a string cannot fail.
            let _ = write!(text, "{before} {pulls} {wait} for {waiting}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(30);

    fn flows() -> [Waits<'static>; 2] {
        [Waits { flow: "cold", pulls: [1, 0, 7, 0] }, Waits { flow: "warm", pulls: [0; 4] }]
    }

    #[test]
    fn a_stall_names_the_flow_and_how_many_pulls_wait_for_what() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(AFTER, start);
        assert_eq!(watchdog.look(start + AFTER / 2, 5, &flows()), None);
        assert_eq!(
            watchdog.look(start + AFTER, 5, &flows()),
            None,
            "half the time has passed since the last progress"
        );
        assert_eq!(watchdog.worry(start + AFTER), Some(AFTER / 2));
        let said = watchdog.look(start + AFTER * 2, 5, &flows()).expect("stalled");
        assert!(said.contains("for 45 s"), "{said}");
        assert!(
            said.contains("of the flow \"cold\" 1 waits for a connection and 7 wait for more of a body"),
            "{said}"
        );
        assert!(!said.contains("warm"), "{said}");
    }

    #[test]
    fn a_run_that_gets_on_or_has_nothing_under_way_does_not_stall() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(AFTER, start);
        for step in 1..100 {
            assert_eq!(watchdog.look(start + AFTER * step, u64::from(step), &flows()), None);
        }
        let idle = [Waits { flow: "cold", pulls: [0; 4] }];
        for step in 100..200 {
            assert_eq!(watchdog.look(start + AFTER * step, 99, &idle), None);
        }
    }
}

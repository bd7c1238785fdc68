//! The example as tables in Markdown.

use std::fmt::{self, Display};

use super::Article;
use super::fitted::POOLS;

impl Display for Article {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Seeds 1 to {}. Hot-node P95 in percent after each step, mean ± deviation over seeds, each step in a peak window of \
             its own; in brackets what the plan had predicted.\n",
            self.seeds
        )?;
        write!(f, "| step | registries | phases | hours watched |")?;
        POOLS.iter().try_for_each(|fit| write!(f, " {} |", fit.name()))?;
        writeln!(f, "\n|---|---|---|---|---|---|---|---|")?;
        for step in &self.steps {
            write!(
                f,
                "| {} | {:.0} | {:.1} | {:.0} |",
                step.name, step.registries, step.phases, step.watched_hours
            )?;
            for pool in step.pools {
                write!(f, " {:.1} ± {:.1} ({:.1}) |", pool.p95, pool.p95_sigma, pool.predicted)?;
            }
            writeln!(f)?;
        }
        let (Some(before), Some(after)) = (self.steps.first(), self.steps.last()) else { return Ok(()) };
        writeln!(f, "\n| pool | article: P95 | here | article: Max | here |\n|---|---|---|---|---|")?;
        for (at, fit) in POOLS.iter().enumerate() {
            let (before, after) = (before.pools[at], after.pools[at]);
            writeln!(
                f,
                "| {} | {:+.0} % | {:.1} → {:.1} ({:+.1} %) | {} | {:.1} → {:.1} |",
                fit.name(),
                fit.change,
                before.p95,
                after.p95,
                (after.p95 / before.p95 - 1.0) * 100.0,
                fit.max_goal().0,
                before.max,
                after.max
            )?;
        }
        let pools: Vec<String> =
            self.isolation.iter().map(|(role, p95)| format!("{role} {p95:.1} %")).collect();
        writeln!(
            f,
            "\nThe isolation stamp's P95 at the end: {}. Predictions of the last phase: at the sources a median error of {:.1} \
             points, {:.0} % held; at the isolation stamp {:.1} points, {:.0} % held.\n",
            pools.join(", "),
            self.source.median_error,
            self.source.held * 100.0,
            self.destination.median_error,
            self.destination.held * 100.0
        )
    }
}

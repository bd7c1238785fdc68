//! The report as Markdown.

use std::fmt::{self, Display, Write as _};

use super::{Accuracy, Mark, Report};
use crate::scenarios::Right;

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(article) = &self.article {
            writeln!(f, "## The article's example\n\n{article}")?;
            marks(f, &article.marks)?;
        }
        if self.cases.is_empty() {
            return Ok(());
        }
        writeln!(f, "## Goals\n\nSeeds 1 to {} of each scenario.\n", self.seeds)?;
        marks(f, &self.summary.marks)?;
        self.scenarios(f)?;
        self.planners(f)?;
        self.wrong(f)
    }
}

fn marks(f: &mut fmt::Formatter<'_>, marks: &[Mark]) -> fmt::Result {
    writeln!(f, "| goal | came | |\n|---|---|---|")?;
    for mark in marks {
        writeln!(
            f,
            "| {} | {} | {} |",
            mark.goal,
            mark.came,
            if mark.passed { "reached" } else { "**missed**" }
        )?;
    }
    writeln!(f)
}

impl Report {
    fn scenarios(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "## Scenarios\n\nP95 of the source without and with the moves, in the window after, in percent; means over seeds. \
             Predictions as median error in points and part held, at the source and at destinations. \"Least bytes\" is \
             the fewest for the same relief, over the plan's. Relief per GiB/s: the planner's, largest first's, that of adding \
             percentiles.\n\n\
             | scenario | right | decided so | P95 | moves | GiB/s | above limit | source | destination | regret | clairvoyant | least bytes | relief per GiB/s |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|---|"
        )?;
        let share =
            |value: Option<f64>| value.map_or("–".into(), |value| format!("{:.1} %", value * 100.0));
        for row in &self.summary.scenarios {
            let per_gib = [row.relief_per_gib, row.relief_per_gib_largest, row.relief_per_gib_percentiles];
            let per_gib = if row.right == Right::Move {
                per_gib.map(|relief| format!("{relief:.1}")).join(", ")
            } else {
                "–".into()
            };
            writeln!(
                f,
                "| {} | {} | {} of {} | {:.1} → {:.1} | {:.1} | {:.2} | {} | {} | {} | {} | {} | {} | {} |",
                row.scenario.as_str(),
                row.right.as_str(),
                row.right_cases,
                row.cases,
                row.before,
                row.after,
                row.moves,
                row.gib_per_second,
                row.violations,
                accuracy(&row.source),
                accuracy(&row.destination),
                share(row.regret),
                share(row.regret_clairvoyant),
                share(row.least_bytes),
                per_gib,
            )?;
        }
        writeln!(f)
    }

    fn planners(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "## Planners\n\nRelief, GiB/s and moves over the scenarios where moving is right, the article's apart; the rest \
             over all.\n\n\
             | planner | relief | relieved | GiB/s | relief per GiB/s | moves | relief per move | above limit | bins above | transfers | needless |\n\
             |---|---|---|---|---|---|---|---|---|---|---|"
        )?;
        for row in &self.summary.planners {
            writeln!(
                f,
                "| {} | {:.1} | {:.0} % | {:.2} | {:.1} | {:.1} | {:.1} | {} | {} | {} | {} |",
                row.planner,
                row.relief,
                row.relieved * 100.0,
                row.gib_per_second,
                row.relief_per_gib,
                row.moves,
                row.relief_per_move,
                row.violations,
                row.bins_over,
                row.transfers,
                row.needless,
            )?;
        }
        writeln!(f)
    }

    fn wrong(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = String::new();
        for case in self.cases.iter().filter(|case| case.decision != case.scenario.right()) {
            let (scenario, decision) = (case.scenario.as_str(), case.decision.as_str());
            writeln!(lines, "- {scenario}, seed {}: {decision}. {}", case.seed, case.words)?;
        }
        for case in self.cases.iter().filter(|case| case.ours.violations > 0 || case.ours.transfer) {
            let (scenario, pools) = (case.scenario.as_str(), case.ours.violations);
            writeln!(
                lines,
                "- {scenario}, seed {}: {pools} pools above the limit, transfer: {}",
                case.seed, case.ours.transfer
            )?;
        }
        let regrets = self.cases.iter().filter_map(|case| Some((case, case.regret.as_ref()?)));
        for (case, regret) in regrets.filter(|(_, regret)| regret.informed > 0.10) {
            let moves: Vec<_> =
                regret.moves.iter().map(|(registry, to)| format!("{registry} to {to}")).collect();
            let (scenario, part) = (case.scenario.as_str(), regret.informed * 100.0);
            writeln!(
                lines,
                "- {scenario}, seed {}: regret {part:.0} %; {} moves, better were {}",
                case.seed,
                case.ours.moves,
                moves.join(", ")
            )?;
        }
        if lines.is_empty() { Ok(()) } else { writeln!(f, "## Wrong\n\n{lines}") }
    }
}

fn accuracy(accuracy: &Accuracy) -> String {
    if accuracy.count == 0 {
        return "–".into();
    }
    format!("{:.1}, {:.0} %", accuracy.median_error, accuracy.held * 100.0)
}

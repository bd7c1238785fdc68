//! Two sides of one or more runs each, number by number, with what each side's own runs leave open.
//!
//! A difference is shown only if it is larger than the threshold *and* the two sides' intervals do not touch. The interval
//! of a side is:
//!
//! - of five runs or more: from the least to the greatest of them; of three or four somewhat more than that, since so few lie
//!   apart by chance too often;
//! - of one run: a 99 % interval of its own, see `spread.rs`; of two runs: from the lowest to the highest end of both;
//! - none, where a single run cannot say: then the number is shown and not judged.
//!
//! 99 %, since a comparison looks at dozens of numbers at once. A wrong digest is no matter of chance: one more than before is
//! worse.

mod measured;
mod plans;
mod show;
mod spread;

use std::collections::BTreeSet;

use serde::Serialize;

use super::Report;
pub use measured::{Better, Kind};
use measured::{Measured, measured};
pub use show::{markdown, text};

/// How it is compared.
#[derive(Clone, Debug)]
pub struct Options {
    /// Changes up to this share (0.05 is 5 %) are no difference.
    pub threshold: f64,
    /// Names of measures that may be worse: `warm:pull.p99`, or `pull.p99` for every flow.
    pub allowed: Vec<String>,
    /// Of the bootstrap.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What makes the sides less comparable than they look.
    pub warnings: Vec<String>,
    /// As [`Options::threshold`].
    pub threshold: f64,
    /// As [`Options::seed`].
    pub seed: u64,
    /// Runs of the base and of the new side.
    pub runs: (usize, usize),
    /// Every number that both sides have.
    pub compared: Vec<Compared>,
    /// Whether any number is worse that may not be.
    pub worse: bool,
}

/// One number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The flow or server that it is of.
    pub of: String,
    /// What it is, such as `pull.p99`.
    pub name: String,
    /// Its unit.
    pub kind: Kind,
    /// Which way is better.
    pub better: Better,
    /// The base.
    pub base: Side,
    /// What is compared with it.
    pub new: Side,
    /// By how much the new side is higher, as a share of the base; absent where the base is 0.
    pub change: Option<f64>,
    /// What is made of it.
    pub verdict: Verdict,
    /// Whether it may be worse.
    pub allowed: bool,
}

/// One side of a number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// The median of its runs; of a count that is no matter of chance the most.
    pub value: f64,
    /// Each run.
    pub runs: Vec<f64>,
    /// What the value may as well have been, from and to; absent where the runs cannot say.
    pub interval: Option<(f64, f64)>,
}

/// What is made of a number.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The new side is better.
    Better,
    /// The new side is worse.
    Worse,
    /// The difference is under the threshold, or no larger than the spread.
    NoDifferenceShown,
    /// There is too little to say.
    NotJudged,
}

/// Why two sides cannot be compared.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CompareError {
    /// A run has other flows than the first.
    #[error("{run} has the flows {found:?}, and {first} has {wanted:?}: they cannot be compared")]
    Flows {
        /// The name of that run.
        run: String,
        /// Its flows.
        found: Vec<String>,
        /// The name of the first run of the base.
        first: String,
        /// Its flows.
        wanted: Vec<String>,
    },
    /// A side has no run.
    #[error("the {0} side has no run")]
    NoRun(&'static str),
    /// A name to allow is no measure of these runs.
    #[error("there is no measure {name:?} to allow; there are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
}

/// A run and what it is called, such as its file.
pub type Named = (String, Report);

/// Compares two sides.
///
/// # Errors
/// [`CompareError`], where the runs have not the same flows, or a name to allow is not known.
pub fn compare(base: &[Named], new: &[Named], options: &Options) -> Result<Comparison, CompareError> {
    let first = base.first().ok_or(CompareError::NoRun("base"))?;
    if new.is_empty() {
        return Err(CompareError::NoRun("new"));
    }
    for run in base.iter().chain(new) {
        same_flows(first, run)?;
    }
    let measure = |runs: &[Named]| -> Vec<Vec<Measured>> {
        runs.iter().map(|(_, report)| measured(report, options.seed)).collect()
    };
    let (bases, news) = (measure(base), measure(new));
    let mut compared: Vec<Compared> = Vec::new();
    for one in bases.first().into_iter().flatten() {
        let sides = (side(&bases, one), side(&news, one));
        if let (Some(base), Some(new)) = sides {
            compared.push(judged(one, base, new, options.threshold));
        }
    }
    allow(&mut compared, &options.allowed)?;
    let worse = compared.iter().any(|one| one.verdict == Verdict::Worse && !one.allowed);
    let warnings = plans::warnings(base, new);
    let runs = (base.len(), new.len());
    Ok(Comparison { warnings, threshold: options.threshold, seed: options.seed, runs, compared, worse })
}

fn same_flows(first: &Named, run: &Named) -> Result<(), CompareError> {
    let flows =
        |report: &Report| -> BTreeSet<String> { report.flows.iter().map(|flow| flow.name.clone()).collect() };
    let (wanted, found) = (flows(&first.1), flows(&run.1));
    if wanted == found {
        return Ok(());
    }
    let [wanted, found] = [wanted, found].map(|flows| flows.into_iter().collect());
    Err(CompareError::Flows { run: run.0.clone(), found, first: first.0.clone(), wanted })
}

/// The same number in every run of a side; absent where a run has it not.
fn side(runs: &[Vec<Measured>], wanted: &Measured) -> Option<Side> {
    let found: Option<Vec<&Measured>> = runs
        .iter()
        .map(|run| run.iter().find(|one| one.of == wanted.of && one.name == wanted.name))
        .collect();
    let found = found?;
    let values: Vec<f64> = found.iter().map(|one| one.value).collect();
    if wanted.kind == Kind::Count {
        // No chance brings it, so one run of many says it for all.
        let most = values.iter().copied().fold(0.0, f64::max);
        return Some(Side { value: most, interval: Some((most, most)), runs: values });
    }
    let own: Vec<Option<(f64, f64)>> = found.iter().map(|one| one.interval).collect();
    Some(Side { value: spread::median(&values)?, interval: spread::of_runs(&values, &own), runs: values })
}

fn judged(one: &Measured, base: Side, new: Side, threshold: f64) -> Compared {
    let change = (base.value != 0.0).then(|| (new.value - base.value) / base.value.abs());
    let above = new.value > base.value;
    let verdict = match (base.interval, new.interval) {
        (Some(_), Some(_)) if base.value == new.value => Verdict::NoDifferenceShown,
        (Some(_), Some(_))
            if one.kind != Kind::Count && change.is_some_and(|change| change.abs() <= threshold) =>
        {
            Verdict::NoDifferenceShown
        }
        (Some((low, high)), Some((new_low, new_high))) => {
            let apart = if above { new_low > high } else { new_high < low };
            match (apart, above == (one.better == Better::Higher)) {
                (false, _) => Verdict::NoDifferenceShown,
                (true, true) => Verdict::Better,
                (true, false) => Verdict::Worse,
            }
        }
        _ => Verdict::NotJudged,
    };
    let (of, name) = (one.of.clone(), one.name.clone());
    Compared { of, name, kind: one.kind, better: one.better, base, new, change, verdict, allowed: false }
}

fn allow(compared: &mut [Compared], names: &[String]) -> Result<(), CompareError> {
    for name in names {
        let mut known = false;
        for one in compared.iter_mut() {
            if one.name == *name || format!("{}:{}", one.of, one.name) == *name {
                one.allowed = true;
                known = true;
            }
        }
        if !known {
            let known: BTreeSet<&str> = compared.iter().map(|one| one.name.as_str()).collect();
            let known: Vec<&str> = known.into_iter().collect();
            return Err(CompareError::Unknown { name: name.clone(), known: known.join(", ") });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

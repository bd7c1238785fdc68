//! Everything that was judged, in one value: to read as a table, and as JSON.

mod markdown;
mod summary;

pub(crate) use summary::summarise;
pub use summary::{Accuracy, Mark, PlannerRow, ScenarioRow, Summary};

use dataproxy_planner::Policy;
use serde::Serialize;

use crate::article::Article;
use crate::judge::Judged;

/// What a simulation found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this crate.
    pub version: &'static str,
    /// Seeds of each scenario: from 1 to this.
    pub seeds: u64,
    /// What plans were made by.
    pub policy: Policy,
    /// The figures.
    pub summary: Summary,
    /// The article's example, if it was asked for.
    pub article: Option<Article>,
    /// Every case.
    pub cases: Vec<Judged>,
}

impl Report {
    /// Whether every goal is reached that a figure is there for.
    pub fn passed(&self) -> bool {
        self.summary
            .marks
            .iter()
            .chain(self.article.iter().flat_map(|article| &article.marks))
            .all(|mark| mark.passed)
    }
}

/// The mean; 0 of nothing.
pub(crate) fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = values.into_iter().fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

/// The middle one, the lower of two; 0 of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

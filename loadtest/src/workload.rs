//! What a flow pulls: the subjects it may choose from, and how it chooses.

mod listing;

use std::collections::HashSet;
use std::sync::Arc;

use crate::plan::{Flow, Popularity};
use crate::popularity::{Chooser, PopularityError};
use crate::random::{Purpose, seed_for};
use crate::subject::{Subject, SubjectError};
pub(crate) use listing::{ListingError, read as read_listing};

/// A subject, and how much it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weighted {
    pub(crate) subject: Arc<Subject>,
    /// Where a file of subjects gives one.
    pub(crate) weight: Option<f64>,
}

impl Weighted {
    /// A subject from the command line.
    pub(crate) fn named(text: &str) -> Result<Self, SubjectError> {
        Ok(Self { subject: Arc::new(text.parse()?), weight: None })
    }
}

/// The subjects of one flow. Cheap to copy.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    subjects: Arc<[Arc<Subject>]>,
    chooser: Arc<Chooser>,
}

/// A flow with nothing to pull.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkloadError {
    #[error(transparent)]
    Subject(#[from] SubjectError),
    #[error("it names no subjects and none are given on the command line")]
    None,
    #[error("none of the {given} subjects is of the registry {only:?}; there are: {registries}")]
    NoneLeft { only: String, given: usize, registries: String },
    #[error(transparent)]
    Popularity(#[from] PopularityError),
}

impl Workload {
    /// What `flow` pulls: its own subjects, else those `given` on the command line, of them only those that it takes.
    ///
    /// # Errors
    ///
    /// If nothing is left, a subject cannot be read, or the popularity does not fit them.
    pub(crate) fn new(
        flow: &Flow,
        index: usize,
        seed: u64,
        given: &[Weighted],
    ) -> Result<Self, WorkloadError> {
        let subjects = if flow.subjects.is_empty() {
            taken(given, flow.only.as_deref())?
        } else {
            let own =
                flow.subjects.iter().map(|text| Weighted::named(text)).collect::<Result<Vec<_>, _>>()?;
            taken(&own, flow.only.as_deref())?
        };
        let chooser = Chooser::new(flow.popularity, &subjects, seed_for(seed, index, Purpose::Subjects))?;
        let subjects = subjects.into_iter().map(|weighted| weighted.subject).collect();
        Ok(Self { subjects, chooser: Arc::new(chooser) })
    }

    /// What a trace names, where it names something for every pull.
    ///
    /// # Errors
    ///
    /// If there is nothing.
    pub(crate) fn traced(subjects: Vec<Arc<Subject>>) -> Result<Self, WorkloadError> {
        let mut seen = HashSet::new();
        let listed = subjects.into_iter().filter(|subject| seen.insert(Arc::clone(subject)));
        let listed: Vec<Weighted> = listed.map(|subject| Weighted { subject, weight: None }).collect();
        if listed.is_empty() {
            return Err(WorkloadError::None);
        }
        let chooser = Chooser::new(Popularity::RoundRobin, &listed, 0)?;
        Ok(Self { subjects: listed.into_iter().map(|one| one.subject).collect(), chooser: Arc::new(chooser) })
    }

    /// What the `number`-th pull takes.
    pub(crate) fn subject(&self, number: u64) -> Option<Arc<Subject>> {
        self.subjects.get(self.chooser.choose(number)).cloned()
    }

    /// How many pulls it has subjects for; `None` without a bound.
    pub(crate) fn most(&self) -> Option<u64> {
        self.chooser.most()
    }

    /// All that it may choose.
    pub(crate) fn subjects(&self) -> &[Arc<Subject>] {
        &self.subjects
    }
}

fn taken(given: &[Weighted], only: Option<&str>) -> Result<Vec<Weighted>, WorkloadError> {
    if given.is_empty() {
        return Err(WorkloadError::None);
    }
    let Some(only) = only else { return Ok(given.to_vec()) };
    let left: Vec<Weighted> =
        given.iter().filter(|weighted| weighted.subject.registry() == only).cloned().collect();
    if left.is_empty() {
        let mut registries: Vec<&str> = given.iter().map(|weighted| weighted.subject.registry()).collect();
        registries.sort_unstable();
        registries.dedup();
        let shown = registries.iter().take(10).copied().collect::<Vec<_>>().join(", ");
        let registries = if registries.len() > 10 { format!("{shown}, …") } else { shown };
        return Err(WorkloadError::NoneLeft { only: only.to_owned(), given: given.len(), registries });
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(text: &str) -> Flow {
        let base = "name = \"f\"\narrivals = { kind = \"burst\", pulls = 1 }\n";
        toml::from_str(&format!("{base}{text}")).expect("a flow")
    }

    fn given() -> Vec<Weighted> {
        ["127.0.0.1:5000/contoso/a:1", "127.0.0.1:5000/fabrikam/a:1"]
            .map(|text| Weighted::named(text).expect(text))
            .to_vec()
    }

    #[test]
    fn a_flow_pulls_its_own_subjects_else_those_of_the_command_line() {
        let own = flow("subjects = [\"127.0.0.1:5000/own/a:1\"]");
        let workload = Workload::new(&own, 0, 1, &given()).expect("valid");
        assert_eq!(workload.subject(5).expect("one").registry(), "own");
        let workload = Workload::new(&flow(""), 0, 1, &given()).expect("valid");
        assert_eq!(workload.subjects().len(), 2);
    }

    #[test]
    fn a_flow_for_one_registry_takes_no_subject_of_another() {
        let workload = Workload::new(&flow("only = \"fabrikam\""), 0, 1, &given()).expect("valid");
        for number in 0..10 {
            assert_eq!(workload.subject(number).expect("one").registry(), "fabrikam");
        }
        let error = Workload::new(&flow("only = \"x\""), 0, 1, &given()).expect_err("none").to_string();
        assert!(error.contains("contoso, fabrikam"), "{error}");
    }

    #[test]
    fn a_flow_with_nothing_to_pull_is_refused() {
        let error = Workload::new(&flow(""), 0, 1, &[]).expect_err("none").to_string();
        assert!(error.contains("none are given on the command line"), "{error}");
        let error = Workload::new(&flow("subjects = [\"x\"]"), 0, 1, &[]).expect_err("none").to_string();
        assert!(error.contains("names nothing to pull"), "{error}");
    }
}

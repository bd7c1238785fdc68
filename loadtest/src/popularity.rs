//! Which subject the k-th pull of a flow takes: a function of the seed and of k alone.
//!
//! So that it does not matter which thread makes a pull, nor in which order.

use rand::{RngExt, SeedableRng};

use crate::plan::Popularity;
use crate::random::Generator;
use crate::subject::Subject;
use crate::workload::Weighted;

/// Chooses among a fixed list of subjects.
#[derive(Clone, Debug)]
pub(crate) struct Chooser {
    seed: u64,
    count: u64,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    RoundRobin,
    Once,
    Uniform,
    /// Sums of the weights up to and including each subject.
    Weights(Vec<f64>),
    Zipf(Level),
}

/// Popularity as Zipf has it, level by level.
#[derive(Clone, Debug)]
struct Level {
    /// Sums of `1/k^exponent` up to and including the k-th.
    sums: Vec<f64>,
    below: Below,
}

#[derive(Clone, Debug)]
enum Below {
    Levels(Vec<Level>),
    /// Places in the list of subjects.
    Subjects(Vec<usize>),
}

/// A popularity that these subjects cannot have.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum PopularityError {
    #[error(
        "the exponent of Zipf is {0}, and must be a number of 0 or more; 0.9 to 1.1 is what is seen of registries"
    )]
    Exponent(f64),
    #[error("weighted popularity needs weights: name the subjects in a file with lines WEIGHT<TAB>SUBJECT")]
    NoWeights,
}

impl Chooser {
    /// A chooser among `subjects`, of which there is at least one.
    pub(crate) fn new(
        popularity: Popularity,
        subjects: &[Weighted],
        seed: u64,
    ) -> Result<Self, PopularityError> {
        let rule = match popularity {
            Popularity::RoundRobin => Rule::RoundRobin,
            Popularity::Once => Rule::Once,
            Popularity::Uniform => Rule::Uniform,
            Popularity::Weighted => {
                if subjects.iter().all(|subject| subject.weight.is_none()) {
                    return Err(PopularityError::NoWeights);
                }
                Rule::Weights(sums(subjects.iter().map(|subject| subject.weight.unwrap_or(1.0))))
            }
            Popularity::Zipf { exponent } => {
                if !exponent.is_finite() || exponent < 0.0 {
                    return Err(PopularityError::Exponent(exponent));
                }
                Rule::Zipf(zipf(subjects, exponent))
            }
        };
        Ok(Self { seed, count: subjects.len() as u64, rule })
    }

    /// How many pulls it can serve; `None` without a bound.
    pub(crate) fn most(&self) -> Option<u64> {
        matches!(self.rule, Rule::Once).then_some(self.count)
    }

    /// The place of the subject that the `number`-th pull takes; below the number of subjects.
    pub(crate) fn choose(&self, number: u64) -> usize {
        let generator = || Generator::seed_from_u64(self.seed ^ number);
        match &self.rule {
            Rule::RoundRobin | Rule::Once => (number % self.count) as usize,
            Rule::Uniform => generator().random_range(0..self.count) as usize,
            Rule::Weights(sums) => draw(sums, &mut generator()),
            Rule::Zipf(level) => {
                let mut generator = generator();
                let mut level = level;
                loop {
                    let place = draw(&level.sums, &mut generator);
                    match &level.below {
                        Below::Levels(levels) => match levels.get(place) {
                            Some(next) => level = next,
                            None => return 0,
                        },
                        Below::Subjects(places) => return places.get(place).copied().unwrap_or(0),
                    }
                }
            }
        }
    }
}

fn sums(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    weights
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect()
}

/// A place with a likelihood in proportion to its weight.
fn draw(sums: &[f64], generator: &mut Generator) -> usize {
    let total = sums.last().copied().unwrap_or(0.0);
    let point = generator.random::<f64>() * total;
    // Rounding can make the point the total itself.
    sums.partition_point(|sum| *sum <= point).min(sums.len().saturating_sub(1))
}

fn zipf(subjects: &[Weighted], exponent: f64) -> Level {
    let ranks = |count: usize| sums((1..=count).map(|rank| (rank as f64).powf(-exponent)));
    let all: Vec<usize> = (0..subjects.len()).collect();
    let registries = group(&all, subjects, Subject::registry);
    let levels = registries
        .iter()
        .map(|places| {
            let repositories = group(places, subjects, Subject::repository);
            let leaves = repositories
                .into_iter()
                .map(|places| Level { sums: ranks(places.len()), below: Below::Subjects(places) })
                .collect::<Vec<_>>();
            Level { sums: ranks(leaves.len()), below: Below::Levels(leaves) }
        })
        .collect::<Vec<_>>();
    Level { sums: ranks(levels.len()), below: Below::Levels(levels) }
}

/// Places with the same name together, names in the order of their first place.
fn group(places: &[usize], subjects: &[Weighted], name: impl Fn(&Subject) -> &str) -> Vec<Vec<usize>> {
    let mut order = std::collections::HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for &place in places {
        let Some(subject) = subjects.get(place) else { continue };
        let group = *order.entry(name(&subject.subject)).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(group) => group.push(place),
            None => groups.push(vec![place]),
        }
    }
    groups
}

#[cfg(test)]
mod tests;

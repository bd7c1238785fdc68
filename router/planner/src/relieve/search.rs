//! Looking for the cheapest set.

use super::{Chosen, Relief};
use crate::effect::Homes;

/// With so many candidates every set is looked at: 4,096 of them.
const ALL_SETS: usize = 12;
/// So many sets are placed before a greedy choice has to do.
const PLACED: usize = 200;
/// A step that helps less than this does not help.
const LEAST: f64 = 1e-4;

impl Relief<'_, '_, '_> {
    /// The cheapest set that reaches the goal and that destinations hold; or as much as a greedy choice can do.
    pub(crate) fn choose(&mut self) -> Chosen {
        let movable = self.movable();
        if movable.len() <= ALL_SETS
            && let Some(homes) = self.cheapest_of_all(&movable)
        {
            return Chosen { homes, reached: true };
        }
        let greedy = self.greedy(&movable);
        let set: Vec<usize> = greedy.keys().copied().collect();
        if !self.reaches(&set) {
            return Chosen { homes: greedy, reached: false };
        }
        Chosen { homes: self.exchange(greedy, &movable), reached: true }
    }

    fn cheapest_of_all(&mut self, movable: &[usize]) -> Option<Homes> {
        let subset = |mask: usize| -> Vec<usize> {
            (0..movable.len()).filter(|bit| mask >> bit & 1 == 1).map(|bit| movable[bit]).collect()
        };
        let mut sets: Vec<(f64, Vec<usize>)> = (1..1_usize << movable.len())
            .map(subset)
            .filter(|set| self.excess(set) <= 0.0)
            .map(|set| (self.price(&set), set))
            .collect();
        sets.sort_by(|one, other| one.0.total_cmp(&other.0).then_with(|| one.1.cmp(&other.1)));
        let mut placed = 0;
        for (_, set) in sets {
            if placed == PLACED {
                break;
            }
            if self.reaches(&set) {
                placed += 1;
                if let Some(homes) = self.place(&set) {
                    return Some(homes);
                }
            }
        }
        None
    }

    /// One after the other, that with most relief for its price, until the goal is reached or nothing helps.
    fn greedy(&mut self, movable: &[usize]) -> Homes {
        let mut homes = Homes::new();
        let mut set = Vec::new();
        while !self.reaches(&set) {
            let now = self.excess(&set);
            let mut steps: Vec<(f64, usize)> = Vec::new();
            for &registry in movable.iter().filter(|registry| !set.contains(*registry)) {
                let relief = now - self.excess(&with(&set, registry));
                if relief > LEAST {
                    steps.push((relief / self.price(&[registry]), registry));
                }
            }
            steps.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
            let next = steps.into_iter().find_map(|(_, registry)| {
                let wider = with(&set, registry);
                self.place(&wider).map(|homes| (wider, homes))
            });
            let Some(next) = next else { break };
            (set, homes) = next;
        }
        homes
    }

    /// Drops what is not needed, and exchanges one or two for one or none or another, while that is cheaper.
    fn exchange(&mut self, mut homes: Homes, movable: &[usize]) -> Homes {
        'again: loop {
            let set: Vec<usize> = homes.keys().copied().collect();
            let price = self.price(&set);
            let others: Vec<usize> = movable.iter().copied().filter(|one| !set.contains(one)).collect();
            let mut cheaper: Vec<(f64, Vec<usize>)> = Vec::new();
            for out in pairs(&set) {
                let rest: Vec<usize> = set.iter().copied().filter(|one| !out.contains(one)).collect();
                for with in std::iter::once(Vec::new()).chain(pairs(&others)) {
                    let other: Vec<usize> = rest.iter().copied().chain(with).collect();
                    let cost = self.price(&other);
                    if cost < price - 1e-9 {
                        cheaper.push((cost, other));
                    }
                }
            }
            cheaper.sort_by(|one, other| one.0.total_cmp(&other.0).then_with(|| one.1.cmp(&other.1)));
            let mut placed = 0;
            for (_, other) in cheaper {
                if placed == PLACED {
                    break;
                }
                if self.excess(&other) <= 0.0 && self.reaches(&other) {
                    placed += 1;
                    if let Some(better) = self.place(&other) {
                        homes = better;
                        continue 'again;
                    }
                }
            }
            return homes;
        }
    }
}

fn with(set: &[usize], registry: usize) -> Vec<usize> {
    set.iter().copied().chain([registry]).collect()
}

/// Every one and every two of them.
fn pairs(of: &[usize]) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = of.iter().map(|one| vec![*one]).collect();
    for (at, one) in of.iter().enumerate() {
        all.extend(of[at + 1..].iter().map(|other| vec![*one, *other]));
    }
    all
}

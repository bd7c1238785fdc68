//! The cheapest set of moves that cools a stamp: which registries, and where to.
//!
//! The 95th percentile of a maximum is not a sum, so every set is judged on its whole series. With few candidates all
//! sets are looked at, the cheapest first; with many, a greedy choice by relief for its price, one at a time, and then
//! exchanges of one or two for others while that is cheaper.

mod search;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::effect::{Broken, Homes};
use crate::plan::{Code, Why};
use crate::predict::Predictor;
use crate::rules::{self, gib};

/// A pool that has to become cooler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hot {
    pub(crate) pool: usize,
    pub(crate) before: f64,
}

/// Choosing moves for one stamp.
pub(crate) struct Relief<'p, 'w, 'a> {
    predictor: &'p Predictor<'w, 'a>,
    hot: Vec<Hot>,
    goal: f64,
    /// Registries that may move and matter, the largest first.
    candidates: Vec<usize>,
    /// Where each may go as far as load does not matter, the coolest first.
    ways: HashMap<usize, Vec<usize>>,
    /// What was found of destinations: by stamp and what comes to it.
    judged: HashMap<(usize, Vec<usize>, bool), Result<(), Broken>>,
    /// Why a candidate on its own may not go to a destination.
    pub(crate) rejected: BTreeMap<(usize, usize), Broken>,
}

/// What came of it.
pub(crate) struct Chosen {
    pub(crate) homes: Homes,
    /// Whether the goal is reached as probably as the policy asks.
    pub(crate) reached: bool,
}

impl<'p, 'w, 'a> Relief<'p, 'w, 'a> {
    /// For candidates (the largest first) and their destinations.
    pub(crate) fn new(
        predictor: &'p Predictor<'w, 'a>,
        hot: Vec<Hot>,
        goal: f64,
        candidates: Vec<usize>,
        destinations: &[usize],
    ) -> Self {
        let world = predictor.world;
        let mut relief = Self {
            predictor,
            hot,
            goal,
            candidates,
            ways: HashMap::new(),
            judged: HashMap::new(),
            rejected: BTreeMap::new(),
        };
        let mut coolest = destinations.to_vec();
        let heat = |stamp: &usize| rules::hottest_before(world, *stamp).unwrap_or(1.0);
        coolest.sort_by(|one, other| heat(one).total_cmp(&heat(other)).then(one.cmp(other)));
        for &registry in &relief.candidates.clone() {
            let mut ways = Vec::new();
            for &to in &coolest {
                let alone = Homes::from([(registry, to)]);
                let allowed = rules::may_go(world, registry, to, Why::Relief, &alone);
                match allowed.and_then(|()| relief.holds(&alone, to, false)) {
                    Ok(()) => ways.push(to),
                    Err(broken) => {
                        relief.rejected.insert((registry, to), broken);
                    }
                }
            }
            relief.ways.insert(registry, ways);
        }
        relief
    }

    /// Candidates that some destination can take.
    pub(crate) fn movable(&self) -> Vec<usize> {
        self.candidates.iter().copied().filter(|registry| !self.ways[registry].is_empty()).collect()
    }

    /// The smallest set that would do at the source, if every destination could take it: whom to isolate. `None` if
    /// even all candidates together would not do.
    pub(crate) fn sufficient(&self) -> Option<Vec<usize>> {
        let mut set = Vec::new();
        for &registry in &self.candidates {
            set.push(registry);
            if self.reaches(&set) {
                // What came before the last one may be more than is needed.
                for other in set.clone() {
                    let fewer: Vec<usize> = set.iter().copied().filter(|one| *one != other).collect();
                    if self.reaches(&fewer) {
                        set = fewer;
                    }
                }
                return Some(set);
            }
        }
        None
    }

    /// What a set costs: bytes a second that are disrupted in GiB/s, with the policy's price for cold bytes and moves.
    fn price(&self, set: &[usize]) -> f64 {
        let policy = self.predictor.world.policy;
        let of = |registry: &usize| {
            let known = &self.predictor.world.fleet.registries[*registry];
            gib(known.peak_bytes_per_second)
                + policy.price_cold_gib * gib(known.hot_set_bytes as f64)
                + policy.price_move
        };
        set.iter().map(of).sum()
    }

    /// How far the hottest pool is above the goal without these, by the P95 of the window itself.
    fn excess(&self, set: &[usize]) -> f64 {
        let above = |hot: &Hot| {
            let bins = self.predictor.world.pools[hot.pool].bins();
            let mut series = crate::predict::hottest(&self.predictor.remaining(hot.pool, set), bins);
            crate::predict::p95(&mut series) - self.goal
        };
        self.hot.iter().map(above).fold(f64::MIN, f64::max)
    }

    /// Whether the source reaches the goal without these, as probably as the policy asks.
    fn reaches(&self, set: &[usize]) -> bool {
        let policy = self.predictor.world.policy;
        self.excess(set) <= 0.0
            && self.hot.iter().all(|hot| {
                let forecast = self.predictor.forecast(hot.pool, set, &[], policy.draws);
                forecast.probability(self.goal) >= policy.goal_probability
            })
    }

    /// Whether a destination holds what comes to it; with the plan's own draws if `fully`.
    fn holds(&mut self, homes: &Homes, to: usize, fully: bool) -> Result<(), Broken> {
        let policy = self.predictor.world.policy;
        let comes: Vec<usize> =
            homes.iter().filter(|(_, stamp)| **stamp == to).map(|(registry, _)| *registry).collect();
        if let Some(known) = self.judged.get(&(to, comes.clone(), fully)) {
            return known.clone();
        }
        let draws = if fully { policy.draws } else { policy.draws_search };
        let result = rules::holds(self.predictor, homes, to, Why::Relief, draws);
        self.judged.insert((to, comes, fully), result.clone());
        result
    }

    /// Destinations for all of a set, the largest first, each where it is coolest then; `None` if some has none.
    fn place(&mut self, set: &[usize]) -> Option<Homes> {
        let world = self.predictor.world;
        let mut largest = set.to_vec();
        largest.sort_by(|one, other| world.share(*other).total_cmp(&world.share(*one)).then(one.cmp(other)));
        let mut homes = Homes::new();
        for registry in largest {
            let mut found = None;
            for to in self.ways[&registry].clone() {
                homes.insert(registry, to);
                let apart = rules::may_go(world, registry, to, Why::Relief, &homes);
                if apart.is_ok()
                    && self.holds(&homes, to, false).is_ok()
                    && self.holds(&homes, to, true).is_ok()
                {
                    found = Some(to);
                    break;
                }
            }
            homes.insert(registry, found?);
        }
        Some(homes)
    }

    /// The part of what the hottest nodes do in the hottest bins that a registry causes, where that is most.
    pub(crate) fn concentration(&self, registry: usize) -> f64 {
        let of = |hot: &Hot| {
            let load = &self.predictor.world.pools[hot.pool];
            let Some(series) = load.series.get(&registry) else { return 0.0 };
            let bins = load.bins();
            let (mut own, mut all) = (0.0, 0.0);
            for bin in 0..bins {
                let busy = |node: &usize| load.busy[node * bins + bin];
                let Some(node) = (0..load.nodes()).max_by(|one, other| busy(one).total_cmp(&busy(other)))
                else {
                    continue;
                };
                if f64::from(busy(&node)) >= hot.before {
                    own += f64::from(series.busy[node * bins + bin]);
                    all += f64::from(busy(&node));
                }
            }
            if all > 0.0 { own / all } else { 0.0 }
        };
        self.hot.iter().map(of).fold(0.0, f64::max)
    }

    /// Why a candidate that may go nowhere may not, in one sentence for each destination.
    pub(crate) fn reasons(&self) -> BTreeSet<String> {
        let loads = |code: Code| matches!(code, Code::TooHot | Code::NotCooler | Code::NodeLost | Code::Cold);
        self.rejected.values().filter(|(code, _)| loads(*code)).map(|(_, words)| words.clone()).collect()
    }
}

//! Figures that are those of the fleet, and predictions that are likely: flows are thrown at nodes one by one.

use super::{Case, Found, Promise};
use crate::signal::{P95, nearest_rank};
use crate::{Move, Node, Phase, Policy, Pool, Prediction, Why};
use dataproxy_router_api::{Role, StampName};

/// Throws for each pool.
const THROWS: u64 = 20;
/// A median may be so far from the one that is thrown here: flows of equal size stand for those of all sizes.
const LIKELY: f64 = 0.035;
/// Six decimals, and figures of 32 bits.
const ROUNDED: f64 = 1e-4;

pub(super) fn figures(case: &Case<'_>, found: &mut Found) {
    for before in &case.plan.before {
        let now =
            case.pool(&before.stamp, before.role).and_then(|pool| case.signal(pool)).map(|signal| signal.p95);
        let said = before.signal.as_ref().map(|signal| signal.p95);
        if !same(now, said) {
            let (stamp, role) = (&before.stamp, before.role.as_str());
            found.say(Promise::Figures, format!("{stamp} {role} has a P95 of {now:?} now, not of {said:?}"));
        }
    }
    for moved in &case.plan.moves {
        let share = case.registry(&moved.registry).and_then(|registry| case.share(registry));
        if share.is_some_and(|share| (share - moved.share).abs() > ROUNDED) {
            found.say(
                Promise::Figures,
                format!("{} has {share:?} of its stamp, not {}", moved.registry, moved.share),
            );
        }
    }
    let plan = case.plan;
    let touched =
        |stamp: &StampName| plan.moves.iter().any(|moved| moved.from == *stamp || moved.to == *stamp);
    for stamp in case.fleet.stamps.iter().filter(|stamp| touched(&stamp.name)) {
        for pool in &stamp.pools {
            let place = (&stamp.name, pool.role);
            match of(&plan.predictions, place) {
                Some(end) => {
                    limits(case, end, found);
                    likely(case, end, pool, &plan.moves, "in the end", found);
                }
                None => found
                    .say(Promise::Figures, format!("{} {}: nothing is predicted", place.0, place.1.as_str())),
            }
            each_phase(case, place, pool, found);
        }
    }
}

fn each_phase(case: &Case<'_>, place: (&StampName, Role), pool: &Pool, found: &mut Found) {
    let mut moved: Vec<Move> = Vec::new();
    for phase in &case.plan.phases {
        let of_phase = case.plan.moves.iter().filter(|moved| phase.registries.contains(&moved.registry));
        moved.extend(of_phase.cloned());
        let when = format!("after phase {}", phase.index);
        match of(&phase.predictions, place) {
            Some(prediction) => likely(case, prediction, pool, &moved, &when, found),
            None => {
                let words = format!("{} {} {when}: nothing is predicted", place.0, place.1.as_str());
                found.say(Promise::Figures, words);
            }
        }
    }
    if let Some(Phase { predictions, .. }) = case.plan.phases.last()
        && of(predictions, place) != of(&case.plan.predictions, place)
    {
        found.say(Promise::Figures, format!("{}: the last phase is not the end", place.0));
    }
}

fn of<'a>(predictions: &'a [Prediction], (stamp, role): (&StampName, Role)) -> Option<&'a Prediction> {
    predictions.iter().find(|one| one.stamp == *stamp && one.role == role)
}

/// What the rules ask of a destination's figures.
fn limits(case: &Case<'_>, end: &Prediction, found: &mut Found) {
    let Policy { destination, node_lost, cooler, .. } = *case.policy;
    let coming: Vec<&Move> = case.plan.moves.iter().filter(|moved| moved.to == end.stamp).collect();
    if coming.is_empty() {
        return;
    }
    let name = format!("{} {}", end.stamp, end.role.as_str());
    let mut beyond = |what: &str, figure: f64, limit: f64| {
        if figure > limit + ROUNDED {
            found.say(Promise::Rules, format!("{name} {what}: {figure:.4}; at most {limit:.4} is allowed"));
        }
    };
    beyond("after, up to", end.after.hi, destination);
    beyond("with one node lost", end.node_lost, node_lost);
    beyond("while cold", end.cold, node_lost);
    let hottest = |stamp: &StampName| {
        let pools = case.stamp(stamp).into_iter().flat_map(|stamp| &stamp.pools);
        pools.filter_map(|pool| case.signal(pool)).map(|signal| signal.p95).fold(0.0, f64::max)
    };
    for moved in coming.iter().filter(|moved| moved.why != Why::Asked) {
        beyond("beside what its home had", end.after.hi, hottest(&moved.from) - cooler);
    }
}

/// Whether a prediction is one that throwing flows at nodes also comes to.
fn likely(case: &Case<'_>, said: &Prediction, pool: &Pool, moved: &[Move], when: &str, found: &mut Found) {
    let name = format!("{} {} {when}", said.stamp, said.role.as_str());
    let after = said.after;
    if !(0.0 <= after.lo && after.lo <= after.median && after.median <= after.hi && after.hi <= 1.0) {
        found.say(Promise::Figures, format!("{name}: {after:?} is no interval"));
    }
    let mut median = thrown(case, said, pool, moved);
    // Where more was asked for than was measured, the planner adds to it.
    let tolerance = if said.censored_bins > 0 { LIKELY + case.policy.censored_more * median } else { LIKELY };
    median = median.min(1.0);
    if (median - after.median).abs() > tolerance {
        found.say(
            Promise::Figures,
            format!("{name}: a P95 of {:.4} is said, {median:.4} is likely", after.median),
        );
    }
}

/// The median P95 of throwing what comes, flow by flow, at the nodes that are there.
fn thrown(case: &Case<'_>, said: &Prediction, pool: &Pool, moved: &[Move]) -> f64 {
    let rules = &case.policy.signal;
    let seconds = pool.window.bin_seconds as f32;
    let leaves = moved.iter().filter(|one| one.from == said.stamp);
    let leaves: Vec<_> =
        leaves.filter_map(|one| pool.shares.iter().find(|share| share.registry == one.registry)).collect();
    let busy = |node: usize, bin: usize| -> f64 {
        let measured = pool.nodes[node].bins[bin].filter(|bin| {
            bin.in_rotation_seconds >= rules.in_rotation_part * seconds
                && bin.observed_seconds >= rules.observed_part * seconds
        });
        let gone: f64 = leaves.iter().map(|share| f64::from(share.busy[node][bin])).sum();
        measured.map_or(0.0, |bin| (f64::from(bin.busy.min(1.0)) - gone).max(0.0))
    };
    let bins = pool.window.bins as usize;
    let left: Vec<Vec<f64>> =
        (0..pool.nodes.len()).map(|n| (0..bins).map(|bin| busy(n, bin)).collect()).collect();
    let comes: Vec<Flows> = moved
        .iter()
        .filter(|one| one.to == said.stamp)
        .filter_map(|one| Flows::of(case.pool(&one.from, said.role)?, one))
        .collect();
    let there = |node: &Node| {
        let rotating = |bin: &Option<crate::Bin>| {
            bin.is_none_or(|bin| bin.in_rotation_seconds >= rules.in_rotation_part * seconds)
        };
        node.bins.iter().filter(|bin| rotating(bin)).count() * 2 >= bins
    };
    let members: Vec<usize> = (0..pool.nodes.len()).filter(|node| there(&pool.nodes[*node])).collect();
    // A node that had more than its part gets more of what comes.
    let heavy: Vec<f64> = members.iter().map(|node| left[*node].iter().sum::<f64>().max(1e-9)).collect();
    let mut random = Random(case.plan.seed ^ 0x5eed);
    let throws = if comes.is_empty() { 1 } else { THROWS };
    let mut medians: Vec<f64> = (0..throws)
        .map(|_| {
            let mut hottest = Vec::new();
            for bin in 0..bins {
                let mut now: Vec<f64> = left.iter().map(|node| node[bin]).collect();
                for flows in &comes {
                    flows.throw(bin, &mut random, &heavy, |at, cores| {
                        now[members[at]] += cores / f64::from(pool.nodes[members[at]].cores);
                    });
                }
                hottest.push(now.into_iter().fold(0.0, f64::max));
            }
            hottest.sort_by(f64::total_cmp);
            nearest_rank(&hottest, P95).unwrap_or(0.0)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    nearest_rank(&medians, 500).unwrap_or(0.0)
}

/// A registry's load as flows of one size.
struct Flows {
    cores: Vec<f64>,
    /// Cores of one flow.
    size: f64,
}

impl Flows {
    fn of(home: &Pool, moved: &Move) -> Option<Self> {
        let share = home.shares.iter().find(|share| share.registry == moved.registry)?;
        let nodes = home.nodes.len() as f64;
        let (mut cores, mut off, mut all) = (Vec::new(), 0.0, 0.0);
        for bin in 0..home.window.bins as usize {
            let on = |node: usize| f64::from(share.busy[node][bin] * home.nodes[node].cores);
            let loads: Vec<f64> = (0..home.nodes.len()).map(on).collect();
            let sum: f64 = loads.iter().sum();
            cores.push(sum);
            if home.nodes.iter().all(|node| node.bins[bin].is_some()) {
                off += loads.iter().map(|load| (load - sum / nodes).powi(2)).sum::<f64>();
                all += sum;
            }
        }
        // With one node nothing shows how flows fall; about five then.
        let size =
            if nodes < 2.0 { all / cores.len() as f64 * 0.38 } else { off / (1.0 - 1.0 / nodes) / all };
        (all > 0.0).then_some(Self { cores, size })
    }

    fn throw(&self, bin: usize, random: &mut Random, heavy: &[f64], mut hit: impl FnMut(usize, f64)) {
        let cores = self.cores[bin];
        let total: f64 = heavy.iter().sum();
        let count = if self.size > 0.0 { cores / self.size } else { f64::MAX };
        if count > 500.0 {
            heavy.iter().enumerate().for_each(|(at, part)| hit(at, cores * part / total));
            return;
        }
        let whole = count.floor() + f64::from(u8::from(random.part() < count.fract()));
        let whole = whole.max(1.0) as usize;
        for _ in 0..whole {
            let mut at = random.part() * total;
            let place = heavy.iter().position(|part| {
                at -= part;
                at < 0.0
            });
            hit(place.unwrap_or(heavy.len() - 1), cores / whole as f64);
        }
    }
}

/// xorshift64*, which is not what the planner draws from.
struct Random(u64);

impl Random {
    fn part(&mut self) -> f64 {
        self.0 = self.0.max(1);
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn same(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() < ROUNDED,
        (one, other) => one.is_none() == other.is_none(),
    }
}

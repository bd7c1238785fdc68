//! How small a pool may be afterwards: a proposal for the minimum that a scaler keeps, never an act.

use dataproxy_router_api::{Role, StampName};
use serde::{Deserialize, Serialize};

use crate::load::World;
use crate::plan::{Recommendation, StampPoolSize};
use crate::rehash::Rehash;
use crate::rules::percent;
use crate::size::{Load, Sized};
use crate::{BadInput, Fleet, Policy};

const DAY: u64 = 86_400;

/// A proposal for one pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sizing {
    /// The stamp.
    pub stamp: StampName,
    /// The pool's role.
    pub role: Role,
    /// The minimum that a scaler keeps now.
    pub min_nodes_now: u32,
    /// The fewest nodes that would do.
    pub target: u32,
    /// The minimum to set next: no more than one day's step below that of now.
    pub next: u32,
    /// P95 at `target`, grown and with one node lost.
    pub node_lost: f64,
    /// 99.5th percentile at `target`, grown and with one node lost.
    pub peak: f64,
    /// What `target` comes from.
    pub bound: Bound,
    /// Part of the pool's cache that goes with the nodes of the next step and has to be read again.
    pub cache_lost: f64,
    /// Why nothing may be made smaller now, if so: `next` is then the minimum of now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// What a size comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The load.
    Load,
    /// The policy's fewest nodes.
    FewestNodes,
    /// One node in each zone.
    Zones,
}

/// A proposal for every pool that a scaler scales and that has a valid signal. A stamp in `unsettled` may have to take
/// registries back (a rollback is still possible, with words of which); it gets no smaller.
///
/// # Errors
///
/// A policy out of range.
pub fn right_size(
    fleet: &Fleet,
    policy: &Policy,
    unsettled: &[(StampName, String)],
    seed: u64,
) -> Result<Vec<Sizing>, BadInput> {
    policy.validate()?;
    let world = World::new(fleet, policy, seed);
    let rehash = Rehash::new(seed);
    let pools = 0..world.pools.len();
    Ok(pools.filter_map(|pool| sizing(&world, &rehash, pool, unsettled)).collect())
}

fn sizing(
    world: &World<'_>,
    rehash: &Rehash,
    pool: usize,
    unsettled: &[(StampName, String)],
) -> Option<Sizing> {
    let (load, policy) = (&world.pools[pool], world.policy);
    let now = load.pool.min_nodes?;
    if !load.signal.as_ref().is_ok_and(crate::signal::Signal::is_valid) {
        return None;
    }
    let zones = load.pool.zones.unwrap_or(1);
    let least = policy.fewest_nodes.max(zones).max(2);
    let enough = |sized: &Sized| sized.node_lost <= policy.right_size && sized.peak <= policy.right_size_peak;
    let sized = Load::of(world, pool, None, policy.growth)?.fewest(rehash, least, enough)?;
    let bound = match sized.nodes {
        nodes if nodes > least => Bound::Load,
        _ if zones > policy.fewest_nodes => Bound::Zones,
        _ => Bound::FewestNodes,
    };
    let step = ((f64::from(now) * policy.right_size_step) as u32).max(2);
    let stamp = world.stamp_of(pool);
    let smaller = sized.nodes < now;
    let refused = refused(world, &stamp.name, unsettled).filter(|_| smaller);
    let next = match (&refused, smaller) {
        (Some(_), _) => now,
        (None, true) => sized.nodes.max(now.saturating_sub(step)),
        (None, false) => sized.nodes,
    };
    Some(Sizing {
        stamp: stamp.name.clone(),
        role: load.pool.role,
        min_nodes_now: now,
        target: sized.nodes,
        next,
        node_lost: sized.node_lost,
        peak: sized.peak,
        bound,
        cache_lost: f64::from(now.saturating_sub(next)) / f64::from(now.max(1)),
        refused,
    })
}

fn refused(world: &World<'_>, stamp: &StampName, unsettled: &[(StampName, String)]) -> Option<String> {
    if let Some((_, why)) = unsettled.iter().find(|(name, _)| name == stamp) {
        return Some(format!("it may have to take registries back: {why}"));
    }
    let held = world.stamp(stamp).and_then(|place| world.fleet.stamps[place].held.clone());
    if let Some(why) = held {
        return Some(format!("it is held: {why}"));
    }
    let touches = |registry: &&crate::Registry| {
        registry.last_move.as_ref().is_some_and(|last| last.from == *stamp || registry.home_stamp == *stamp)
    };
    let moved = world.fleet.registries.iter().filter(touches);
    let last = moved.filter_map(|registry| registry.last_move.as_ref()).map(|last| last.at).max()?;
    let clean = world.fleet.taken.saturating_sub(last) / DAY;
    let needed = u64::from(world.policy.clean_days);
    (clean < needed).then(|| format!("the last move from or to it was {clean} days ago; {needed} are needed"))
}

impl Sizing {
    /// As a recommendation, if the next minimum is a smaller one.
    pub fn recommendation(&self) -> Option<Recommendation> {
        (self.next < self.min_nodes_now).then(|| Recommendation::RightSize {
            pool: StampPoolSize {
                stamp: self.stamp.clone(),
                role: self.role,
                nodes: self.next,
                node_lost: self.node_lost,
            },
            min_nodes_now: self.min_nodes_now,
            why: format!(
                "{} nodes would do, with a P95 of {} and a 99.5th percentile of {} grown and with one lost; {} of the \
                 cache goes with this step",
                self.target,
                percent(self.node_lost),
                percent(self.peak),
                percent(self.cache_lost)
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LastMove;
    use crate::testing::{Model, NOW, fleet, many};

    fn sizings(nodes: usize, flows: f64, with: impl FnOnce(&mut Fleet)) -> Vec<Sizing> {
        let stamp = Model { name: "a", nodes, registries: many("ten-a", 20, flows, 0.0085), lean: 0.0 };
        let mut fleet = fleet(&[stamp], [1, 0]);
        with(&mut fleet);
        right_size(&fleet, &Policy::default(), &[], 1).unwrap()
    }

    #[test]
    fn a_pool_gets_smaller_by_a_step_a_day_and_never_below_what_its_load_needs() {
        let sizing = &sizings(20, 100.0, |_| ())[0];
        assert!(sizing.target < 16 && sizing.target >= 3, "{sizing:?}");
        assert_eq!((sizing.next, sizing.bound), (16, Bound::Load));
        assert!(sizing.node_lost <= 0.45 && sizing.peak <= 0.75 && (sizing.cache_lost - 0.2).abs() < 1e-9);
        let words = sizing.recommendation().unwrap().to_string();
        assert!(words.starts_with("lower the minimum of a all from 20 to 16"), "{words}");
        // A pool that is too small already is not proposed to be smaller.
        let sizing = &sizings(4, 300.0, |_| ())[0];
        assert!(sizing.next > 4 && sizing.recommendation().is_none(), "{sizing:?}");
    }

    #[test]
    fn fewest_nodes_and_zones_bound_the_answer_and_are_named() {
        let sizing = &sizings(10, 5.0, |_| ())[0];
        assert_eq!((sizing.target, sizing.bound), (3, Bound::FewestNodes));
        let sizing = &sizings(10, 5.0, |fleet| fleet.stamps[0].pools[0].zones = Some(5))[0];
        assert_eq!((sizing.target, sizing.bound), (5, Bound::Zones));
    }

    #[test]
    fn a_stamp_that_may_have_to_take_registries_back_keeps_its_size() {
        let fleet = fleet(
            &[Model { name: "a", nodes: 10, registries: many("ten-a", 5, 5.0, 0.008), lean: 0.0 }],
            [1, 0],
        );
        let unsettled = [("a".parse().unwrap(), "migration m-1 is observing".to_owned())];
        let sizing = &right_size(&fleet, &Policy::default(), &unsettled, 1).unwrap()[0];
        assert_eq!(sizing.next, 10);
        assert!(sizing.refused.as_ref().unwrap().contains("m-1"), "{sizing:?}");
        let moved = |days: u64| {
            sizings(10, 5.0, |fleet| {
                let from = "b".parse().unwrap();
                fleet.registries[0].last_move = Some(LastMove { at: NOW - days * DAY, from });
            })
        };
        assert!(moved(6)[0].refused.as_ref().unwrap().contains("6 days ago; 7"), "{:?}", moved(6));
        assert_eq!((moved(7)[0].refused.clone(), moved(7)[0].next), (None, 8));
    }
}

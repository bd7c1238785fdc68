//! A second pair of eyes: every promise of a plan, derived again by plain and slow code that shares nothing with the
//! planner but the signal and the hash.

mod figures;
mod order;
mod rules;

use std::collections::BTreeSet;
use std::fmt;

use dataproxy_router_api::{RegistryName, Role, StampName};
use serde::{Deserialize, Serialize};

use crate::signal::{self, Signal};
use crate::{Fleet, Goal, Plan, Policy, Pool, Registry, Stamp};

/// What a plan says that is not so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Which promise.
    pub promise: Promise,
    /// What is wrong, with figures.
    pub words: String,
}

/// What a plan promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// It is as the planner made it.
    Unedited,
    /// It was made from this fleet, this policy and its goal.
    Fresh,
    /// Its moves are possible and serve its goal.
    Moves,
    /// Its moves break no rule.
    Rules,
    /// Its phases hold all moves, the small ones first, and are watched for long enough.
    Phases,
    /// Its figures are those of the fleet, and its predictions are likely.
    Figures,
    /// It says of everything else why not.
    Complete,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.words)
    }
}

/// What is wrong with a plan for this fleet and policy; nothing, if it may be approved.
pub fn check(fleet: &Fleet, policy: &Policy, plan: &Plan) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    let hash = plan.expected_hash();
    if plan.hash != hash || plan.id != format!("p-{}", &hash[..12]) {
        found.say(Promise::Unedited, format!("its hash is {}, what it says calls for {hash}", plan.hash));
    }
    if plan.base_revision != fleet.revision {
        let (base, now) = (plan.base_revision, fleet.revision);
        found.say(Promise::Fresh, format!("it was made from revision {base}, this is {now}"));
    }
    if plan.inputs_digest != crate::digest(fleet, policy, &plan.goal) {
        found.say(Promise::Fresh, "it was made from another fleet, policy or goal");
    }
    if plan.taken != fleet.taken || plan.expires != fleet.taken + policy.expires {
        found.say(Promise::Fresh, format!("it is of {} and expires at {}", plan.taken, plan.expires));
    }
    let case = Case { fleet, policy, plan };
    // What names no thing of the fleet cannot be judged further.
    if rules::moves(&case, &mut found) {
        rules::rules(&case, &mut found);
        order::phases(&case, &mut found);
        figures::figures(&case, &mut found);
        complete(&case, &mut found);
    }
    found.0
}

struct Found(Vec<Violation>);

impl Found {
    fn say(&mut self, promise: Promise, words: impl Into<String>) {
        self.0.push(Violation { promise, words: words.into() });
    }
}

struct Case<'a> {
    fleet: &'a Fleet,
    policy: &'a Policy,
    plan: &'a Plan,
}

impl<'a> Case<'a> {
    fn registry(&self, name: &RegistryName) -> Option<&'a Registry> {
        self.fleet.registries.iter().find(|registry| registry.name == *name)
    }

    fn stamp(&self, name: &StampName) -> Option<&'a Stamp> {
        self.fleet.stamps.iter().find(|stamp| stamp.name == *name)
    }

    fn pool(&self, stamp: &StampName, role: Role) -> Option<&'a Pool> {
        self.stamp(stamp)?.pools.iter().find(|pool| pool.role == role)
    }

    fn signal(&self, pool: &Pool) -> Option<Signal> {
        signal::signal(pool, &self.policy.signal).ok()
    }

    /// What a registry does in a pool on average, in cores; `None` without a share.
    fn mean(&self, pool: &Pool, registry: &RegistryName) -> Option<f64> {
        let share = pool.shares.iter().find(|share| share.registry == *registry)?;
        let node = |(busy, node): (&Vec<f32>, &crate::Node)| {
            busy.iter().map(|busy| f64::from(*busy)).sum::<f64>() * f64::from(node.cores)
        };
        let all: f64 = share.busy.iter().zip(&pool.nodes).map(node).sum();
        Some(all / f64::from(pool.window.bins))
    }

    /// Its part of its home's CPU, where that is largest; `None` without a share anywhere.
    fn share(&self, registry: &Registry) -> Option<f64> {
        let part = |pool: &Pool| {
            let counts = |bin: &&crate::Bin| {
                let seconds = pool.window.bin_seconds as f32;
                bin.in_rotation_seconds >= self.policy.signal.in_rotation_part * seconds
                    && bin.observed_seconds >= self.policy.signal.observed_part * seconds
            };
            let node = |node: &crate::Node| {
                let busy = node.bins.iter().flatten().filter(counts).map(|bin| f64::from(bin.busy.min(1.0)));
                busy.sum::<f64>() * f64::from(node.cores)
            };
            let all: f64 = pool.nodes.iter().map(node).sum::<f64>() / f64::from(pool.window.bins);
            self.mean(pool, &registry.name).map(|mean| if all > 0.0 { mean / all } else { 0.0 })
        };
        self.stamp(&registry.home_stamp)?.pools.iter().filter_map(part).reduce(f64::max)
    }
}

/// Every registry in question is moved, or rejected for every destination in question.
fn complete(case: &Case<'_>, found: &mut Found) {
    let plan = case.plan;
    if !plan.refusals.is_empty() || (plan.moves.is_empty() && plan.rejected.is_empty()) {
        if plan.moves.is_empty() && plan.refusals.is_empty() && plan.recommendations.is_empty() {
            found.say(Promise::Complete, "it moves nothing, and does not say why");
        }
        return;
    }
    let sources: BTreeSet<&StampName> = match &plan.goal {
        Goal::Relieve { stamp, .. } => [stamp].into(),
        _ => plan.moves.iter().map(|moved| &moved.from).collect(),
    };
    let targets: Vec<&StampName> = match &plan.goal {
        Goal::Isolate { to, .. } | Goal::Move { to, .. } => vec![to],
        _ => case.fleet.stamps.iter().map(|stamp| &stamp.name).collect(),
    };
    let asked = |registry: &&Registry| match &plan.goal {
        Goal::Move { registries, .. } => registries.contains(&registry.name),
        _ => sources.contains(&registry.home_stamp),
    };
    let moved: BTreeSet<_> = plan.moves.iter().map(|moved| (&moved.registry, &moved.to)).collect();
    let rejected: BTreeSet<_> = plan
        .rejected
        .iter()
        .flat_map(|one| one.registries.iter().map(|registry| (registry, one.to.as_ref())))
        .collect();
    for registry in case.fleet.registries.iter().filter(asked) {
        for to in targets.iter().filter(|to| ***to != registry.home_stamp) {
            let moves = moved.contains(&(&registry.name, *to));
            let stays =
                rejected.contains(&(&registry.name, Some(*to))) || rejected.contains(&(&registry.name, None));
            if moves == stays {
                let words =
                    if moves { "is both moved and rejected" } else { "is neither moved nor rejected" };
                found.say(Promise::Complete, format!("{} to {to} {words}", registry.name));
            }
        }
    }
}

#[cfg(test)]
mod tests;

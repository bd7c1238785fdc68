//! From a fleet and a goal to a plan, step by step.

mod asked;
mod heat;
mod relief;
mod rest;

use std::collections::BTreeSet;

use crate::effect::{Broken, Homes};
use crate::load::World;
use crate::phases;
use crate::plan::{Before, Code, Goal, Move, Plan, Recommendation, Refusal, Rejected, Why};
use crate::predict::Predictor;
use crate::rules;
use crate::{Fleet, Policy};

/// Input that no plan can be made from.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadInput {
    /// A setting out of range.
    #[error(transparent)]
    Policy(#[from] crate::BadPolicy),
    /// Two things of one name.
    #[error("{what} {name} is there twice")]
    Twice {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A figure that is none.
    #[error("registry {registry}: {what} is {value}; it has to be 0 or more")]
    Figure {
        /// Whose.
        registry: String,
        /// Which.
        what: &'static str,
        /// What it says.
        value: f64,
    },
}

/// What is to be done, before it has phases and figures.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) homes: Homes,
    pub(crate) why: Option<Why>,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) recommendations: Vec<Recommendation>,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) notes: Vec<String>,
}

/// Makes a plan. The same input gives the same plan, hash and all. What cannot or should not be done is in the plan,
/// as refusals, rejections and recommendations.
///
/// # Errors
///
/// Input that no plan can be made from. (A pool whose figures are no measurements is not that: it refuses what depends
/// on it.)
pub fn plan(fleet: &Fleet, policy: &Policy, goal: &Goal, seed: u64) -> Result<Plan, BadInput> {
    policy.validate()?;
    validate(fleet)?;
    let world = World::new(fleet, policy, seed);
    let predictor = Predictor::new(&world);
    let outcome = match goal {
        Goal::Balance => relief::balance(&predictor),
        Goal::Relieve { stamp, to, p95 } => relief::relieve(&predictor, stamp, to, *p95),
        Goal::Isolate { tenant, from, to } => asked::isolate(&predictor, tenant, from, to),
        Goal::Move { registries, to } => asked::moves(&predictor, registries, to),
    };
    Ok(complete(&predictor, goal, outcome))
}

fn complete(predictor: &Predictor<'_, '_>, goal: &Goal, mut outcome: Outcome) -> Plan {
    let (world, fleet, policy) = (predictor.world, predictor.world.fleet, predictor.world.policy);
    if !outcome.refusals.is_empty() {
        outcome.homes.clear();
    }
    let phases = phases::phases(predictor, &outcome.homes);
    let why = outcome.why.unwrap_or(Why::Asked);
    let ordered = phases.iter().flat_map(|phase| &phase.registries).filter_map(|name| world.registry(name));
    let moves: Vec<Move> =
        ordered.filter_map(|registry| moved(world, registry, outcome.homes[&registry], why)).collect();
    let predictions = predictor.predictions(&outcome.homes, &outcome.homes);
    outcome.notes.extend(notes(world, &outcome.homes));
    let before = world.pools.iter().map(|load| Before {
        stamp: fleet.stamps[load.stamp].name.clone(),
        role: load.pool.role,
        nodes: load.nodes() as u32,
        signal: load.signal.clone().ok(),
    });
    Plan {
        id: String::new(),
        hash: String::new(),
        base_revision: fleet.revision,
        inputs_digest: crate::digest(fleet, policy, goal),
        taken: fleet.taken,
        expires: fleet.taken + policy.expires,
        seed: world.seed,
        goal: goal.clone(),
        before: before.collect(),
        moves,
        phases,
        predictions,
        rejected: outcome.rejected,
        recommendations: outcome.recommendations,
        refusals: outcome.refusals,
        notes: outcome.notes,
    }
    .seal()
}

fn moved(world: &World<'_>, registry: usize, to: usize, why: Why) -> Option<Move> {
    let known = &world.fleet.registries[registry];
    let cold = rules::cold(world, known).ok()?;
    Some(Move {
        registry: known.name.clone(),
        from: known.home_stamp.clone(),
        to: world.fleet.stamps[to].name.clone(),
        why,
        share: world.share(registry),
        peak_bytes_per_second: known.peak_bytes_per_second,
        hot_set_bytes: known.hot_set_bytes,
        cold_seconds: cold.seconds,
        cold_read_bytes_per_second: cold.read_bytes_per_second,
    })
}

/// What whoever approves has to know about these moves.
fn notes(world: &World<'_>, homes: &Homes) -> Vec<String> {
    let mut notes = Vec::new();
    let moved: Vec<&crate::Registry> =
        homes.keys().map(|registry| &world.fleet.registries[*registry]).collect();
    let accounts: BTreeSet<&str> =
        moved.iter().flat_map(|registry| &registry.placement).map(|name| name.as_str()).collect();
    if !accounts.is_empty() {
        let accounts = accounts.into_iter().collect::<Vec<_>>().join(", ");
        notes.push(format!(
            "content stays where it is, in {accounts}: those accounts' limits are still shared with whoever else is there"
        ));
    }
    let capless = world.fleet.accounts.iter().filter(|account| account.egress_bytes_per_second.is_none());
    let capless = capless.filter(|account| moved.iter().any(|one| one.placement.contains(&account.name)));
    notes.extend(capless.map(|account| format!("nobody knows what account {} can give", account.name)));
    let unknown = moved.iter().filter(|registry| !registry.measured);
    notes.extend(unknown.map(|registry| {
        format!("{} was not measured; it is taken to be as large as nine of ten of its class", registry.name)
    }));
    for stamp in homes.values().collect::<BTreeSet<_>>() {
        for pool in world.pools_of(*stamp) {
            let role = world.pools[pool].pool.role;
            let here = world.pools[pool].pool.window.first;
            let homes = homes.keys().filter_map(|registry| world.home(*registry)).collect::<BTreeSet<_>>();
            let mut sources = homes.into_iter().filter_map(|home| world.pool_of(home, role));
            if sources.any(|source| world.pools[source].pool.window.first != here) {
                notes.push(format!(
                    "{} {} has another peak window than where the load comes from: peak is added to peak",
                    world.fleet.stamps[*stamp].name,
                    role.as_str()
                ));
            }
        }
    }
    notes
}

/// A registry that stays, for one destination or all.
pub(crate) fn stays(world: &World<'_>, registries: &[usize], to: Option<usize>, broken: Broken) -> Rejected {
    Rejected {
        registries: registries
            .iter()
            .map(|registry| world.fleet.registries[*registry].name.clone())
            .collect(),
        to: to.map(|to| world.fleet.stamps[to].name.clone()),
        code: broken.0,
        words: broken.1,
    }
}

pub(crate) fn refusal(subject: &str, broken: Broken, remedy: impl Into<String>) -> Refusal {
    Refusal { code: broken.0, subject: subject.to_owned(), words: broken.1, remedy: remedy.into() }
}

pub(crate) fn unknown(what: &str, name: &str) -> Refusal {
    let words = format!("there is no {what} {name}");
    refusal(name, (Code::Unknown, words), format!("name a {what} of this region"))
}

fn validate(fleet: &Fleet) -> Result<(), BadInput> {
    fn twice<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> Result<(), BadInput> {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                return Err(BadInput::Twice { what, name: name.to_owned() });
            }
        }
        Ok(())
    }
    twice("stamp", fleet.stamps.iter().map(|stamp| stamp.name.as_str()))?;
    twice("registry", fleet.registries.iter().map(|registry| registry.name.as_str()))?;
    twice("account", fleet.accounts.iter().map(|account| account.name.as_str()))?;
    for stamp in &fleet.stamps {
        twice("pool", stamp.pools.iter().map(|pool| pool.role.as_str()))?;
        for pool in &stamp.pools {
            twice("share of", pool.shares.iter().map(|share| share.registry.as_str()))?;
        }
    }
    for registry in &fleet.registries {
        let figures = [
            ("peak_bytes_per_second", registry.peak_bytes_per_second),
            ("peak_requests_per_second", registry.peak_requests_per_second),
            ("mean_flows", registry.mean_flows),
            ("hit_share", registry.hit_share),
        ];
        // NaN is not 0 or more.
        let bad = figures.into_iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0));
        if let Some((what, value)) = bad {
            return Err(BadInput::Figure { registry: registry.name.to_string(), what, value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! Phases that hold all moves, the small ones first, and are watched for long enough.

use super::{Case, Found, Promise};
use crate::PhaseKind;
use dataproxy_router_api::{RegistryName, Role};

/// Shares are rounded to six decimals in a plan.
const ROUNDED: f64 = 2e-6;

pub(super) fn phases(case: &Case<'_>, found: &mut Found) {
    let (plan, policy) = (case.plan, case.policy);
    let moved: Vec<&RegistryName> = plan.moves.iter().map(|moved| &moved.registry).collect();
    let phased: Vec<&RegistryName> = plan.phases.iter().flat_map(|phase| &phase.registries).collect();
    if moved != phased {
        found.say(
            Promise::Phases,
            "its phases and its moves do not name the same registries in the same order",
        );
    }
    let mut last = (PhaseKind::Idle, 0.0);
    for (at, phase) in plan.phases.iter().enumerate() {
        let index = phase.index;
        let mut wrong = |words: String| found.say(Promise::Phases, format!("phase {index}: {words}"));
        if index as usize != at + 1 {
            wrong(format!("it is number {}", at + 1));
        }
        if phase.registries.is_empty() {
            wrong("it is empty".into());
        }
        let observe = if phase.kind == PhaseKind::Large { policy.observe_large } else { policy.observe };
        if phase.observe_seconds < observe {
            wrong(format!("it is watched for {} s; {observe} are needed", phase.observe_seconds));
        }
        let (most, so_large) = match phase.kind {
            PhaseKind::Idle => (policy.idle_most as usize, policy.idle),
            PhaseKind::Medium => (policy.medium_most as usize, 1.0),
            PhaseKind::Large => (1, 1.0),
        };
        if phase.registries.len() > most {
            wrong(format!("{} registries; {most} are allowed", phase.registries.len()));
        }
        let mut together = 0.0;
        for name in &phase.registries {
            let Some(registry) = case.registry(name) else { continue };
            let share = case.share(registry).unwrap_or(0.0);
            together += share;
            if phase.kind < last.0 || (phase.kind == last.0 && share + ROUNDED < last.1) {
                wrong(format!("{name} is smaller than what moves before it"));
            }
            last = (phase.kind, share);
            if phase.kind == PhaseKind::Idle && (share >= so_large || !registry.measured) {
                wrong(format!("{name} is not idle"));
            }
            if phase.kind != PhaseKind::Large
                && share >= policy.idle
                && of_set(case, name) >= policy.large + ROUNDED
            {
                wrong(format!("{name} is large, and has to move alone"));
            }
        }
        if phase.kind == PhaseKind::Medium && phase.registries.len() > 1 && together > policy.medium + ROUNDED
        {
            wrong(format!(
                "its registries have {together:.4} of the CPU together; {:.4} are allowed",
                policy.medium
            ));
        }
    }
}

/// A registry's part of what moves, in the role where that is largest.
fn of_set(case: &Case<'_>, name: &RegistryName) -> f64 {
    let mean = |name: &RegistryName, role: Role| {
        let pool = case.registry(name).and_then(|registry| case.pool(&registry.home_stamp, role));
        pool.and_then(|pool| case.mean(pool, name)).unwrap_or(0.0)
    };
    let part = |role: Role| {
        let all: f64 = case.plan.moves.iter().map(|moved| mean(&moved.registry, role)).sum();
        if all > 0.0 { mean(name, role) / all } else { 0.0 }
    };
    [Role::All, Role::Registry, Role::Dataproxy].into_iter().map(part).fold(0.0, f64::max)
}

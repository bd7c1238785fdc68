//! Plans, stamps and registries in words: what happens, why, and why not.

use std::fmt::Write as _;

use dataproxy_router_api::{RegistryName, Role, StampName};

use crate::load::World;
use crate::plan::{Code, Goal, Interval, Phase, PhaseKind, Plan, Prediction, Rejected};
use crate::rules::{gib, percent};
use crate::signal::Status;
use crate::{Fleet, Policy};

/// So many names are written out.
const NAMES: usize = 4;
/// So many registries of a stamp are shown.
const TOP: usize = 8;

/// A plan as a page of text.
pub fn explain(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = page(plan, &mut text);
    text
}

fn page(plan: &Plan, text: &mut String) -> std::fmt::Result {
    let hours = plan.expires.saturating_sub(plan.taken) / 3600;
    let (id, revision, hash) = (&plan.id, plan.base_revision, plan.hash.get(..12).unwrap_or_default());
    writeln!(
        text,
        "Plan {id} (revision {revision}, expires in {hours} h, hash {hash}…)   {}",
        goal(&plan.goal)
    )?;
    for refusal in &plan.refusals {
        writeln!(text, "  REFUSED {}: {} — {}", refusal.code.as_str(), refusal.words, refusal.remedy)?;
    }
    if !plan.moves.is_empty() {
        results(plan, text)?;
        moves(plan, text)?;
    }
    let (small, others): (Vec<&Rejected>, Vec<&Rejected>) =
        plan.rejected.iter().partition(|one| matches!(one.code, Code::TooSmall | Code::NotAsked));
    for one in others {
        let to = one.to.as_ref().map_or("anywhere".into(), |to| format!("to {to}"));
        writeln!(text, "  Rejected: {} {to}: {} ({})", names(&one.registries), one.words, one.code.as_str())?;
    }
    for one in small {
        let to = one.to.as_ref().map_or(String::new(), |to| format!(" to {to}"));
        writeln!(
            text,
            "  Not done: {} registries{to}: {} ({})",
            one.registries.len(),
            one.words,
            one.code.as_str()
        )?;
    }
    plan.recommendations.iter().try_for_each(|advice| writeln!(text, "  Recommended: {advice}"))?;
    plan.notes.iter().try_for_each(|note| writeln!(text, "  Note: {note}"))
}

fn results(plan: &Plan, text: &mut String) -> std::fmt::Result {
    // What is known before the last step is what the last step is approved on.
    let before_last = plan.phases.len().checked_sub(2).map(|at| &plan.phases[at]);
    let head = before_last.map_or(String::new(), |phase| format!("after phase {}", phase.index));
    writeln!(text, "  {:<34}{:>6}   {head:<19} final", "Result in % (90 % interval)", "now")?;
    for end in &plan.predictions {
        let middle = before_last.and_then(|phase| of(&phase.predictions, &end.stamp, end.role));
        let middle = middle.map_or(String::new(), |one| shown(one.after));
        let pool = format!("{} {}  P95", end.stamp, end.role.as_str());
        writeln!(
            text,
            "  {pool:<34}{:>6}   {middle:<19} {}   max {} -> {} (NOT promised), node lost {}, cold {}",
            tenth(end.before),
            shown(end.after),
            tenth(end.max_before),
            tenth(end.max_after),
            tenth(end.node_lost),
            tenth(end.cold)
        )?;
    }
    Ok(())
}

fn moves(plan: &Plan, text: &mut String) -> std::fmt::Result {
    let peak: f64 = plan.moves.iter().map(|moved| moved.peak_bytes_per_second).sum();
    let hot: f64 = plan.moves.iter().map(|moved| moved.hot_set_bytes as f64).sum();
    let cold = plan.moves.iter().map(|moved| moved.cold_seconds).max().unwrap_or(0).div_ceil(60);
    writeln!(
        text,
        "  Moves {} registries, {:.2} GiB/s at peak, hot set {:.1} GiB, the longest cold for {cold} min",
        plan.moves.len(),
        gib(peak),
        gib(hot)
    )?;
    for Phase { index, kind, registries, share, observe_seconds, warnings, .. } in &plan.phases {
        let kind = match kind {
            PhaseKind::Idle => "idle",
            PhaseKind::Medium => "medium",
            PhaseKind::Large => "large",
        };
        let to = plan.moves.iter().find(|moved| registries.contains(&moved.registry));
        let to = to.map_or(String::new(), |moved| moved.to.to_string());
        let (share, hours) = (percent(*share), observe_seconds / 3600);
        writeln!(
            text,
            "  ~ phase {index}  {kind}: {} to {to} ({share} of what moves), watch {hours} h",
            names(registries)
        )?;
        warnings.iter().try_for_each(|warning| writeln!(text, "    WARNING {warning}"))?;
    }
    Ok(())
}

/// Why a stamp is as hot as it is: its signals and who causes them. `None` if there is no such stamp.
pub fn explain_stamp(fleet: &Fleet, policy: &Policy, stamp: &StampName) -> Option<String> {
    let world = World::new(fleet, policy, 0);
    let place = world.stamp(stamp)?;
    let mut text = String::new();
    for pool in world.pools_of(place) {
        let load = &world.pools[pool];
        let role = load.pool.role.as_str();
        let signal = match &load.signal {
            Ok(signal) => signal,
            Err(bad) => {
                let _ = writeln!(text, "{stamp} {role}: no signal: {bad}");
                continue;
            }
        };
        let status = match &signal.status {
            Status::Valid => String::new(),
            Status::Insufficient { why } => format!("; NOT VALID: {why}"),
        };
        let _ = writeln!(
            text,
            "{stamp} {role}: hot-node P95 {} [{}, {}], max {}, average {}, {} nodes; {} is hot{status}",
            percent(signal.p95),
            percent(signal.p95_lo),
            percent(signal.p95_hi),
            percent(signal.max),
            percent(signal.avg),
            load.nodes(),
            percent(policy.hot)
        );
        if let Some(hottest) = &signal.hottest {
            let _ = writeln!(text, "  busiest: {} in bin {}", hottest.node, hottest.bin);
        }
        let part = |cores: f64| if load.mean_cores > 0.0 { cores / load.mean_cores } else { 0.0 };
        let mut parts: Vec<(f64, usize)> =
            load.series.iter().map(|(registry, series)| (part(series.mean), *registry)).collect();
        parts.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
        for (part, registry) in parts.iter().take(TOP) {
            let _ = writeln!(text, "  {:>6} % {}", tenth(*part), fleet.registries[*registry].name);
        }
        // The sum of nothing is -0.
        let rest = parts.iter().skip(TOP).map(|(part, _)| part).sum::<f64>() + 0.0;
        let own = 1.0 - parts.iter().map(|(part, _)| part).sum::<f64>();
        let others = parts.len().saturating_sub(TOP);
        let _ = writeln!(text, "  {:>6} % {others} others", tenth(rest));
        let _ = writeln!(text, "  {:>6} % nodes' own and not attributed", tenth(own.max(0.0)));
    }
    Some(text)
}

/// What a plan does with a registry, or for each destination why nothing. `None` if there is no such registry.
pub fn explain_registry(
    fleet: &Fleet,
    policy: &Policy,
    plan: &Plan,
    registry: &RegistryName,
) -> Option<String> {
    let world = World::new(fleet, policy, 0);
    let place = world.registry(registry)?;
    let known = &fleet.registries[place];
    let mut text = String::new();
    let share = if known.measured {
        percent(world.share(place))
    } else {
        "not measured, taken as ".to_owned() + &percent(world.share(place))
    };
    let _ = writeln!(
        text,
        "{registry}: home {}, {share} of its CPU, {:.3} GiB/s at peak, hot set {:.1} GiB",
        known.home_stamp,
        gib(known.peak_bytes_per_second),
        gib(known.hot_set_bytes as f64)
    );
    if let Some(moved) = plan.moves.iter().find(|moved| moved.registry == *registry) {
        let phase = plan.phases.iter().find(|phase| phase.registries.contains(registry));
        let phase = phase.map_or(0, |phase| phase.index);
        let _ = writeln!(text, "  moves to {} in phase {phase} of {}", moved.to, plan.phases.len());
    }
    let mut found = false;
    for one in plan.rejected.iter().filter(|one| one.registries.contains(registry)) {
        let to = one.to.as_ref().map_or("anywhere".into(), |to| format!("to {to}"));
        let _ = writeln!(text, "  not {to}: {} ({})", one.words, one.code.as_str());
        found = true;
    }
    if !found && !plan.moves.iter().any(|moved| moved.registry == *registry) {
        let _ = writeln!(text, "  not in question: the plan is about other stamps, or moves nothing");
    }
    Some(text)
}

fn goal(goal: &Goal) -> String {
    match goal {
        Goal::Balance => "balance".into(),
        Goal::Relieve { stamp, to, p95 } => {
            let to = if to.is_empty() { String::new() } else { format!(" to {}", names(to)) };
            format!(
                "relieve {stamp}{to}{}",
                p95.map_or(String::new(), |p95| format!(" -> goal {}", percent(p95)))
            )
        }
        Goal::Isolate { tenant, from, to } => {
            let from = if from.is_empty() { String::new() } else { format!(" of {}", names(from)) };
            format!("isolate tenant {tenant}{from} on {to}")
        }
        Goal::Move { registries, to } => format!("move {} to {to}", names(registries)),
    }
}

fn of<'a>(predictions: &'a [Prediction], stamp: &StampName, role: Role) -> Option<&'a Prediction> {
    predictions.iter().find(|one| one.stamp == *stamp && one.role == role)
}

fn shown(interval: Interval) -> String {
    format!("{} [{}-{}]", tenth(interval.median), tenth(interval.lo), tenth(interval.hi))
}

fn tenth(part: f64) -> String {
    format!("{:.1}", part * 100.0)
}

fn names<T: ToString>(names: &[T]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES).map(T::to_string).collect();
    match names.len().saturating_sub(NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

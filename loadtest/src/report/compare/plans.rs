//! What makes two sides less comparable than they look: other plans, other machines, runs that went wrong.

use serde_json::Value;

use super::Named;
use crate::report::Report;

/// Differences of one kind that are told one by one; beyond, only how many there are.
const TOLD: usize = 6;

/// One sentence each.
pub(super) fn warnings(base: &[Named], new: &[Named]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, report) in base.iter().chain(new) {
        if let Some(why) = &report.stalled {
            warnings.push(format!("{name} was stopped before its end: {why}"));
        }
        let bottlenecks = report.client.bottlenecks.iter();
        warnings.extend(bottlenecks.map(|why| format!("{name}: its load may have been the limit: {why}")));
    }
    let Some((first, wanted)) = base.first() else { return warnings };
    for (name, report) in base.iter().skip(1).chain(new) {
        let mut differences = Vec::new();
        differ("machine", &json(&wanted.machine), &json(&report.machine), &mut differences);
        differ("plan", &plan(wanted), &plan(report), &mut differences);
        differ("tool", &json(&wanted.tool), &json(&report.tool), &mut differences);
        let more = differences.len().saturating_sub(TOLD);
        differences.truncate(TOLD);
        warnings.extend(differences.into_iter().map(|what| format!("{name} differs from {first} in {what}")));
        if more > 0 {
            warnings.push(format!("{name} differs from {first} in {more} more settings"));
        }
        let servers = |report: &Report| -> Vec<String> {
            report.servers.iter().map(|server| server.name.clone()).collect()
        };
        let (found, wanted) = (servers(report), servers(wanted));
        if found != wanted {
            warnings.push(format!("{name} watched the servers {found:?}, {first} {wanted:?}"));
        }
    }
    warnings
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// The plan without what changes nothing of the work: names, the dice, what was wanted of the result.
fn plan(report: &Report) -> Value {
    let mut plan = json(&report.plan);
    if let Some(fields) = plan.as_object_mut() {
        for name in ["title", "about", "seed", "limit"] {
            fields.remove(name);
        }
    }
    plan
}

/// Every place where two values differ, as `plan.flow[0].client: "docker" → "plain"`.
fn differ(path: &str, a: &Value, b: &Value, to: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            for name in a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))) {
                let of =
                    |fields: &serde_json::Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
                differ(&format!("{path}.{name}"), &of(a), &of(b), to);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differ(&format!("{path}[{index}]"), a, b, to);
            }
        }
        _ if a != b => to.push(format!("{path}: {} → {}", short(a), short(b))),
        _ => {}
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 { text.chars().take(59).chain(['…']).collect() } else { text }
}

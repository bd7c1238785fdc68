//! What changed between two plans: the answer to "why was mine refused as stale?"

use std::collections::BTreeMap;
use std::fmt;

use dataproxy_router_api::{RegistryName, Revision, Role, StampName};
use serde::{Deserialize, Serialize};

use super::{Plan, Prediction};

/// A prediction that differs by less than this is the same.
const SAME: f64 = 0.0005;

/// What changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanDiff {
    /// Revisions that the two were made from.
    pub revisions: (Revision, Revision),
    /// Moves that are new, gone, or go elsewhere.
    pub moves: Vec<MoveChange>,
    /// Registries whose phase is another, with its number before and after.
    pub phases: Vec<(RegistryName, u32, u32)>,
    /// Predictions that are others, by half a tenth of a point or more.
    pub predictions: Vec<PredictionChange>,
    /// Recommendations and refusals that only the first has, and only the second, in words.
    pub advice: (Vec<String>, Vec<String>),
}

/// A move that changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MoveChange {
    /// The registry.
    pub registry: RegistryName,
    /// Where it was to go, if anywhere.
    pub before: Option<StampName>,
    /// Where it is to go now, if anywhere.
    pub after: Option<StampName>,
}

/// A prediction that changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictionChange {
    /// The stamp.
    pub stamp: StampName,
    /// The pool's role.
    pub role: Role,
    /// The median P95 in the end, as the first plan has it.
    pub before: Option<f64>,
    /// As the second has it.
    pub after: Option<f64>,
}

/// What changed from one plan to another.
pub fn diff(one: &Plan, other: &Plan) -> PlanDiff {
    let moves = |plan: &Plan| -> BTreeMap<_, _> {
        plan.moves.iter().map(|moved| (moved.registry.clone(), moved.to.clone())).collect()
    };
    let phases = |plan: &Plan| -> BTreeMap<_, _> {
        let of =
            |phase: &super::Phase| phase.registries.iter().map(|name| (name.clone(), phase.index)).collect();
        plan.phases.iter().flat_map(|phase| -> Vec<_> { of(phase) }).collect()
    };
    let moves = changes(moves(one), moves(other), |one, other| one == other);
    let phases = changes(phases(one), phases(other), |one, other| one == other);
    let predictions = changes(medians(&one.predictions), medians(&other.predictions), |one, other| {
        (one - other).abs() < SAME
    });
    let (ours, theirs) = (advice(one), advice(other));
    let missing = |from: &[String], of: &[String]| -> Vec<String> {
        from.iter().filter(|line| !of.contains(line)).cloned().collect()
    };
    PlanDiff {
        revisions: (one.base_revision, other.base_revision),
        moves: moves
            .into_iter()
            .map(|(registry, before, after)| MoveChange { registry, before, after })
            .collect(),
        phases: phases
            .into_iter()
            .filter_map(|(registry, before, after)| Some((registry, before?, after?)))
            .collect(),
        predictions: predictions
            .into_iter()
            .map(|((stamp, role), before, after)| PredictionChange { stamp, role, before, after })
            .collect(),
        advice: (missing(&ours, &theirs), missing(&theirs, &ours)),
    }
}

impl PlanDiff {
    /// Whether the two plans would do the same and expect the same of it.
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty()
            && self.phases.is_empty()
            && self.predictions.is_empty()
            && self.advice.0.is_empty()
            && self.advice.1.is_empty()
    }
}

impl fmt::Display for PlanDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = self.revisions;
        writeln!(
            f,
            "revision {before} -> {after}{}",
            if self.is_empty() { ": nothing changed" } else { "" }
        )?;
        for MoveChange { registry, before, after } in &self.moves {
            match (before, after) {
                (Some(before), Some(after)) => writeln!(f, "~ {registry}: to {after}, was to {before}")?,
                (None, Some(after)) => writeln!(f, "+ {registry}: to {after}")?,
                (Some(before), None) => writeln!(f, "- {registry}: was to {before}")?,
                (None, None) => (),
            }
        }
        for (registry, before, after) in &self.phases {
            writeln!(f, "~ {registry}: phase {before} -> {after}")?;
        }
        for PredictionChange { stamp, role, before, after } in &self.predictions {
            let shown =
                |figure: &Option<f64>| figure.map_or("-".into(), |p95| format!("{:.1} %", p95 * 100.0));
            writeln!(f, "~ {stamp} {} P95: {} -> {}", role.as_str(), shown(before), shown(after))?;
        }
        self.advice.0.iter().try_for_each(|line| writeln!(f, "- {line}"))?;
        self.advice.1.iter().try_for_each(|line| writeln!(f, "+ {line}"))
    }
}

/// Keys whose values differ or that one side lacks.
fn changes<K: Ord + Clone, V: Clone>(
    one: BTreeMap<K, V>,
    other: BTreeMap<K, V>,
    same: impl Fn(&V, &V) -> bool,
) -> Vec<(K, Option<V>, Option<V>)> {
    let mut keys: Vec<&K> = one.keys().chain(other.keys()).collect();
    keys.sort();
    keys.dedup();
    let change = |key: &K| {
        let (before, after) = (one.get(key), other.get(key));
        let unchanged = matches!((before, after), (Some(before), Some(after)) if same(before, after));
        (!unchanged).then(|| (key.clone(), before.cloned(), after.cloned()))
    };
    keys.into_iter().filter_map(change).collect()
}

fn medians(predictions: &[Prediction]) -> BTreeMap<(StampName, Role), f64> {
    let entry =
        |prediction: &Prediction| ((prediction.stamp.clone(), prediction.role), prediction.after.median);
    predictions.iter().map(entry).collect()
}

fn advice(plan: &Plan) -> Vec<String> {
    let recommended = plan.recommendations.iter().map(|recommendation| recommendation.to_string());
    let refused = plan.refusals.iter().map(|refusal| format!("refused: {}", refusal.words));
    recommended.chain(refused).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Goal;
    use crate::plan::{Move, Refusal, Why};

    fn plan(to: Option<&str>) -> Plan {
        let moved = |to: &str| Move {
            registry: "contoso".parse().unwrap(),
            from: "a".parse().unwrap(),
            to: to.parse().unwrap(),
            why: Why::Relief,
            share: 1.0 / 3.0,
            peak_bytes_per_second: 1e9 / 7.0,
            hot_set_bytes: u64::MAX,
            cold_seconds: 60,
            cold_read_bytes_per_second: 1e15 / 3.0,
        };
        Plan {
            id: String::new(),
            hash: String::new(),
            base_revision: Revision(7),
            inputs_digest: String::new(),
            taken: 1,
            expires: 2,
            seed: 3,
            goal: Goal::Balance,
            before: Vec::new(),
            moves: to.into_iter().map(moved).collect(),
            phases: Vec::new(),
            predictions: Vec::new(),
            rejected: Vec::new(),
            recommendations: Vec::new(),
            refusals: Vec::new(),
            notes: Vec::new(),
        }
        .seal()
    }

    #[test]
    fn a_plan_keeps_its_hash_through_json() {
        let plan = plan(Some("b"));
        let text = serde_json::to_string_pretty(&plan).unwrap();
        let back: Plan = serde_json::from_str(&text).unwrap();
        assert_eq!(back, plan);
        assert_eq!(back.expected_hash(), plan.hash);
        assert_eq!(plan.id, format!("p-{}", &plan.hash[..12]));
        assert_eq!(plan.hash.len(), 64);
    }

    #[test]
    fn an_edit_shows_in_the_hash() {
        let mut edited = plan(Some("b"));
        edited.moves[0].to = "c".parse().unwrap();
        assert_ne!(edited.expected_hash(), edited.hash);
        assert_ne!(plan(Some("b")).hash, plan(None).hash);
    }

    #[test]
    fn a_diff_says_what_changed_and_nothing_else() {
        let (b, c, none) = (plan(Some("b")), plan(Some("c")), plan(None));
        assert!(diff(&b, &b).is_empty());
        assert_eq!(diff(&b, &b).to_string(), "revision 7 -> 7: nothing changed\n");
        assert_eq!(diff(&b, &c).to_string(), "revision 7 -> 7\n~ contoso: to c, was to b\n");
        assert_eq!(diff(&b, &none).to_string(), "revision 7 -> 7\n- contoso: was to b\n");
        let refused = Refusal {
            code: crate::Code::Pinned,
            subject: "contoso".into(),
            words: "pinned by alice".into(),
            remedy: "unpin it".into(),
        };
        let refused = Plan { refusals: vec![refused], ..none.clone() };
        assert_eq!(diff(&none, &refused).to_string(), "revision 7 -> 7\n+ refused: pinned by alice\n");
    }
}

//! Plans for described regions, as text that is reviewed like code. `UPDATE_GOLDEN=1` writes it anew.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::testing::{Model, Uses, fleet, many};
use crate::{Fleet, Goal, Policy, check, explain, explain_registry, explain_stamp, plan};

/// What a file describes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    /// What is to be seen in it.
    about: String,
    seed: u64,
    stamps: Vec<DescribedStamp>,
    /// Registries that are pinned, and why.
    #[serde(default)]
    pinned: Vec<(String, String)>,
    /// Stamp, node, first bin and how many of them are missing.
    #[serde(default)]
    silent: Vec<(usize, usize, usize, usize)>,
    /// Stamp, node, bin and how busy it was.
    #[serde(default)]
    spikes: Vec<(usize, usize, usize, f32)>,
    goal: Goal,
    /// A registry that is explained beside the plan.
    registry: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DescribedStamp {
    name: String,
    nodes: usize,
    /// How many small registries, and their flows together.
    others: (usize, f64),
    /// Others by name, with their flows.
    #[serde(default)]
    registries: Vec<(String, f64)>,
    #[serde(default)]
    lean: f64,
}

impl Described {
    fn fleet(&self) -> Fleet {
        let model = |stamp: &DescribedStamp| {
            let (count, flows) = stamp.others;
            let mut registries = many(&format!("other-{}", stamp.name), count, flows, 0.0085);
            registries.extend(stamp.registries.iter().map(|(name, flows)| Uses::new(name, *flows, 0.0085)));
            Model { name: stamp.name.clone().leak(), nodes: stamp.nodes, registries, lean: stamp.lean }
        };
        let mut fleet = fleet(&self.stamps.iter().map(model).collect::<Vec<_>>(), [self.seed, 0]);
        for (name, why) in &self.pinned {
            let registry = fleet.registries.iter_mut().find(|one| one.name.as_str() == name);
            registry.expect(name).pinned = Some(why.clone());
        }
        for (stamp, node, first, count) in &self.silent {
            fleet.stamps[*stamp].pools[0].nodes[*node].bins[*first..first + count].fill(None);
        }
        for (stamp, node, bin, busy) in &self.spikes {
            fleet.stamps[*stamp].pools[0].nodes[*node].bins[*bin].as_mut().unwrap().busy = *busy;
        }
        fleet
    }
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    files.sort();
    files
}

#[test]
fn golden_plans_are_as_reviewed() {
    let policy = Policy::default();
    let files = files();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let described: Described = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let fleet = described.fleet();
        let plan = plan(&fleet, &policy, &described.goal, described.seed).unwrap();
        assert_eq!(check(&fleet, &policy, &plan), [], "{}", file.display());
        let registry = described.registry.parse().unwrap();
        let stamp = fleet.stamps[0].name.clone();
        let text = format!(
            "# {}\n\n{}\n{}\n{}",
            described.about,
            explain(&plan),
            explain_stamp(&fleet, &policy, &stamp).unwrap(),
            explain_registry(&fleet, &policy, &plan, &registry).unwrap()
        );
        // The hash is of inputs whose last bits are the machine's.
        let text = text.replace(&plan.id, "p-…").replace(&plan.hash[..12], "");
        let golden = file.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(text, expected, "{}: UPDATE_GOLDEN=1 writes it anew", golden.display());
    }
}

//! What is judged of each commit.

use std::collections::BTreeMap;

use dataproxy_router::store::{Changes, KeyChange};

/// What the store was told, commit by commit: the one truth that is judged.
#[derive(Default)]
pub(crate) struct History {
    epochs: BTreeMap<String, u64>,
    moves: BTreeMap<String, String>,
}

impl History {
    pub(crate) fn take(&mut self, changes: Changes, seed: u64) {
        for change in changes.changes {
            let KeyChange::Put(entry) = change else { continue };
            let value: serde_json::Value = serde_json::from_slice(&entry.value).unwrap_or_default();
            if let Some(registry) = entry.key.as_str().strip_prefix("registries/") {
                let epoch = value["epoch"].as_u64().unwrap();
                // What is first seen may have come by changes that a compaction took away.
                let before = self.epochs.insert(registry.to_owned(), epoch).unwrap_or(epoch);
                assert!(
                    before <= epoch && epoch <= before + 1,
                    "seed {seed}: {registry} went from epoch {before} to {epoch} at revision {}",
                    entry.version
                );
            }
            if let Some(id) = entry.key.as_str().strip_prefix("migrations/") {
                let registry = value["registry"].as_str().unwrap().to_owned();
                let ended = matches!(value["state"].as_str(), Some("done" | "aborted" | "rolled_back"));
                match self.moves.get(&registry) {
                    // The commit that rolls a move back writes its end and the move back at once, in any order.
                    Some(running)
                        if running != id && !ended && value["takes_back"].as_str() != Some(running) =>
                    {
                        panic!("seed {seed}: {registry} moves by {running} and {id} at once");
                    }
                    Some(running) if running == id && ended => drop(self.moves.remove(&registry)),
                    _ if !ended => drop(self.moves.insert(registry, id.to_owned())),
                    _ => {}
                }
            }
        }
    }
}

//! What has changed between two revisions, so that a node need not be told everything anew.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::{Binding, History, Point, Purge, RegistryName, Revision, Snapshot, Stamp, StampName};

/// How one revision becomes another. Whole stamps and whole bindings: what is named is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The history that both revisions are of.
    #[serde(default, skip_serializing_if = "History::is_first")]
    pub history: History,
    /// The revision that it changes.
    pub base: Revision,
    /// The revision that comes of it.
    pub revision: Revision,
    /// Stamps that are new or have changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stamps: Vec<Stamp>,
    /// Stamps that are no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stamps_gone: Vec<StampName>,
    /// Bindings that are new or have changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bindings: Vec<Binding>,
    /// Registries that are no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registries_gone: Vec<RegistryName>,
    /// What is to be forgotten, beyond what `base` has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purges: Vec<Purge>,
}

/// A change that is not one of the snapshot at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the change is of revision {base}, and revision {found} is at hand; the whole snapshot is needed")]
pub struct OtherBase {
    /// What the change is of.
    pub base: Point,
    /// What it met.
    pub found: Point,
}

impl Change {
    /// Where it leads to.
    pub fn point(&self) -> Point {
        Point { history: self.history, revision: self.revision }
    }

    /// The way from `before` to `after`, which is of the same history.
    pub fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let stamps_before: Vec<&Stamp> = before.stamps.iter().collect();
        let bound_before = before.bindings.iter().map(|binding| (&binding.registry, binding));
        let bound_before: std::collections::HashMap<_, _> = bound_before.collect();
        let bound_after: HashSet<_> = after.bindings.iter().map(|binding| &binding.registry).collect();
        Self {
            history: after.history,
            base: before.revision,
            revision: after.revision,
            stamps: after.stamps.iter().filter(|stamp| !stamps_before.contains(stamp)).cloned().collect(),
            stamps_gone: before
                .stamps
                .iter()
                .filter(|stamp| after.stamp(&stamp.name).is_none())
                .map(|stamp| stamp.name.clone())
                .collect(),
            bindings: after
                .bindings
                .iter()
                .filter(|binding| bound_before.get(&binding.registry) != Some(binding))
                .cloned()
                .collect(),
            registries_gone: bound_before
                .into_keys()
                .filter(|registry| !bound_after.contains(registry))
                .cloned()
                .collect(),
            purges: after.purges.iter().filter(|purge| purge.revision > before.revision).cloned().collect(),
        }
    }

    /// The snapshot that comes of `before`. Purges older than `before` knows are left to it.
    ///
    /// # Errors
    /// [`OtherBase`]: it is a change of another revision.
    pub fn apply(&self, before: &Snapshot) -> Result<Snapshot, OtherBase> {
        let base = Point { history: self.history, revision: self.base };
        if before.point() != base {
            return Err(OtherBase { base, found: before.point() });
        }
        let mut after = before.clone();
        after.revision = self.revision;
        let replaced: HashSet<&StampName> =
            self.stamps.iter().map(|stamp| &stamp.name).chain(&self.stamps_gone).collect();
        after.stamps.retain(|stamp| !replaced.contains(&stamp.name));
        after.stamps.extend(self.stamps.iter().cloned());
        let replaced: HashSet<&RegistryName> =
            self.bindings.iter().map(|binding| &binding.registry).chain(&self.registries_gone).collect();
        after.bindings.retain(|binding| !replaced.contains(&binding.registry));
        after.bindings.extend(self.bindings.iter().cloned());
        // One of the same is done with the later one, so that what is kept does not grow with what is asked.
        let same = |one: &Purge, other: &Purge| {
            (&one.registry, &one.repository, &one.digest)
                == (&other.registry, &other.repository, &other.digest)
        };
        after.purges.retain(|purge| !self.purges.iter().any(|newer| same(purge, newer)));
        after.purges.extend(self.purges.iter().cloned());
        after.sort();
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, Placement};

    fn snapshot(revision: u64, stamps: &[&str], bound: &[(&str, &str, u64)]) -> Snapshot {
        let stamps = stamps.iter().map(|name| Stamp::new(name.parse().unwrap()));
        let bindings = bound.iter().map(|(registry, stamp, epoch)| Binding {
            epoch: Epoch(*epoch),
            ..Binding::new(
                registry.parse().unwrap(),
                stamp.parse().unwrap(),
                Placement::new("a1".parse().unwrap(), *registry),
            )
        });
        let mut snapshot = Snapshot::empty("local".parse().unwrap());
        snapshot.revision = Revision(revision);
        snapshot.stamps = stamps.collect();
        snapshot.bindings = bindings.collect();
        snapshot
    }

    fn purge(revision: u64) -> Purge {
        Purge::of("contoso".parse().unwrap(), Revision(revision))
    }

    #[test]
    fn a_change_leads_from_one_snapshot_to_the_other() {
        let mut before =
            snapshot(4, &["a", "b"], &[("contoso", "a", 1), ("fabrikam", "b", 1), ("tailspin", "b", 3)]);
        before.purges = vec![purge(3)];
        let mut after =
            snapshot(9, &["a", "c"], &[("contoso", "c", 2), ("fabrikam", "a", 2), ("woodgrove", "a", 1)]);
        // The later one of the same stands for both.
        after.purges = vec![purge(8)];
        let change = Change::between(&before, &after);
        assert_eq!(change.apply(&before), Ok(after.clone()));
        assert_eq!((change.stamps.len(), change.bindings.len(), change.purges.len()), (1, 3, 1));
        let text = serde_json::to_string(&change).unwrap();
        assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), change);
        let again = change.apply(&after);
        let (base, found) = (Point::first(Revision(4)), Point::first(Revision(9)));
        assert_eq!(again, Err(OtherBase { base, found }));
        let restored = Snapshot { history: History(1), ..before };
        assert_eq!(
            change.apply(&restored).unwrap_err().found,
            restored.point(),
            "revision 4 of another history"
        );
    }

    #[test]
    fn a_change_of_one_binding_names_no_other() {
        let before = snapshot(4, &["a", "b"], &[("contoso", "a", 1), ("fabrikam", "b", 1)]);
        let after = snapshot(5, &["a", "b"], &[("contoso", "b", 2), ("fabrikam", "b", 1)]);
        let change = Change::between(&before, &after);
        assert_eq!(change.bindings, after.bindings[..1]);
        assert!(change.stamps.is_empty() && change.registries_gone.is_empty());
    }
}

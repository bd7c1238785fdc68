//! Registries that move to this stamp: whether this node can read what they hold, tried at once and again until it can.
//! A router binds a registry here only when every node of the stamp has said so.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dataproxy_router_api::{Binding, Epoch, Placement, Reach, RegistryName, ServingState, StampName};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, interval};

use super::{AT_ONCE, look_at};
use crate::bindings::{Bindings, Table};
use crate::resolve::Stores;

/// Time after which what cannot be read is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
struct Found {
    epoch: Epoch,
    placement: Placement,
    reach: Reach,
    at: Instant,
}

impl Found {
    fn is_of(&self, binding: &Binding) -> bool {
        self.epoch == binding.epoch && self.placement == binding.placement
    }
}

/// What was found of the registries that move to this stamp.
#[derive(Debug, Default)]
pub struct Moving {
    found: Mutex<HashMap<RegistryName, Found>>,
    changes: watch::Sender<u64>,
}

impl Moving {
    fn found(&self) -> MutexGuard<'_, HashMap<RegistryName, Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the placement of a binding can be read, if it moves here and that has been tried.
    pub fn reach(&self, binding: &Binding) -> Option<Reach> {
        self.found()
            .get(&binding.registry)
            .filter(|found| found.is_of(binding))
            .map(|found| found.reach.clone())
    }

    /// A receiver that changes with what is found.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Tries what moves to `stamp`, for as long as it is polled. Safe to drop at any point.
    pub async fn follow(&self, bindings: &Bindings, stores: &Stores, stamp: &StampName) {
        let (mut revisions, mut again) = (bindings.changes(), interval(AGAIN_AFTER));
        let places = Semaphore::new(AT_ONCE);
        let (mut looks, mut under_way) = (FuturesUnordered::new(), HashSet::new());
        loop {
            let table = bindings.current();
            for binding in self.due(&table, stamp) {
                if under_way.insert((binding.registry.clone(), binding.epoch)) {
                    let (binding, places) = (binding.clone(), &places);
                    looks.push(async move {
                        let _place = places.acquire().await;
                        let reach = look(&binding.placement, stores).await;
                        (binding, reach)
                    });
                }
            }
            tokio::select! {
                Some((binding, reach)) = looks.next(), if !looks.is_empty() => {
                    under_way.remove(&(binding.registry.clone(), binding.epoch));
                    self.keep(binding, reach);
                }
                changed = revisions.changed() => if changed.is_err() { return },
                _ = again.tick() => {}
            }
        }
    }

    /// What moves here and has not been found readable of late; what does not move here any more is forgotten.
    fn due<'t>(&self, table: &'t Table, stamp: &StampName) -> Vec<&'t Binding> {
        let mut found = self.found();
        let moving = |binding: &&Binding| match ServingState::of(binding, stamp) {
            ServingState::Warming => true,
            ServingState::Bound => binding.source.is_some(),
            _ => false,
        };
        let wanted: Vec<&Binding> = table.snapshot().bindings.iter().filter(moving).collect();
        found.retain(|registry, _| wanted.iter().any(|binding| binding.registry == *registry));
        let is_due = |binding: &&Binding| match found.get(&binding.registry) {
            Some(known) if known.is_of(binding) => {
                known.reach != Reach::Readable && known.at.elapsed() >= AGAIN_AFTER
            }
            _ => true,
        };
        wanted.into_iter().filter(is_due).collect()
    }

    fn keep(&self, binding: Binding, reach: Reach) {
        let Binding { registry, epoch, placement, .. } = binding;
        if let Reach::Unreadable { why } = &reach {
            tracing::warn!(%registry, %epoch, why, "a registry is to move here, and its content cannot be read");
        }
        self.found().insert(registry, Found { epoch, placement, reach, at: Instant::now() });
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Whether a placement can be read at any of its places.
async fn look(placement: &Placement, stores: &Stores) -> Reach {
    let mut why = Vec::new();
    for place in placement.locations() {
        let look = look_at(&place, stores).await;
        if look.finding.serves() {
            return Reach::Readable;
        }
        let said = look.said.map(|said| format!(" ({said})")).unwrap_or_default();
        why.push(format!("{place}: {}{said}; {}", look.finding, look.finding.remedy()));
    }
    Reach::Unreadable { why: why.join("; ") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dataproxy_cache::OriginErrorKind;
    use dataproxy_cache::fakes::Fault;
    use dataproxy_router_api::{Phase, Snapshot};

    use super::*;
    use crate::layout::Laid;
    use crate::routers::scripted::snapshot;
    use crate::store::Store;
    use crate::store::memory::MemoryStore;

    /// `contoso` on its way from stamp `a` to `b`, with its content in an account of this name.
    fn coming(revision: u64, account: &str) -> Snapshot {
        let mut snapshot = snapshot(revision, "a");
        for binding in &mut snapshot.bindings {
            binding.phase = Phase::Preparing;
            binding.destination = Some("b".parse().expect("a name"));
            binding.placement.account = account.parse().expect("a name");
        }
        snapshot
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_to_come_is_tried_at_once_and_again_until_it_can_be_read() {
        let store = MemoryStore::new();
        store.origin().always(Fault::Refuse(OriginErrorKind::Denied));
        let holdings = Laid::over(Arc::clone(&store) as Arc<dyn Store>);
        let stores = Stores::from([("one".parse().expect("a name"), holdings)]);
        let bindings = Arc::new(Bindings::new(Table::new(snapshot(1, "a"))));
        let moving = Arc::<Moving>::default();
        let (following, followed) = (Arc::clone(&moving), Arc::clone(&bindings));
        let task = tokio::spawn(async move {
            following.follow(&followed, &stores, &"b".parse().expect("a name")).await;
        });
        let mut changes = moving.changes();
        let mut next = async |snapshot: Option<Snapshot>| {
            let begun = Instant::now();
            if let Some(snapshot) = snapshot {
                bindings.replace(Table::new(snapshot)).expect("newer");
            }
            changes.changed().await.expect("followed");
            let table = bindings.current();
            let reach = moving.reach(table.binding("contoso").expect("bound")).expect("tried");
            (reach, begun.elapsed())
        };
        let why = |reach| match reach {
            Reach::Unreadable { why } => why,
            Reach::Readable => panic!("readable"),
        };
        let (reach, after) = next(Some(coming(2, "elsewhere"))).await;
        assert_eq!(after, Duration::ZERO, "at once");
        assert!(why(reach).contains("elsewhere:contoso/: not_configured; add an [accounts] section"));
        let (reach, after) = next(Some(coming(3, "one"))).await;
        assert_eq!(after, Duration::ZERO);
        assert!(why(reach).contains("one:contoso/: denied"));
        let (reach, after) = next(None).await;
        assert!(why(reach).contains("denied") && after <= AGAIN_AFTER * 2, "{after:?}");
        store.origin().heal();
        let (reach, after) = next(None).await;
        assert!(reach == Reach::Readable && after <= AGAIN_AFTER * 2, "{after:?}");
        // After the switch it is said of the new epoch as well; what has come to rest is not.
        let mut switched = coming(4, "one");
        for binding in &mut switched.bindings {
            (binding.phase, binding.destination) = (Phase::Draining, None);
            (binding.home_stamp, binding.source) =
                ("b".parse().expect("a name"), Some("a".parse().expect("a name")));
        }
        assert_eq!(next(Some(switched.clone())).await.0, Reach::Readable);
        let rest = snapshot(5, "b");
        bindings.replace(Table::new(rest.clone())).expect("newer");
        while moving.reach(&switched.bindings[0]).is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(moving.reach(&rest.bindings[0]), None);
        task.abort();
    }
}

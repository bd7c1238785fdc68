//! Whether this node can read what the bindings may have it serve: the grants of the region, tried rather than believed.
//!
//! For each place of each placement one read of a name that does not exist, which must be answered as absent, and one
//! listing of one folder, which tags and referrers need. What comes of it is logged, counted and shown by
//! `dataproxy check --reach`; nothing is refused because of it, since a node must serve what it can.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dataproxy_cache::{ObjectName, OriginError, OriginErrorKind};
use dataproxy_router_api::{AccountName, Location, RegistryName, Snapshot};
use futures_util::{StreamExt, stream};
use metrics::gauge;
use tokio::time::{Instant, sleep, timeout};

use crate::bindings::Bindings;
use crate::layout::Layout;
use crate::refusal::Refusal;
use crate::resolve::{Stores, readable};
use crate::store::Store;
use crate::store::guard::ABSENT;

pub mod moving;
mod table;

/// Places looked at at once.
const AT_ONCE: usize = 16;
/// Time for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two looks at new bindings.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time after which places that are not well are tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Time after which all places are.
const ALL_AFTER: Duration = Duration::from_secs(600);
/// What every registry writes below.
const ROOT: &str = "docker/registry/v2";

/// What a node found at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finding {
    /// It can be read, and content lies there.
    Reachable,
    /// It can be read, and nothing lies there: a new registry, or a wrong container or prefix.
    Empty,
    /// Objects can be read and not listed: pulls work, tags and referrers do not.
    Unlisted,
    /// The account refuses this node.
    Denied,
    /// The account has no such container.
    NoContainer,
    /// The account asks for less.
    Throttled,
    /// The account does not answer.
    Dark,
    /// The account answers with something else than storage does.
    Strange,
    /// The account is not in this node's configuration.
    NotConfigured,
    /// The account cannot have such a place.
    Unusable,
    /// An upstream registry, which is asked when a pull asks for it.
    Upstream,
}

impl Finding {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Reachable,
        Self::Empty,
        Self::Unlisted,
        Self::Denied,
        Self::NoContainer,
        Self::Throttled,
        Self::Dark,
        Self::Strange,
        Self::NotConfigured,
        Self::Unusable,
        Self::Upstream,
    ];

    /// The stable word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reachable => "reachable",
            Self::Empty => "empty",
            Self::Unlisted => "unlisted",
            Self::Denied => "denied",
            Self::NoContainer => "no_container",
            Self::Throttled => "throttled",
            Self::Dark => "dark",
            Self::Strange => "strange",
            Self::NotConfigured => "not_configured",
            Self::Unusable => "unusable",
            Self::Upstream => "upstream",
        }
    }

    /// Whether pulls can be served from such a place.
    pub fn serves(self) -> bool {
        matches!(self, Self::Reachable | Self::Empty | Self::Unlisted | Self::Throttled | Self::Upstream)
    }

    /// Whether nothing is to be set right.
    fn is_well(self) -> bool {
        matches!(self, Self::Reachable | Self::Empty | Self::Upstream)
    }

    /// What would be right, where something is not.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Reachable | Self::Upstream => "",
            Self::Empty => {
                "nothing to do for a new registry; else correct placement.container or placement.prefix"
            }
            Self::Unlisted => "allow this node's credential to list the container",
            Self::Denied => {
                "allow this node's credential to read the container, and its network in the account's firewall"
            }
            Self::NoContainer => "make the container, or correct placement.container",
            Self::Throttled => "raise the account's limits or move registries to another account",
            Self::Dark => "look at the account, and at the way from this node to it",
            Self::Strange => "look at who answers in the account's place: a proxy, another service",
            Self::NotConfigured => "add an [accounts] section of this name to the node's configuration",
            Self::Unusable => "correct the placement for this kind of account",
        }
    }
}

/// A place of a placement, and what was found there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What was found.
    pub finding: Finding,
    /// What was tried.
    pub tried: &'static str,
    /// What the account said, where it was not what it should have said.
    pub said: Option<Arc<str>>,
}

impl Look {
    fn new(finding: Finding, tried: &'static str, said: Option<Arc<str>>) -> Self {
        Self { finding, tried, said }
    }
}

/// What was found at every place of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    looks: HashMap<Location, Look>,
    /// The accounts that metrics have been shown of.
    shown: BTreeSet<AccountName>,
}

impl Reach {
    /// Looks at every place of `snapshot` that has not been found well before.
    pub async fn look(&mut self, snapshot: &Snapshot, stores: &Stores) {
        self.looks.retain(|_, look| look.finding.is_well());
        self.look_at_new(snapshot, stores).await;
    }

    /// Looks at every place of `snapshot` that has not been looked at before: bindings change far more often than places.
    pub async fn look_at_new(&mut self, snapshot: &Snapshot, stores: &Stores) {
        let mut places: HashSet<Location> =
            snapshot.bindings.iter().flat_map(|binding| binding.placement.locations()).collect();
        self.looks.retain(|place, _| places.contains(place));
        places.retain(|place| !self.looks.contains_key(place));
        let looks = stream::iter(places)
            .map(|place| async move {
                let look = look_at(&place, stores).await;
                (place, look)
            })
            .buffer_unordered(AT_ONCE);
        self.looks.extend(looks.collect::<Vec<_>>().await);
    }

    /// Looks at every place of `snapshot`, whatever was found there before.
    pub async fn look_at_all(&mut self, snapshot: &Snapshot, stores: &Stores) {
        self.looks.clear();
        self.look(snapshot, stores).await;
    }

    /// What was found at a place.
    pub fn at(&self, place: &Location) -> Option<&Look> {
        self.looks.get(place)
    }

    /// The registries that this node could serve from none of their places.
    pub fn unserved<'s>(&self, snapshot: &'s Snapshot) -> Vec<&'s RegistryName> {
        let serves = |place: Location| self.at(&place).is_some_and(|look| look.finding.serves());
        let unserved = snapshot.bindings.iter().filter(|binding| !binding.placement.locations().any(serves));
        unserved.map(|binding| &binding.registry).collect()
    }

    /// How many places of each account are like this.
    fn counts(&self) -> BTreeMap<(&AccountName, Finding), usize> {
        let mut counts = BTreeMap::new();
        for (place, look) in &self.looks {
            *counts.entry((&place.account, look.finding)).or_insert(0) += 1;
        }
        counts
    }

    fn show(&mut self, snapshot: &Snapshot) {
        self.shown.extend(self.looks.keys().map(|place| place.account.clone()));
        let counts = self.counts();
        // Those that no binding names any more as well, or they would be shown as they were for ever.
        for account in &self.shown {
            for finding in Finding::ALL {
                let count = counts.get(&(account, finding)).copied().unwrap_or(0);
                let labels = [("account", account.to_string()), ("finding", finding.as_str().to_owned())];
                gauge!("dataproxy_placements", &labels).set(count as f64);
            }
        }
        gauge!("dataproxy_registries_unserved").set(self.unserved(snapshot).len() as f64);
    }

    fn tell(&self, snapshot: &Snapshot) {
        for (place, Look { finding, tried, said }) in &self.looks {
            if !finding.is_well() {
                let (finding, remedy) = (finding.as_str(), finding.remedy());
                tracing::warn!(%place, finding, tried, said = said.as_deref(), remedy, "a placement cannot be read as it should");
            }
        }
        let (unserved, places) = (self.unserved(snapshot), self.looks.len());
        tracing::info!(places, unserved = unserved.len(), "looked at the placements of all bindings");
        for registry in unserved {
            tracing::warn!(%registry, "this node could not serve the registry: none of its places can be read");
        }
    }
}

/// Looks at the placements at once and at new ones as bindings name them, for as long as it is polled; at those that are
/// not well also once a minute, and at all of them every ten.
pub async fn follow(bindings: Arc<Bindings>, stores: Stores) {
    let mut reach = Reach::default();
    let mut seen = None;
    let (mut looked_at, mut all_at) = (Instant::now(), Instant::now());
    loop {
        let table = bindings.current();
        let point = table.snapshot().point();
        let is_new = seen != Some(point);
        let has_troubles = reach.looks.values().any(|look| !look.finding.is_well());
        let is_all = all_at.elapsed() >= ALL_AFTER;
        let is_again = has_troubles && looked_at.elapsed() >= AGAIN_AFTER;
        if is_new || is_all || is_again {
            let is_first = seen.replace(point).is_none();
            let before = reach.counts().into_iter().map(|((a, f), n)| (a.clone(), f, n)).collect::<Vec<_>>();
            if is_all {
                reach.look_at_all(table.snapshot(), &stores).await;
                all_at = Instant::now();
            } else if is_again {
                reach.look(table.snapshot(), &stores).await;
            } else {
                reach.look_at_new(table.snapshot(), &stores).await;
            }
            if is_first || is_all || is_again {
                looked_at = Instant::now();
            }
            reach.show(table.snapshot());
            let after = reach.counts().into_iter().map(|((a, f), n)| (a.clone(), f, n)).collect::<Vec<_>>();
            if is_first || before != after {
                reach.tell(table.snapshot());
            }
        }
        sleep(INTERVAL).await;
    }
}

async fn look_at(place: &Location, stores: &Stores) -> Look {
    let holdings = match readable(&place.account, &place.container, &place.prefix, stores) {
        Ok(holdings) => holdings,
        Err(Refusal::AccountUnreachable) => return Look::new(Finding::NotConfigured, "nothing", None),
        Err(refusal) => return Look::new(Finding::Unusable, "nothing", Some(refusal.to_string().into())),
    };
    match holdings.store() {
        Some(store) => look_in(&**store, place).await,
        None => Look::new(Finding::Upstream, "nothing", None),
    }
}

async fn look_in(store: &dyn Store, place: &Location) -> Look {
    let root = Layout::new(&place.container).below_prefix(&place.prefix).root();
    let absent = ObjectName::new(format!("{root}{ABSENT}"));
    let read = in_time(async { store.get(&absent, 0..1, None).await.map(drop) }).await;
    if let Err(error) = read
        && error.kind != OriginErrorKind::NotFound
    {
        return Look::new(finding(&error), "a read", Some(error.message));
    }
    let folder = ObjectName::new(format!("{root}{ROOT}"));
    match in_time(store.list(&folder, None, 1)).await {
        Ok(listing) if listing.folders.is_empty() => Look::new(Finding::Empty, "a read and a listing", None),
        Ok(_) => Look::new(Finding::Reachable, "a read and a listing", None),
        Err(error) if error.kind == OriginErrorKind::Denied && finding(&error) == Finding::Denied => {
            Look::new(Finding::Unlisted, "a listing", Some(error.message))
        }
        Err(error) => Look::new(finding(&error), "a listing", Some(error.message)),
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, OriginError>>) -> Result<T, OriginError> {
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
        let message = format!("no answer for {} s", PATIENCE.as_secs());
        Err(OriginError::new(OriginErrorKind::Timeout, message))
    })
}

fn finding(error: &OriginError) -> Finding {
    // The storage services' own codes, which are part of what they said.
    let no_container = ["ContainerNotFound", "NoSuchBucket"].iter().any(|code| error.message.contains(code));
    match error.kind {
        _ if no_container => Finding::NoContainer,
        OriginErrorKind::Denied => Finding::Denied,
        OriginErrorKind::Throttled(_) => Finding::Throttled,
        OriginErrorKind::Unavailable | OriginErrorKind::Timeout => Finding::Dark,
        OriginErrorKind::NotFound
        | OriginErrorKind::Changed
        | OriginErrorKind::RangeInvalid(_)
        | OriginErrorKind::Protocol => Finding::Strange,
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests;

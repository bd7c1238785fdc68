//! Links, from a repository to what it owns: asked for once for all who want to know, remembered for as long as
//! [`Freshness`] allows.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use dataproxy_cache::{Digest, OriginError, OriginErrorKind};
use dataproxy_router_api::Location;
use tokio::time::Instant;

use super::Freshness;
use crate::attempt::attempt;
use crate::holdings::{Claim, Found, Holdings, Place};
use crate::name::Repository;

/// Memory for remembered links, in bytes.
const MEMORY_BYTES: u64 = 16 << 20;
/// How long storage has for one link. A pull reads up to two, one after the other, within `pull::ANSWER_MAX`.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long it has if an older answer can be given instead. More than [`copies::PATIENCE`](crate::store::copies), so that
/// a copy is asked while its own account is silent.
const COVERED_PATIENCE: Duration = Duration::from_secs(2);
/// How long a link may go on holding no digest before what it said until then is forgotten.
const UNREADABLE_COVER: Duration = Duration::from_secs(2);

/// A link, wherever its registry is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LinkKey {
    pub(super) location: Location,
    pub(super) repository: Repository,
    pub(super) claim: Claim,
}

/// Without all of the location, which is long. Registries have containers or prefixes of their own, and often the same content.
impl Hash for LinkKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.location.container.hash(state);
        self.location.prefix.hash(state);
        self.repository.hash(state);
        self.claim.hash(state);
    }
}

impl LinkKey {
    fn weight(&self) -> u32 {
        let text = self.location.container.len() + self.repository.as_str().len();
        u32::try_from(text + size_of::<Self>() + size_of::<Entry>() + 128).unwrap_or(u32::MAX)
    }
}

/// What a link says.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// The digest; `None` if there is no link.
    pub(super) digest: Option<Digest>,
    /// Its age, if storage could not be asked for a newer one.
    pub(super) stale: Option<Duration>,
}

/// What storage has said last of a link that was there.
#[derive(Clone, Debug)]
struct Known {
    digest: Digest,
    at: Instant,
    /// Since when the link holds no digest.
    unreadable_since: Option<Instant>,
}

impl Known {
    fn unreadable_for(&self, now: Instant) -> Duration {
        self.unreadable_since.map_or(Duration::ZERO, |since| now.duration_since(since))
    }
}

#[derive(Clone, Debug)]
struct Entry {
    said: Result<Option<Digest>, OriginError>,
    /// Kept through failures, to cover them.
    known: Option<Known>,
    /// Whether `said` is what is known, in place of an answer of storage.
    covered: bool,
    /// When storage is asked again.
    ask_after: Instant,
}

impl Entry {
    fn covered(known: Known, ask_after: Instant) -> Self {
        Self { said: Ok(Some(known.digest.clone())), known: Some(known), covered: true, ask_after }
    }

    /// How old the answer is, where storage has failed to renew it.
    fn stale(&self) -> Option<Duration> {
        self.known.as_ref().filter(|_| self.covered).map(|known| known.at.elapsed())
    }

    /// Whether it may be given without asking storage.
    fn is_current(&self, cover: Duration) -> bool {
        Instant::now() < self.ask_after && self.stale().is_none_or(|age| age <= cover)
    }

    fn link(&self) -> Result<Link, OriginError> {
        Ok(Link { digest: self.said.clone()?, stale: self.stale() })
    }
}

#[derive(Debug)]
pub(super) struct Links {
    entries: moka::future::Cache<LinkKey, Entry>,
}

impl Links {
    pub(super) fn new() -> Self {
        let entries = moka::future::Cache::builder()
            .max_capacity(MEMORY_BYTES)
            .weigher(|key: &LinkKey, _: &Entry| key.weight())
            .support_invalidation_closures()
            .build();
        Self { entries }
    }

    /// Forgets every link that is meant; at once, however many there are.
    pub(super) fn forget(&self, is_meant: impl Fn(&LinkKey) -> bool + Send + Sync + 'static) {
        // It only fails without support for it, which the cache was made with.
        let _ = self.entries.invalidate_entries_if(move |key, _| is_meant(key));
    }

    /// What the link says, asked of storage at most once at a time. While storage does not answer, what it said
    /// before counts until it is older than `cover`. A caller that goes away leaves the asking to the next one that
    /// waits.
    pub(super) async fn read(
        &self,
        key: LinkKey,
        holdings: &dyn Holdings,
        cover: Duration,
        freshness: &Freshness,
    ) -> Result<Link, OriginError> {
        let known = self.entries.get(&key).await;
        if let Some(entry) = &known
            && entry.is_current(cover)
        {
            return entry.link();
        }
        // In a box: the state of a pull is moved a few times, and most pulls ask nobody.
        Box::pin(self.ask(key, known.and_then(|entry| entry.known), holdings, cover, freshness)).await
    }

    async fn ask(
        &self,
        key: LinkKey,
        known: Option<Known>,
        holdings: &dyn Holdings,
        cover: Duration,
        freshness: &Freshness,
    ) -> Result<Link, OriginError> {
        let ask = ask(holdings, &key, known, cover, freshness);
        let is_old = |entry: &Entry| !entry.is_current(cover);
        self.entries.entry_by_ref(&key).or_insert_with_if(ask, is_old).await.into_value().link()
    }
}

async fn ask(
    holdings: &dyn Holdings,
    key: &LinkKey,
    known: Option<Known>,
    cover: Duration,
    freshness: &Freshness,
) -> Entry {
    let LinkKey { location: Location { container, prefix, .. }, repository, claim } = key;
    let place = Place { container, prefix, repository };
    let ttl = if matches!(claim, Claim::Tag(_)) { freshness.tag_ttl } else { freshness.link_ttl };
    let negative_ttl = freshness.negative_ttl;
    let covers = |known: &Known| known.at.elapsed() <= cover;
    let patience = if known.as_ref().is_some_and(covers) { COVERED_PATIENCE } else { PATIENCE };
    let retry = |error: &OriginError| holdings.retry(error);
    let read = attempt(patience, retry, || holdings.find(place, claim)).await;
    let now = Instant::now();
    let after = |keep: Duration| now.checked_add(keep).unwrap_or(now);
    let entry = |said, known, keep| Entry { said, known, covered: false, ask_after: after(keep) };
    match read {
        Ok(Found::Digest(digest)) => {
            let known = Known { digest: digest.clone(), at: now, unreadable_since: None };
            entry(Ok(Some(digest)), Some(known), ttl)
        }
        Ok(Found::Absent) => entry(Ok(None), None, negative_ttl),
        Ok(Found::Unreadable) => match known {
            Some(known) if covers(&known) && known.unreadable_for(now) < UNREADABLE_COVER => {
                tracing::warn!(?claim, %repository, "a link holds no digest; what it said before is used");
                let since = known.unreadable_since.or(Some(now));
                Entry::covered(Known { unreadable_since: since, ..known }, now)
            }
            // Never remembered as an absence: it may be whole a moment later.
            _ => {
                tracing::warn!(?claim, %repository, "a link holds no digest and counts as absent");
                entry(Ok(None), None, Duration::ZERO)
            }
        },
        Err(error) => match known {
            Some(known) if covers(&known) && may_be_covered(error.kind) => {
                tracing::warn!(?claim, %repository, %error, "storage does not answer; what a link said before is used");
                Entry::covered(known, after(negative_ttl))
            }
            // Those who waited together fail together; whoever comes next asks again.
            known => {
                tracing::warn!(?claim, %repository, %error, "a link cannot be read");
                entry(Err(error), known, Duration::ZERO)
            }
        },
    }
}

fn may_be_covered(kind: OriginErrorKind) -> bool {
    kind.is_transient() || kind == OriginErrorKind::Changed
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dataproxy_cache::fakes::{Fault, Gate};
    use dataproxy_cache::{Algorithm, ObjectName};
    use tokio::time::{advance, sleep, timeout};

    use super::*;
    use crate::layout::{Laid, Layout};
    use crate::store::Store;
    use crate::store::copies::Copies;
    use crate::store::memory::MemoryStore;

    #[tokio::test(start_paused = true)]
    async fn a_copy_renews_a_known_tag_while_its_own_account_is_silent() {
        let place = |account: &str| Location {
            account: account.parse().expect("a name"),
            container: "c".to_owned(),
            prefix: "".parse().expect("a prefix"),
        };
        let (own, copy) = (MemoryStore::new(), MemoryStore::new());
        let key = LinkKey {
            location: place("one"),
            repository: "app".parse().expect("a name"),
            claim: Claim::Tag("v1".parse().expect("a tag")),
        };
        let tag = Layout::new("c").tag_link(&key.repository, &"v1".parse().expect("a tag"));
        let put = |store: &MemoryStore, tag: &ObjectName, content: &[u8]| {
            let digest = Digest::of(Algorithm::Sha256, content);
            store.put(tag, digest.to_string());
            digest
        };
        let (first, second) = (put(&own, &tag, b"first"), put(&copy, &tag, b"second"));
        let holders = [("one", &own), ("two", &copy)];
        let holders = holders.map(|(account, store)| (place(account), Arc::clone(store) as Arc<dyn Store>));
        let holdings = Laid::over(Arc::new(Copies::new(&place("one"), holders.into(), true)));
        let (links, freshness) = (Links::new(), Freshness::default());
        let read = async || {
            let link =
                links.read(key.clone(), &*holdings, freshness.stale_tag, &freshness).await.expect("a link");
            (link.digest, link.stale)
        };
        assert_eq!(read().await, (Some(first), None));
        advance(freshness.tag_ttl).await;
        own.origin().always(Fault::Mute);
        // The copy takes its time.
        let gate = Gate::new();
        copy.origin().always(Fault::HoldAnswer(gate.clone()));
        let opening = async {
            gate.arrived(1).await;
            sleep(Duration::from_millis(500)).await;
            gate.open();
        };
        let answered = async { tokio::join!(read(), opening).0 };
        let answer = timeout(PATIENCE, answered).await.expect("the copy is asked");
        assert_eq!(answer, (Some(second), None), "the copy's own word, and none that is old");
    }
}

//! Who changed what, and why: a chain of lines that is only ever added to, each in the commit that it tells of.
//!
//! Each line has the hash of the one before, so that a line which is taken out or changed afterwards shows.

use dataproxy_router_api::Revision;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::command::{Decision, Occasion};
use crate::control::ControlError;
use crate::migration::UnixMillis;
use crate::store::{Commit, Key, Store, StoreError};

/// Where the chain's end lies.
pub const HEAD: &str = "audit-head";
/// Folder of the lines, by day.
const LINES: &str = "audit/";
const DAY: u64 = 24 * 3600 * 1000;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number, from 1 on without gaps.
    pub number: u64,
    /// When.
    pub at: UnixMillis,
    /// Who.
    pub actor: String,
    /// Why, in the words of who asked.
    pub reason: String,
    /// What was done.
    pub done: String,
    /// The keys that were written.
    pub wrote: Vec<String>,
    /// The hash of the line before, as SHA-256 in hex; empty before the first.
    pub previous: String,
}

/// The end of the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Number of the last line.
    number: u64,
    /// When it was written.
    at: UnixMillis,
    /// Its hash.
    hash: String,
    /// When this was written.
    #[serde(skip)]
    version: Option<Revision>,
}

impl Head {
    /// The head as the store holds it. One that cannot be read begins a new chain, which shows by its first line.
    pub(crate) fn read(text: &[u8], version: Revision) -> Self {
        let head = serde_json::from_slice(text).unwrap_or_else(|error| {
            tracing::error!(%error, "the end of the audit cannot be read; a new chain begins");
            Self::default()
        });
        Self { version: Some(version), ..head }
    }
}

/// Adds the line of a decision to its commit.
pub(crate) fn add(
    commit: Commit,
    head: &Head,
    decision: &Decision,
    occasion: &Occasion,
) -> Result<Commit, ControlError> {
    let line = Line {
        number: head.number + 1,
        // Days follow one another, whatever clocks say.
        at: occasion.now.max(head.at),
        actor: occasion.actor.clone(),
        reason: occasion.reason.clone(),
        done: decision.done.clone(),
        wrote: commit.writes.iter().map(|write| write.key().to_string()).collect(),
        previous: head.hash.clone(),
    };
    let text = serde_json::to_vec(&line)?;
    let next = Head { number: line.number, at: line.at, hash: hash(&text), version: None };
    let commit = match head.version {
        Some(version) => commit.if_version(Key::new(HEAD), version),
        None => commit.if_absent(Key::new(HEAD)),
    };
    Ok(commit.put(Key::new(key(&line)), text).put(Key::new(HEAD), serde_json::to_vec(&next)?))
}

fn key(line: &Line) -> String {
    format!("{}{:012}", day(line.at), line.number)
}

/// The folder of a day's lines.
fn day(at: UnixMillis) -> String {
    format!("{LINES}{:06}/", at.0 / DAY)
}

fn hash(text: &[u8]) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the lines of a day say, and what is wrong with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    /// The lines, oldest first.
    pub lines: Vec<Line>,
    /// Where the chain is broken; empty as long as nobody has tampered with it.
    pub broken: Vec<String>,
}

/// The lines of the day of `at`.
///
/// # Errors
/// [`StoreError`]
pub async fn of_day(store: &dyn Store, at: UnixMillis) -> Result<Excerpt, StoreError> {
    read_day(store, at, u64::MAX).await.map(|(excerpt, _)| excerpt)
}

/// The lines of the day of `at` up to a number, with number and hash of the last.
async fn read_day(
    store: &dyn Store,
    at: UnixMillis,
    up_to: u64,
) -> Result<(Excerpt, Option<(u64, String)>), StoreError> {
    let listing = store.list(&day(at)).await?;
    let mut excerpt = Excerpt { lines: Vec::new(), broken: Vec::new() };
    let mut before: Option<(u64, String)> = None;
    for entry in listing.entries {
        let line: Line = match serde_json::from_slice(&entry.value) {
            Ok(line) => line,
            Err(error) => {
                excerpt.broken.push(format!("{} cannot be read: {error}", entry.key));
                before = None;
                continue;
            }
        };
        if line.number > up_to {
            break;
        }
        match &before {
            Some((number, _)) if line.number != number + 1 => {
                excerpt.broken.push(format!("between lines {number} and {} some are missing", line.number));
            }
            Some((number, hash)) if line.previous != *hash => {
                excerpt
                    .broken
                    .push(format!("line {number} is not what it was when line {} was written", line.number));
            }
            _ => {}
        }
        before = Some((line.number, hash(&entry.value)));
        excerpt.lines.push(line);
    }
    Ok((excerpt, before))
}

/// Days without a line that are passed over before the lines that are missing are taken for gone.
const EMPTY_DAYS: u64 = 400;

/// What a look at the whole chain has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Lines that are there.
    pub lines: u64,
    /// Days that have any.
    pub days: u64,
    /// Where the chain is broken, the newest first; empty as long as nobody has tampered with it.
    pub broken: Vec<String>,
}

/// Follows the chain from its end to its first line, a day at a time, over the borders of days: every line is there,
/// and is what it was when the next one was written. Lines that are written meanwhile are left to the next look.
///
/// # Errors
/// [`StoreError`]
pub async fn verify(store: &dyn Store) -> Result<Verdict, StoreError> {
    let head = store.get(&Key::new(HEAD)).await?;
    let head = head.map(|entry| Head::read(&entry.value, entry.version)).unwrap_or_default();
    let mut verdict = Verdict { lines: 0, days: 0, broken: Vec::new() };
    // What the line before has to be.
    let (mut number, mut expected, mut day, mut empty) = (head.number, head.hash, head.at.0 / DAY, 0);
    while number > 0 && empty < EMPTY_DAYS {
        let (excerpt, last) = read_day(store, UnixMillis(day * DAY), number).await?;
        verdict.broken.extend(excerpt.broken.into_iter().rev());
        if let Some((last, hash)) = last {
            if last < number {
                verdict.broken.push(format!("lines {} to {number} are missing", last + 1));
            } else if hash != expected {
                verdict.broken.push(format!("line {number} is not what it was when the next was written"));
            }
        }
        match excerpt.lines.first() {
            Some(first) => {
                verdict.lines += excerpt.lines.len() as u64;
                (verdict.days, empty) = (verdict.days + 1, 0);
                (number, expected) = (first.number - 1, first.previous.clone());
            }
            None => empty += 1,
        }
        let Some(before) = day.checked_sub(1) else { break };
        day = before;
    }
    if number > 0 {
        verdict.broken.push(format!("lines 1 to {number} are missing"));
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    /// A chain over three days with a week between the last two.
    async fn chain() -> std::sync::Arc<MemoryStore> {
        let store = MemoryStore::new();
        for (number, day) in [0, 0, 1, 1, 8].into_iter().enumerate() {
            let head = store.get(&Key::new(HEAD)).await.unwrap();
            let head = head.map(|entry| Head::read(&entry.value, entry.version)).unwrap_or_default();
            let now = UnixMillis((20_000 + day) * DAY + 5);
            let occasion = Occasion { actor: "ada".into(), reason: String::new(), now };
            let decision = Decision { done: format!("change {number}"), ..Decision::default() };
            let commit = add(Commit::new(), &head, &decision, &occasion).unwrap();
            store.commit(&commit).await.unwrap();
        }
        store
    }

    async fn broken(store: &MemoryStore) -> Vec<String> {
        verify(store).await.unwrap().broken
    }

    #[tokio::test]
    async fn the_chain_is_whole_over_the_borders_of_days() {
        let store = chain().await;
        let whole = Verdict { lines: 5, days: 3, broken: Vec::new() };
        assert_eq!(verify(store.as_ref()).await.unwrap(), whole);
        assert_eq!(
            verify(MemoryStore::new().as_ref()).await.unwrap(),
            Verdict { lines: 0, days: 0, broken: Vec::new() }
        );
    }

    #[tokio::test]
    async fn a_line_that_was_changed_or_taken_out_shows_wherever_it_is() {
        for (number, day, words) in [
            (1, 0, "lines 1 to 1 are missing"),
            (2, 0, "lines 2 to 2 are missing"),
            (3, 1, "lines 3 to 3 are missing"),
            (5, 8, "lines 5 to 5 are missing"),
        ] {
            let store = chain().await;
            let key = Key::new(format!("{LINES}{:06}/{number:012}", 20_000 + day));
            store.commit(&Commit::new().delete(key)).await.unwrap();
            let found = broken(&store).await;
            assert!(found.iter().any(|broken| broken.contains(words)), "{number}: {found:?}");
        }
        for (number, day) in [(1, 0), (2, 0), (4, 1), (5, 8)] {
            let store = chain().await;
            let key = Key::new(format!("{LINES}{:06}/{number:012}", 20_000 + day));
            let entry = store.get(&key).await.unwrap().unwrap();
            let text = String::from_utf8(entry.value.to_vec()).unwrap().replace("ada", "bob");
            store.commit(&Commit::new().put(key, text)).await.unwrap();
            let found = broken(&store).await;
            assert!(
                found.iter().any(|broken| broken.contains(&format!("line {number} is not"))),
                "{found:?}"
            );
        }
        // All of a day, and all there ever was.
        let store = chain().await;
        for number in 1..=5 {
            for day in [0, 1, 8] {
                let key = Key::new(format!("{LINES}{:06}/{number:012}", 20_000 + day));
                store.commit(&Commit::new().delete(key)).await.unwrap();
            }
        }
        assert_eq!(broken(&store).await, ["lines 1 to 5 are missing"]);
    }
}

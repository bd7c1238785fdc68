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
    Ok(excerpt)
}

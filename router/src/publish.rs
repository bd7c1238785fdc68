//! What nodes and front doors are told: the whole once, then every change, each made into text once for all of them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use dataproxy_router_api::{Change, History, Point, Revision, Snapshot};
use tokio::sync::watch;

/// Changes that are kept for who was away for a moment.
const KEPT: usize = 4096;
/// Their size at most, in bytes.
const KEPT_BYTES: usize = 16 << 20;

/// The changes of late, as text.
#[derive(Debug)]
pub struct Publisher {
    told: Mutex<Told>,
    revision: watch::Sender<Revision>,
}

#[derive(Debug)]
struct Told {
    /// The history that all revisions are of.
    history: History,
    /// The revision that the first change is of.
    base: Revision,
    changes: VecDeque<(Revision, Bytes)>,
    bytes: usize,
    /// The whole at some revision, so that many who ask at once get one text.
    whole: Option<(Point, Bytes)>,
}

/// What somebody who has seen a revision is to be told next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// These changes, in order, each an event of a stream, up to this revision.
    Changes(Vec<Bytes>, Revision),
    /// Nothing is new.
    Nothing,
    /// Everything: what was seen is too old, or of another history.
    Whole,
}

impl Publisher {
    /// Begins at a point.
    pub fn new(point: Point) -> Self {
        Self { told: Mutex::new(Told::at(point)), revision: watch::Sender::new(point.revision) }
    }

    /// Changes when there is something new to tell.
    pub fn news(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a change.
    pub(crate) fn tell(&self, change: &Change) {
        let text = match event("change", change.revision, change) {
            Ok(text) => text,
            Err(error) => {
                // No type of a change can fail to be text. If it did, everybody would be told the whole.
                tracing::error!(%error, "a change cannot be told");
                return self.start_over(change.point());
            }
        };
        {
            let mut told = self.told();
            told.bytes += text.len();
            told.changes.push_back((change.revision, text));
            while told.changes.len() > KEPT || told.bytes > KEPT_BYTES {
                let Some((revision, text)) = told.changes.pop_front() else { break };
                (told.base, told.bytes) = (revision, told.bytes - text.len());
            }
        }
        self.revision.send_replace(change.revision);
    }

    /// Forgets the changes: everybody is told the whole.
    pub(crate) fn start_over(&self, point: Point) {
        *self.told() = Told::at(point);
        self.revision.send_replace(point.revision);
    }

    /// What comes after `seen`.
    pub fn after(&self, seen: Point) -> Next {
        let told = self.told();
        if seen.history != told.history {
            return Next::Whole;
        }
        let seen = seen.revision;
        let newest = told.changes.back().map_or(told.base, |(revision, _)| *revision);
        if seen == newest {
            return Next::Nothing;
        }
        // A change leads on from one revision only: a revision that was none of ours has none.
        let from = if seen == told.base {
            0
        } else {
            match told.changes.binary_search_by_key(&seen, |(revision, _)| *revision) {
                Ok(at) => at + 1,
                Err(_) => return Next::Whole,
            }
        };
        Next::Changes(told.changes.range(from..).map(|(_, text)| text.clone()).collect(), newest)
    }

    /// The whole as an event, made by `snapshot` unless somebody has just asked for it.
    ///
    /// # Errors
    /// The reason why it has no text, which no snapshot has.
    pub fn whole(&self, snapshot: impl FnOnce() -> Snapshot) -> Result<(Point, Bytes), serde_json::Error> {
        let newest = *self.revision.borrow();
        if let Some((point, text)) = &self.told().whole
            && point.revision == newest
        {
            return Ok((*point, text.clone()));
        }
        let snapshot = snapshot();
        let text = event("snapshot", snapshot.revision, &snapshot)?;
        self.told().whole = Some((snapshot.point(), text.clone()));
        Ok((snapshot.point(), text))
    }
}

impl Told {
    fn at(Point { history, revision }: Point) -> Self {
        Self { history, base: revision, changes: VecDeque::new(), bytes: 0, whole: None }
    }
}

/// One event of a stream of server-sent events (WHATWG HTML, 9.2). JSON has no line ends of its own.
fn event(name: &str, revision: Revision, data: &impl serde::Serialize) -> Result<Bytes, serde_json::Error> {
    let json = serde_json::to_string(data)?;
    Ok(Bytes::from(format!("event: {name}\nid: {revision}\ndata: {json}\n\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(revision: u64) -> Point {
        Point::first(Revision(revision))
    }

    fn change(base: u64, revision: u64) -> Change {
        let snapshot =
            |revision| Snapshot { revision: Revision(revision), ..Snapshot::empty("local".parse().unwrap()) };
        Change::between(&snapshot(base), &snapshot(revision))
    }

    #[test]
    fn who_has_seen_a_revision_is_told_what_came_after_it_and_who_has_seen_another_is_told_all() {
        let publisher = Publisher::new(at(5));
        assert_eq!(publisher.after(at(5)), Next::Nothing);
        for (base, revision) in [(5, 7), (7, 8), (8, 12)] {
            publisher.tell(&change(base, revision));
        }
        let count = |seen| match publisher.after(at(seen)) {
            Next::Changes(changes, Revision(12)) => Some(changes.len()),
            Next::Nothing => Some(0),
            _ => None,
        };
        assert_eq!([5, 7, 8, 12].map(count), [Some(3), Some(2), Some(1), Some(0)]);
        assert_eq!([0, 4, 6, 11, 13].map(count), [None; 5]);
        publisher.start_over(at(20));
        assert_eq!(publisher.after(at(12)), Next::Whole);
        let restored = Point { history: History(7), revision: Revision(20) };
        assert_eq!((publisher.after(at(20)), publisher.after(restored)), (Next::Nothing, Next::Whole));
    }

    #[test]
    fn what_is_kept_for_who_was_away_is_bounded() {
        let publisher = Publisher::new(at(0));
        for revision in 0..(KEPT as u64 + 10) {
            publisher.tell(&change(revision, revision + 1));
        }
        assert_eq!(publisher.after(at(9)), Next::Whole);
        assert!(matches!(publisher.after(at(10)), Next::Changes(changes, _) if changes.len() == KEPT));
    }

    #[test]
    fn many_who_ask_for_the_whole_at_once_get_one_text() {
        let publisher = Publisher::new(at(3));
        let snapshot = || Snapshot { revision: Revision(3), ..Snapshot::empty("local".parse().unwrap()) };
        let (revision, first) = publisher.whole(snapshot).unwrap();
        let (_, second) = publisher.whole(|| unreachable!("it is at hand")).unwrap();
        assert_eq!((revision, first.as_ptr()), (at(3), second.as_ptr()));
        assert!(first.starts_with(b"event: snapshot\nid: 3\ndata: {") && first.ends_with(b"}\n\n"));
        publisher.tell(&change(3, 4));
        let later = || Snapshot { revision: Revision(4), ..Snapshot::empty("local".parse().unwrap()) };
        assert_eq!(publisher.whole(later).unwrap().0, at(4));
    }
}

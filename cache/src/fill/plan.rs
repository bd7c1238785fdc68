//! What a fill fetches next: plain functions of what its readers want and of what is there.
//!
//! In order of need: a block that a reader waits for, then what lies just ahead of a reader, then the rest of a blob
//! that is to become whole.

use std::collections::BTreeMap;
use std::ops::Range;
use std::task::Waker;

use crate::block::Blocks;

/// What one reader wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Its bytes.
    pub(crate) range: Range<u64>,
    /// How likely it is to read them all.
    pub(crate) reach: Reach,
    /// Whether another cache waits for them: see [`next_owed_run`].
    pub(crate) owed: bool,
    /// Whether it is served the last block only once the digest agrees.
    pub(crate) verified: bool,
}

impl Demand {
    /// Of a blob of `size` bytes, none.
    pub(crate) fn nothing(size: u64) -> Self {
        Self { range: size..size, reach: Reach::Bounded, owed: false, verified: false }
    }
}

/// How far to trust that a reader reads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To the end of the blob: fetch it all.
    Whole,
    /// To the end of its range: fetch that.
    Bounded,
    /// Perhaps not: containerd asks for `N-`, reads one chunk and hangs up. Fetch one range ahead, and more as it
    /// reads more.
    Open,
}

/// A reader of a fill.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) demand: Demand,
    /// The next byte it takes.
    pub(crate) position: u64,
    /// Blocks before this one were fetched ahead for it. Those let go since are fetched again only if it waits.
    ahead: u32,
    pub(crate) wait: Option<Wait>,
    pub(crate) waker: Option<Waker>,
}

/// What a reader waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The bytes at its position.
    Bytes,
    /// The verdict on the digest.
    Verdict,
}

/// Bounds of planning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) blocks: Blocks,
    /// Bytes of one ranged read.
    pub(crate) fetch_bytes: u64,
    /// How far to fetch ahead of a reader where nothing keeps the blocks; `None` where the disk does.
    pub(crate) ahead_bytes: Option<u64>,
}

/// A run of blocks to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) blocks: Range<u32>,
    pub(crate) need: Need,
    /// Blocks that its reader is about to take: to let one of these go for it would gain nothing.
    pub(crate) spare: Range<u32>,
}

/// How much a run is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A reader waits for it.
    Now,
    /// A reader will come to it.
    Soon,
    /// The blob is to become whole.
    Rest,
}

impl Reader {
    pub(crate) fn new(demand: Demand) -> Self {
        let position = demand.range.start;
        Self { demand, position, ahead: 0, wait: None, waker: None }
    }

    /// Notes bytes that it took.
    pub(crate) fn advance(&mut self, length: u64) {
        self.position += length;
        self.wait = None;
    }

    pub(crate) fn is_done(&self) -> bool {
        self.position >= self.demand.range.end
    }

    /// The blocks that are worth fetching for it now.
    fn wanted(&self, bounds: &Bounds) -> Range<u32> {
        let end = self.demand.range.end;
        let reach = match self.demand.reach {
            Reach::Whole | Reach::Bounded => u64::MAX,
            Reach::Open => bounds.fetch_bytes.max(self.position - self.demand.range.start),
        };
        let reach = reach.min(bounds.ahead_bytes.unwrap_or(u64::MAX));
        bounds.blocks.touching(&(self.position..end.min(self.position.saturating_add(reach))))
    }

    /// Whether it waits for bytes of this block.
    pub(crate) fn waits_at(&self, block: u32, blocks: Blocks) -> bool {
        self.wait == Some(Wait::Bytes) && !self.is_done() && blocks.of(self.position) == block
    }

    /// Whether it has yet to take any byte of this block.
    pub(crate) fn will_take(&self, block: u32, blocks: Blocks) -> bool {
        blocks.touching(&(self.position..self.demand.range.end)).contains(&block)
    }
}

/// The next run of blocks to fetch, at most one ranged read long. `rest` is what to fetch when no reader is in need,
/// or before what lies ahead of readers if one of them waits for the verdict on it.
pub(crate) fn next_run(
    readers: &mut BTreeMap<u64, Reader>,
    bounds: &Bounds,
    rest: Range<u32>,
    present: impl Fn(u32) -> bool,
) -> Option<Run> {
    let run = |start: u32, limit: u32| run_from(start, limit, bounds, &present);
    for reader in readers.values().filter(|reader| reader.wait == Some(Wait::Bytes) && !reader.is_done()) {
        let block = bounds.blocks.of(reader.position);
        if !present(block) {
            let wanted = reader.wanted(bounds);
            return Some(Run { blocks: run(block, wanted.end), need: Need::Now, spare: wanted });
        }
    }
    let verdict = readers.values().any(|reader| reader.wait == Some(Wait::Verdict));
    let first_of_rest = |need| {
        let start = rest.clone().find(|block| !present(*block))?;
        Some(Run { blocks: run(start, rest.end), need, spare: 0..0 })
    };
    if verdict && let Some(run) = first_of_rest(Need::Now) {
        return Some(run);
    }
    let mut nearest: Option<(u32, Run)> = None;
    for reader in readers.values_mut().filter(|reader| !reader.is_done()) {
        let wanted = reader.wanted(bounds);
        reader.ahead = reader.ahead.max(wanted.start);
        while reader.ahead < wanted.end && present(reader.ahead) {
            reader.ahead += 1;
        }
        let distance = reader.ahead - wanted.start;
        if reader.ahead < wanted.end && nearest.as_ref().is_none_or(|(best, _)| distance < *best) {
            let blocks = run(reader.ahead, wanted.end);
            nearest = Some((distance, Run { blocks, need: Need::Soon, spare: wanted }));
        }
    }
    if let Some((_, run)) = nearest {
        return Some(run);
    }
    first_of_rest(Need::Rest)
}

/// The next run that another cache waits for. Ordinary reads may all wait for other caches, one of which may wait for this
/// run: so it is fetched beside them.
pub(crate) fn next_owed_run(
    readers: &BTreeMap<u64, Reader>,
    bounds: &Bounds,
    present: impl Fn(u32) -> bool,
) -> Option<Run> {
    readers.values().filter(|reader| reader.demand.owed && !reader.is_done()).find_map(|reader| {
        let wanted = reader.wanted(bounds);
        let start = wanted.clone().find(|block| !present(*block))?;
        let blocks = run_from(start, wanted.end, bounds, &present);
        Some(Run { blocks, need: Need::Now, spare: wanted })
    })
}

/// What is missing from `start` on, before `limit`, at most one ranged read.
fn run_from(start: u32, limit: u32, bounds: &Bounds, present: &impl Fn(u32) -> bool) -> Range<u32> {
    let most = (bounds.fetch_bytes / bounds.blocks.block_bytes()).max(1) as u32;
    let limit = limit.min(start.saturating_add(most));
    start..(start + 1..limit).find(|block| present(*block)).unwrap_or(limit.max(start + 1))
}

/// Whether any reader still wants something of a run.
pub(crate) fn is_wanted(readers: &BTreeMap<u64, Reader>, bounds: &Bounds, run: &Range<u32>) -> bool {
    readers.values().filter(|reader| !reader.is_done()).any(|reader| {
        let wanted = reader.wanted(bounds);
        wanted.start < run.end && run.start < wanted.end
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const BLOCK: u64 = 4096;

    fn bounds(blocks: u64) -> Bounds {
        Bounds {
            blocks: Blocks::new(blocks * BLOCK, BLOCK).expect("few"),
            fetch_bytes: 4 * BLOCK,
            ahead_bytes: None,
        }
    }

    fn reader(range: Range<u64>, reach: Reach) -> Reader {
        Reader::new(Demand {
            range: range.start * BLOCK..range.end * BLOCK,
            reach,
            owed: false,
            verified: false,
        })
    }

    /// Fetches everything that is planned, without anybody reading, and gives the runs.
    fn all(readers: &mut BTreeMap<u64, Reader>, bounds: &Bounds, rest: Range<u32>) -> Vec<Range<u32>> {
        let mut present = BTreeSet::new();
        let mut runs = Vec::new();
        while let Some(run) = next_run(readers, bounds, rest.clone(), |block| present.contains(&block)) {
            present.extend(run.blocks.clone());
            runs.push(run.blocks);
        }
        runs
    }

    #[test]
    fn a_whole_read_is_fetched_in_order_in_runs() {
        let mut readers = BTreeMap::from([(0, reader(0..10, Reach::Whole))]);
        assert_eq!(all(&mut readers, &bounds(10), 0..0), [0..4, 4..8, 8..10]);
    }

    #[test]
    fn a_closed_range_fetches_only_the_blocks_it_touches() {
        let range = 3 * BLOCK + 5..5 * BLOCK + 1;
        let demand = Demand { range, reach: Reach::Bounded, owed: false, verified: false };
        let mut readers = BTreeMap::from([(0, Reader::new(demand))]);
        assert_eq!(all(&mut readers, &bounds(100), 0..0), std::slice::from_ref(&(3..6)));
    }

    #[test]
    fn an_open_range_is_fetched_ahead_as_far_as_it_was_read() {
        let mut readers = BTreeMap::from([(0, reader(10..100, Reach::Open))]);
        assert_eq!(all(&mut readers, &bounds(100), 0..0), std::slice::from_ref(&(10..14)));
        readers.get_mut(&0).expect("there").position = 30 * BLOCK;
        let ahead: u32 = all(&mut readers, &bounds(100), 0..0).iter().map(|run| run.end - run.start).sum();
        assert_eq!(ahead, 20);
    }

    #[test]
    fn who_waits_comes_first_then_the_nearest_then_the_rest() {
        let bounds = bounds(100);
        let mut readers =
            BTreeMap::from([(0, reader(0..100, Reach::Whole)), (1, reader(50..60, Reach::Bounded))]);
        readers.get_mut(&1).expect("there").wait = Some(Wait::Bytes);
        let next = |readers: &mut _, rest, present: fn(u32) -> bool| {
            next_run(readers, &bounds, rest, present).map(|run| (run.blocks, run.need))
        };
        assert_eq!(next(&mut readers, 0..0, |_| false), Some((50..54, Need::Now)));
        assert_eq!(next(&mut readers, 0..0, |block| (50..54).contains(&block)), Some((0..4, Need::Soon)));
        readers.clear();
        assert_eq!(next(&mut readers, 0..100, |block| block < 97), Some((97..100, Need::Rest)));
        assert_eq!(next_run(&mut readers, &bounds, 0..100, |_| true), None);
    }

    #[test]
    fn what_was_fetched_ahead_and_let_go_is_fetched_again_only_for_who_waits() {
        let bounds = Bounds { ahead_bytes: Some(8 * BLOCK), ..bounds(100) };
        let mut readers = BTreeMap::from([(0, reader(0..100, Reach::Whole))]);
        assert_eq!(all(&mut readers, &bounds, 0..0), [0..4, 4..8]);
        assert_eq!(next_run(&mut readers, &bounds, 0..0, |_| false), None);
        readers.get_mut(&0).expect("there").wait = Some(Wait::Bytes);
        let run = next_run(&mut readers, &bounds, 0..0, |_| false).expect("it waits");
        assert_eq!((run.blocks, run.need, run.spare), (0..4, Need::Now, 0..8));
    }

    #[test]
    fn a_run_is_wanted_while_a_reader_will_come_to_it() {
        let bounds = bounds(100);
        let mut readers = BTreeMap::from([(0, reader(10..100, Reach::Open))]);
        assert!(is_wanted(&readers, &bounds, &(8..11)) && !is_wanted(&readers, &bounds, &(14..18)));
        readers.clear();
        assert!(!is_wanted(&readers, &bounds, &(8..11)));
    }
}

//! A node's bins in memory: enough for the hot-node series, and no more.

use std::collections::VecDeque;

use dataproxy_router_api::NodeBin;

/// One bin, of all processes of the node that had a part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Row {
    /// CPU time, in seconds.
    pub busy: f32,
    /// CPU time that the cores had, in seconds.
    pub capacity: f32,
    /// The part of the bin that was measured, in seconds.
    pub observed: f32,
    /// The part of it in rotation, in seconds.
    pub in_rotation: f32,
    /// Whether it is not to be believed.
    pub suspect: bool,
}

impl Row {
    /// The busy part, 0 to 1 where it is to be believed.
    pub fn ratio(&self) -> f32 {
        if self.capacity > 0.0 { self.busy / self.capacity } else { 0.0 }
    }
}

/// The bins of a node, one after the other; what was not told is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Length of a bin, in seconds.
    pub bin_seconds: u32,
    /// Number of the first.
    pub first: u64,
    rows: VecDeque<Option<Row>>,
}

impl Rows {
    /// The bin of this number.
    pub fn get(&self, number: u64) -> Option<Row> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.rows.get(at).copied().flatten()
    }

    /// Numbers from the first bin to behind the last.
    pub fn numbers(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.rows.len() as u64
    }

    /// Adds a bin, or a part of one that is there, and keeps `most`. Bins of another length begin anew.
    pub(super) fn add(&mut self, bin: &NodeBin, most: u64) {
        if self.bin_seconds != bin.bin_seconds || self.rows.is_empty() {
            *self = Self { bin_seconds: bin.bin_seconds, first: bin.number, rows: VecDeque::new() };
        }
        let end = self.numbers().end;
        if bin.number + most <= end {
            return;
        }
        if bin.number < self.first {
            for _ in bin.number..self.first {
                self.rows.push_front(None);
            }
            self.first = bin.number;
        } else if bin.number >= end + most {
            // Nothing of what is held is within what is kept.
            *self = Self { bin_seconds: bin.bin_seconds, first: bin.number, rows: VecDeque::new() };
        }
        while self.numbers().end <= bin.number {
            self.rows.push_back(None);
        }
        while self.rows.len() as u64 > most {
            self.rows.pop_front();
            self.first += 1;
        }
        let at = usize::try_from(bin.number - self.first).unwrap_or(usize::MAX);
        let Some(row) = self.rows.get_mut(at) else { return };
        let had = row.unwrap_or_default();
        let observed = had.observed + bin.observed_seconds as f32;
        *row = Some(Row {
            busy: had.busy + bin.busy_seconds as f32,
            capacity: had.capacity + (bin.cores * bin.observed_seconds) as f32,
            observed,
            in_rotation: had.in_rotation + bin.in_rotation_seconds as f32,
            // Two processes that measured the same time tell of a clock that was set back.
            suspect: had.suspect || !bin.suspect.is_empty() || observed > bin.bin_seconds as f32 + 1.0,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bin(number: u64, busy_seconds: f64, observed_seconds: f64) -> NodeBin {
        NodeBin {
            sequence: 1,
            number,
            bin_seconds: 60,
            busy_seconds,
            steal_seconds: 0.0,
            cores: 2.0,
            observed_seconds,
            in_rotation_seconds: observed_seconds,
            scope: "host".into(),
            suspect: Vec::new(),
            registries: Vec::new(),
            other: Default::default(),
        }
    }

    #[test]
    fn bins_that_come_late_find_their_place_and_old_ones_go() {
        let mut rows = Rows::default();
        for number in [100, 103, 98, 101] {
            rows.add(&bin(number, number as f64 / 10.0, 60.0), 10);
        }
        assert_eq!(rows.numbers(), 98..104);
        assert_eq!(rows.get(98).map(|row| row.busy), Some(9.8));
        assert_eq!((rows.get(99), rows.get(102), rows.get(104), rows.get(7)), (None, None, None, None));
        rows.add(&bin(109, 1.0, 60.0), 10);
        assert_eq!(rows.numbers(), 100..110);
        rows.add(&bin(99, 1.0, 60.0), 10);
        assert_eq!(rows.numbers(), 100..110, "what is past is not brought back");
        rows.add(&bin(1_000_000_000, 1.0, 60.0), 10);
        assert_eq!(rows.numbers(), 1_000_000_000..1_000_000_001, "a leap fills no gap bin by bin");
    }

    #[test]
    fn two_processes_share_a_bin_and_the_same_time_measured_twice_is_suspect() {
        let mut rows = Rows::default();
        rows.add(&bin(5, 10.0, 20.0), 10);
        rows.add(&bin(5, 30.0, 35.0), 10);
        let row = rows.get(5).unwrap();
        assert!((row.ratio() - 40.0 / 110.0).abs() < 1e-6 && row.observed == 55.0 && !row.suspect);
        rows.add(&bin(5, 1.0, 20.0), 10);
        assert!(rows.get(5).unwrap().suspect);
        let mut shorter = bin(5, 1.0, 2.0);
        shorter.bin_seconds = 2;
        rows.add(&shorter, 10);
        assert_eq!((rows.bin_seconds, rows.get(5).unwrap().busy), (2, 1.0));
    }
}

//! Planners to compare with: what people do by hand, and what is simple to write.
//!
//! All see the same fleet. None moves what is pinned or just moved, or to a stamp that takes nothing; apart from that
//! each believes what it believes.

pub(crate) mod board;
mod greedy;
mod whole;

use dataproxy_planner::Fleet;
use serde::Serialize;

use crate::region::{Move, Region};
use board::Board;

/// When a stamp is hot, where a planner wants it, and where a destination has to stay; hot-node P95 in percent.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    /// From here on a stamp is hot.
    pub hot: f64,
    /// A source is relieved at this or below.
    pub goal: f64,
    /// No destination may go above.
    pub destination: f64,
}

/// A planner to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// Leaves everything as it is.
    Nothing,
    /// Any registry that may move to any stamp that still seems to have room, until the source seems relieved.
    Random,
    /// The registry with the most traffic first, to the stamp that is idlest on average and seems to have room.
    LargestFirst,
    /// The registry with the most CPU first, to the stamp that is idlest on average. It does not look further.
    LeastLoaded,
    /// Subtracts and adds percentiles.
    AddPercentiles,
    /// Scales percentiles by shares of CPU.
    ScaleByShare,
    /// As the article does it: the tenant with the most load, all of it, to a stamp of its own or the coolest there is.
    Manual,
    /// In the manner of Cruise Control: averages of all stamps within a tenth of their mean, hot or not.
    Balancer,
}

impl Baseline {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Nothing,
        Self::Random,
        Self::LargestFirst,
        Self::LeastLoaded,
        Self::AddPercentiles,
        Self::ScaleByShare,
        Self::Manual,
        Self::Balancer,
    ];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Random => "random",
            Self::LargestFirst => "largest-first",
            Self::LeastLoaded => "least-loaded",
            Self::AddPercentiles => "add-percentiles",
            Self::ScaleByShare => "scale-by-share",
            Self::Manual => "manual",
            Self::Balancer => "balancer",
        }
    }

    /// What it would move, by the region's numbers. The seed is for those who draw.
    pub fn plan(self, region: &Region, fleet: &Fleet, aim: Aim, seed: u64) -> Vec<Move> {
        let board = Board::new(fleet);
        let moves = match self {
            Self::Nothing => Vec::new(),
            Self::Balancer => whole::balance(&board, aim),
            _ => match board.hottest().filter(|&stamp| board.p95(stamp) >= aim.hot) {
                None => Vec::new(),
                Some(from) => match self {
                    Self::Random => greedy::random(&board, from, aim, seed),
                    Self::LargestFirst => greedy::largest_first(&board, from, aim),
                    Self::LeastLoaded => greedy::least_loaded(&board, from, aim),
                    Self::AddPercentiles => greedy::add_percentiles(&board, from, aim),
                    Self::ScaleByShare => greedy::scale_by_share(&board, from, aim),
                    _ => whole::manual(&board, from),
                },
            },
        };
        board.places(region, &moves)
    }
}

#[cfg(test)]
mod tests;

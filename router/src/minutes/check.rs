//! What is no measurement is refused; what may be one is marked.

use std::collections::HashSet;

use dataproxy_router_api::{NodeBin, Used};

use crate::migration::UnixMillis;

/// A node's clock may be off by so much, in milliseconds.
const SKEW_MS: u64 = 5_000;
/// Longest bin, in seconds.
const BIN_MAX: u32 = 3_600;
/// A ratio above 1 by so much is the rounding of counters.
const ROUNDING: f64 = 0.001;
/// What a kernel's ticks may add to the seconds of a bin.
const TICKS: f64 = 1.0;
/// Registries that a bin may name.
const REGISTRIES_MAX: usize = 1_000;
/// Words of doubt that a bin may have, and their length.
const DOUBTS: (usize, usize) = (16, 32);
/// Days that are kept.
const DAYS: u64 = 14;

/// Why a bin is not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// A number that is none, or below 0.
    #[error("{what} is {value}; a number from 0 is right")]
    Number {
        /// Which.
        what: &'static str,
        /// What it is.
        value: f64,
    },
    /// A length that does not fit a day.
    #[error("its length is {0} s; 1 to 3600 s that divide a day are right")]
    Length(u32),
    /// More time than the bin has.
    #[error("{what} is {seconds} s; the bin has {most} s")]
    Time {
        /// Which.
        what: &'static str,
        /// What it is.
        seconds: f64,
        /// What it may be.
        most: f64,
    },
    /// Something was observed of nothing, or of too much.
    #[error("it is of {0} cores; more than 0 and at most 4096 are right")]
    Cores(f64),
    /// It has not ended.
    #[error("it ends {0} s from now; the clocks of node and router are apart by a bin or more")]
    Future(u64),
    /// It is past what is kept.
    #[error("it ended more than 14 days ago")]
    Old,
    /// A registry is in it twice.
    #[error("registry {0} is in it twice")]
    Twice(String),
    /// It says too much.
    #[error("it names {0}; fewer are right")]
    TooMany(&'static str),
}

/// Judges a bin that came at `now` from a node whose clock said `node_ms` then; gives the doubts that are to be added.
pub(super) fn check(
    bin: &NodeBin,
    node_ms: Option<u64>,
    now: UnixMillis,
) -> Result<Vec<&'static str>, Refused> {
    let seconds = f64::from(bin.bin_seconds);
    if !(1..=BIN_MAX).contains(&bin.bin_seconds) || !86_400_u32.is_multiple_of(bin.bin_seconds) {
        return Err(Refused::Length(bin.bin_seconds));
    }
    for (what, value) in [
        ("busy_seconds", bin.busy_seconds),
        ("steal_seconds", bin.steal_seconds),
        ("cores", bin.cores),
        ("observed_seconds", bin.observed_seconds),
        ("in_rotation_seconds", bin.in_rotation_seconds),
    ] {
        number(what, value)?;
    }
    for (what, value, most) in [
        ("observed_seconds", bin.observed_seconds, seconds + TICKS),
        ("in_rotation_seconds", bin.in_rotation_seconds, bin.observed_seconds + TICKS),
    ] {
        if value > most {
            return Err(Refused::Time { what, seconds: value, most });
        }
    }
    if bin.cores > 4096.0 || (bin.cores == 0.0 && bin.observed_seconds > 0.0) {
        return Err(Refused::Cores(bin.cores));
    }
    registries(bin)?;
    if bin.suspect.len() > DOUBTS.0 || bin.suspect.iter().any(|word| word.len() > DOUBTS.1) {
        return Err(Refused::TooMany("more doubts than there are words for"));
    }
    let mut doubts = Vec::new();
    let ends = bin.number.saturating_add(1).saturating_mul(u64::from(bin.bin_seconds) * 1000);
    let ahead = ends.saturating_sub(now.0);
    if ahead > SKEW_MS + u64::from(bin.bin_seconds) * 1000 {
        return Err(Refused::Future(ahead / 1000));
    }
    if now.0.saturating_sub(ends) > DAYS * 86_400_000 {
        return Err(Refused::Old);
    }
    if ahead > SKEW_MS || node_ms.is_some_and(|node| node.abs_diff(now.0) > SKEW_MS) {
        doubts.push("clock_skew");
    }
    if bin.ratio() > 1.0 + ROUNDING && bin.suspect.is_empty() {
        doubts.push("over_limit");
    }
    Ok(doubts)
}

fn number(what: &'static str, value: f64) -> Result<(), Refused> {
    if value.is_finite() && value >= 0.0 { Ok(()) } else { Err(Refused::Number { what, value }) }
}

fn registries(bin: &NodeBin) -> Result<(), Refused> {
    if bin.registries.len() > REGISTRIES_MAX {
        return Err(Refused::TooMany("more than 1000 registries"));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = bin.registries.iter().find(|of| !seen.insert(&of.registry)) {
        return Err(Refused::Twice(twice.registry.to_string()));
    }
    let used = |used: &Used| {
        number("a registry's cpu_seconds", used.cpu_seconds)?;
        number("a registry's flows", used.flows)
    };
    bin.registries.iter().try_for_each(|of| used(&of.used))?;
    used(&bin.other)
}

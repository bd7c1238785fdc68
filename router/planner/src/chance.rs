//! Chance from a seed, the same on every machine and in every version.

use std::f64::consts::TAU;

/// SplitMix64.
pub(crate) struct Chance(u64);

impl Chance {
    /// A stream of its own for each list of numbers.
    pub(crate) fn of(key: &[u64]) -> Self {
        let mut chance = Self(0x9e37_79b9_7f4a_7c15);
        for number in key {
            chance.0 ^= *number;
            chance.0 = chance.next();
        }
        chance
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1, 1 never.
    pub(crate) fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.part()).ln()).sqrt();
        radius * (TAU * self.part()).cos()
    }
}

/// Standard normals in a ring, each correlated with the one before by a given part.
pub(crate) struct Normals {
    ring: Vec<f32>,
}

/// Length of a ring; a power of two.
const RING: usize = 1 << 16;

impl Normals {
    pub(crate) fn new(seed: u64, correlation: f64) -> Self {
        let mut chance = Chance::of(&[seed, correlation.to_bits()]);
        let own = (1.0 - correlation * correlation).sqrt();
        let mut value = chance.normal();
        let ring = (0..RING).map(|_| {
            value = correlation * value + own * chance.normal();
            value as f32
        });
        Self { ring: ring.collect() }
    }

    /// `len` of them that follow one another, from a place that `key` gives.
    pub(crate) fn stretch(&self, key: &[u64], len: usize) -> &[f32] {
        let places = RING.saturating_sub(len).max(1);
        let place = (Chance::of(key).next() % places as u64) as usize;
        &self.ring[place..(place + len).min(RING)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normals_are_standard_and_correlated_as_asked() {
        for correlation in [0.0, 0.8] {
            let ring = Normals::new(1, correlation).ring;
            let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / RING as f64;
            let first = mean(&mut ring.iter().map(|value| f64::from(*value)));
            let second = mean(&mut ring.iter().map(|value| f64::from(*value).powi(2)));
            let lag = mean(&mut ring.windows(2).map(|pair| f64::from(pair[0]) * f64::from(pair[1])));
            assert!(first.abs() < 0.05 && (second - 1.0).abs() < 0.05, "{first} {second}");
            assert!((lag - correlation).abs() < 0.05, "{lag} for {correlation}");
        }
    }
}

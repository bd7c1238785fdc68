//! Streams of chance: each has a key, so that what one part draws never shifts what another draws.
//!
//! That is what makes a comparison fair: with and without a move, every registry that stays has the very same flows.

use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Distribution as _, Poisson, StandardNormal};

/// What a stream is for. Two purposes with the same numbers are two streams.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Rhythm = 1,
    Flows,
    Placement,
    Measuring,
    Parameters,
    Choice,
}

/// A stream for a purpose and whatever numbers name it.
pub(crate) fn stream(purpose: Purpose, key: &[u64]) -> Xoshiro256PlusPlus {
    let mut state = mix(purpose as u64);
    for part in key {
        state = mix(state ^ part.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }
    Xoshiro256PlusPlus::seed_from_u64(state)
}

/// The finalizer of SplitMix64: neighbouring seeds become unlike.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// A standard normal.
pub(crate) fn normal(chance: &mut Xoshiro256PlusPlus) -> f64 {
    StandardNormal.sample(chance)
}

/// Log-normal with mean 1.
pub(crate) fn around_one(chance: &mut Xoshiro256PlusPlus, sigma: f64) -> f64 {
    (sigma * normal(chance) - sigma * sigma / 2.0).exp()
}

/// How many of a Poisson process with this mean; none where the mean is no positive number.
pub(crate) fn poisson(chance: &mut Xoshiro256PlusPlus, mean: f64) -> usize {
    Poisson::new(mean).map_or(0, |poisson| poisson.sample(chance) as usize)
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::*;

    #[test]
    fn a_stream_is_its_key_and_nothing_else() {
        let draw = |purpose, key: &[u64]| stream(purpose, key).random::<u64>();
        assert_eq!(draw(Purpose::Flows, &[1, 2]), draw(Purpose::Flows, &[1, 2]));
        assert_ne!(draw(Purpose::Flows, &[1, 2]), draw(Purpose::Flows, &[2, 1]));
        assert_ne!(draw(Purpose::Flows, &[1, 2]), draw(Purpose::Placement, &[1, 2]));
        assert_ne!(draw(Purpose::Flows, &[0]), draw(Purpose::Flows, &[0, 0]));
    }

    #[test]
    fn means_are_what_they_are_called() {
        let mut chance = stream(Purpose::Flows, &[7]);
        let weights: f64 = (0..200_000).map(|_| around_one(&mut chance, 0.8)).sum::<f64>() / 200_000.0;
        assert!((weights - 1.0).abs() < 0.01, "{weights}");
        let counts = (0..100_000).map(|_| poisson(&mut chance, 0.3)).sum::<usize>() as f64 / 100_000.0;
        assert!((counts - 0.3).abs() < 0.01, "{counts}");
        assert_eq!(poisson(&mut chance, 0.0), 0);
    }
}

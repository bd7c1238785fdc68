use std::sync::Arc;

use super::*;

const SEED: u64 = 4711;
const PULLS: u64 = 200_000;

fn subjects(texts: &[(&str, Option<f64>)]) -> Vec<Weighted> {
    texts
        .iter()
        .map(|(text, weight)| Weighted { subject: Arc::new(text.parse().expect(text)), weight: *weight })
        .collect()
}

/// Two registries, the first with two repositories, its first repository with two tags.
fn tree() -> Vec<Weighted> {
    subjects(&[
        ("127.0.0.1:5000/contoso/a:1", None),
        ("127.0.0.1:5000/fabrikam/a:1", None),
        ("127.0.0.1:5000/contoso/a:2", None),
        ("127.0.0.1:5000/contoso/b:1", None),
    ])
}

fn shares(chooser: &Chooser, count: usize) -> Vec<f64> {
    let mut counts = vec![0_u64; count];
    for number in 0..PULLS {
        counts[chooser.choose(number)] += 1;
    }
    counts.into_iter().map(|count| count as f64 / PULLS as f64).collect()
}

/// Within 6 standard deviations of a binomial share.
fn assert_shares(chooser: &Chooser, expected: &[f64]) {
    for (place, (found, expected)) in shares(chooser, expected.len()).iter().zip(expected).enumerate() {
        let tolerance = 6.0 * (expected * (1.0 - expected) / PULLS as f64).sqrt();
        assert!(
            (found - expected).abs() <= tolerance,
            "seed {SEED}, place {place}: {found} for {expected} ± {tolerance}"
        );
    }
}

#[test]
fn zipf_favours_registries_then_their_repositories_then_their_subjects() {
    let chooser = Chooser::new(Popularity::Zipf { exponent: 1.0 }, &tree(), SEED).expect("valid");
    // Of two, the first has 2/3 and the second 1/3, at each level.
    assert_shares(&chooser, &[8.0 / 27.0, 1.0 / 3.0, 4.0 / 27.0, 2.0 / 9.0]);
}

#[test]
fn zipf_over_one_repository_follows_the_power_law() {
    let texts: Vec<String> = (1..=50).map(|tag| format!("127.0.0.1:5000/contoso/a:{tag}")).collect();
    let listed: Vec<(&str, Option<f64>)> = texts.iter().map(|text| (text.as_str(), None)).collect();
    let exponent = 0.9;
    let chooser = Chooser::new(Popularity::Zipf { exponent }, &subjects(&listed), SEED).expect("valid");
    let total: f64 = (1..=50).map(|rank| f64::from(rank).powf(-exponent)).sum();
    let expected: Vec<f64> = (1..=50).map(|rank| f64::from(rank).powf(-exponent) / total).collect();
    assert_shares(&chooser, &expected);
}

#[test]
fn weights_are_kept_to() {
    let listed = subjects(&[("h:1/a:1", Some(1.0)), ("h:1/a:2", Some(6.0)), ("h:1/a:3", Some(3.0))]);
    let chooser = Chooser::new(Popularity::Weighted, &listed, SEED).expect("valid");
    assert_shares(&chooser, &[0.1, 0.6, 0.3]);
}

#[test]
fn uniform_likes_all_the_same() {
    let chooser = Chooser::new(Popularity::Uniform, &tree(), SEED).expect("valid");
    assert_shares(&chooser, &[0.25; 4]);
}

#[test]
fn round_robin_and_once_take_one_after_the_other_and_once_ends() {
    let round = Chooser::new(Popularity::RoundRobin, &tree(), SEED).expect("valid");
    assert_eq!((0..6).map(|number| round.choose(number)).collect::<Vec<_>>(), [0, 1, 2, 3, 0, 1]);
    assert_eq!(round.most(), None);
    let once = Chooser::new(Popularity::Once, &tree(), SEED).expect("valid");
    assert_eq!((0..4).map(|number| once.choose(number)).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(once.most(), Some(4));
}

#[test]
fn a_choice_follows_from_the_seed_and_the_number_in_any_order() {
    let popularity = Popularity::Zipf { exponent: 1.0 };
    let one = Chooser::new(popularity, &tree(), SEED).expect("valid");
    let other = Chooser::new(popularity, &tree(), SEED).expect("valid");
    let forward: Vec<usize> = (0..1000).map(|number| one.choose(number)).collect();
    let mut backward: Vec<usize> = (0..1000).rev().map(|number| other.choose(number)).collect();
    backward.reverse();
    assert_eq!(forward, backward);
    let reseeded = Chooser::new(popularity, &tree(), SEED + 1).expect("valid");
    assert_ne!(forward, (0..1000).map(|number| reseeded.choose(number)).collect::<Vec<_>>());
}

#[test]
fn a_popularity_that_cannot_be_is_refused() {
    let refused = |popularity| Chooser::new(popularity, &tree(), SEED).expect_err("refused");
    assert_eq!(refused(Popularity::Weighted), PopularityError::NoWeights);
    assert_eq!(refused(Popularity::Zipf { exponent: -1.0 }), PopularityError::Exponent(-1.0));
}

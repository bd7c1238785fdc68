use crate::truth::{Draw, PoolTruth};

use super::*;

fn mean(of: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = of.collect();
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn the_fitted_region_gives_the_articles_table_once_the_customer_has_gone() {
    let region = fitted::region().expect("names");
    let customers = (0..region.registries.len()).filter(|&r| region.registries[r].tenant == fitted::CUSTOMER);
    let moves: Vec<_> = customers.map(|registry| (registry, fitted::ISOLATION)).collect();
    assert_eq!(moves.len(), 40);
    let after = region.moved(&moves);
    for fit in fitted::POOLS {
        let run = |region: &crate::region::Region, day| -> Vec<PoolTruth> {
            let seeds = 1..=20;
            seeds.filter_map(|seed| region.run_pool(Draw { seed, day }, fit.stamp, fit.role)).collect()
        };
        let (before, after) = (run(&region, 0), run(&after, 1));
        let p95 = |pools: &[PoolTruth]| mean(pools.iter().map(PoolTruth::p95));
        let wanted = fit.before * (1.0 + fit.change / 100.0);
        assert!((p95(&before) - fit.before).abs() < 1.0, "{fit:?} {}", p95(&before));
        assert!((p95(&after) - wanted).abs() < 2.0, "{fit:?} {} instead of {wanted}", p95(&after));
    }
}

#[test]
fn the_top_four_have_as_much_of_the_traffic_as_the_article_says() {
    assert!((fitted::TOP.iter().sum::<f64>() - 0.967).abs() < 1e-9);
    let all: f64 = fitted::customers().iter().map(|(_, _, part)| part).sum();
    assert!((all - 1.0).abs() < 1e-9);
}

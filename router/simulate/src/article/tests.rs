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

#[test]
fn the_planner_derives_the_articles_phases_from_telemetry_and_they_give_its_table() {
    let seeds = 2;
    let article = run(seeds, &dataproxy_planner::Policy::default()).expect("a run");
    let names: Vec<_> = article.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["before", "idle", "medium", "large 1", "large 2", "large 3", "large 4"]);
    let missed: Vec<_> = article.marks.iter().filter(|mark| !mark.passed).collect();
    assert!(missed.is_empty(), "seeds 1 to {seeds}: {missed:?}");
    let moved: f64 = article.steps.iter().map(|step| step.registries).sum();
    assert_eq!(moved, 40.0);
}

#[test]
fn the_picture_is_svg_with_the_articles_table_beside_it() {
    let seen = |p95| Seen { p95, p95_sigma: 1.0, max: 96.0, predicted: p95 };
    let step = |name: &str, p95| Step {
        name: name.into(),
        registries: 1.0,
        phases: 1.0,
        watched_hours: 24.0,
        pools: [seen(p95); 4],
    };
    let none = || Accuracy::of([].iter());
    let article = Article {
        seeds: 1,
        steps: vec![step("before", 43.0), step("large 4", 28.5)],
        source: none(),
        destination: none(),
        isolation: Vec::new(),
        marks: Vec::new(),
    };
    let svg = article.svg().expect("a picture");
    let mut reader = quick_xml::Reader::from_str(&svg);
    while reader.read_event().expect("well-formed") != quick_xml::events::Event::Eof {}
    for text in ["A dataproxy", "Max 96 → 64", "before", "large 4"] {
        assert!(svg.contains(text), "{text}");
    }
}

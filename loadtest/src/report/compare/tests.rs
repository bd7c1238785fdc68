//! Sides that differ, and sides that do not.

use super::*;
use crate::report::{Bin, sample};

fn options() -> Options {
    Options { threshold: 0.05, allowed: Vec::new(), seed: 1 }
}

fn named(name: &str, report: Report) -> Named {
    (name.to_owned(), report)
}

fn of(comparison: &Comparison, verdict: Verdict) -> Vec<String> {
    let found = comparison.compared.iter().filter(|one| one.verdict == verdict);
    found.map(|one| format!("{}:{}", one.of, one.name)).collect()
}

#[test]
fn a_run_does_not_differ_from_itself() {
    let run = [named("a", sample::report())];
    let comparison = compare(&run, &run, &options()).expect("comparable");
    assert!(of(&comparison, Verdict::Worse).is_empty() && of(&comparison, Verdict::Better).is_empty());
    assert!(!comparison.worse && of(&comparison, Verdict::NoDifferenceShown).len() > 40, "{comparison:#?}");
}

#[test]
fn runs_that_differ_by_their_dice_alone_show_no_difference() {
    let base = [named("base", sample::report())];
    for seed in 1..=3 {
        let new = [named("new", sample::run(seed, 1.0))];
        let comparison = compare(&base, &new, &options()).expect("comparable");
        assert!(!comparison.worse, "seed {seed}: {:?}", of(&comparison, Verdict::Worse));
        assert_eq!(of(&comparison, Verdict::Better), Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn a_run_that_is_slower_by_half_is_worse_and_the_other_way_round_better() {
    let (base, new) = ([named("base", sample::report())], [named("new", sample::run(7, 1.5))]);
    let comparison = compare(&base, &new, &options()).expect("comparable");
    let worse = of(&comparison, Verdict::Worse);
    for wanted in ["warm:pull.p50", "cold:pull.p50", "lazy:blob.p50", "region:cpu_per_gib"] {
        assert!(worse.iter().any(|name| name == wanted), "{wanted} in {worse:?}");
    }
    assert!(comparison.worse);
    let one = comparison.compared.iter().find(|one| one.name == "pull.p50").expect("it is there");
    let change = one.change.expect("the base is not 0");
    assert!((0.47..0.53).contains(&change), "{change}");
    let back = compare(&new, &base, &options()).expect("comparable");
    assert_eq!(of(&back, Verdict::Better), worse);
    assert!(!back.worse);
}

#[test]
fn several_runs_show_what_one_cannot() {
    // The node that is away makes one run vary more over time than these two differ.
    let bases = [1, 2, 3, 8, 9].map(|seed| named("base", sample::run(seed, 1.0)));
    let news = [4, 5, 6, 10, 11].map(|seed| named("new", sample::run(seed, 1.12)));
    let wanted = "warm:pull.p50".to_owned();
    let one = compare(&bases[..1], &news[..1], &options()).expect("comparable");
    assert!(of(&one, Verdict::NoDifferenceShown).contains(&wanted));
    let five = compare(&bases, &news, &options()).expect("comparable");
    assert!(of(&five, Verdict::Worse).contains(&wanted), "{:?}", of(&five, Verdict::Worse));
}

#[test]
fn what_is_allowed_to_be_worse_does_not_fail_and_a_name_that_is_not_known_is_refused() {
    let (base, new) = ([named("base", sample::report())], [named("new", sample::run(7, 1.5))]);
    let all = compare(&base, &new, &options()).expect("comparable");
    let allowed = of(&all, Verdict::Worse);
    let comparison = compare(&base, &new, &Options { allowed, ..options() }).expect("comparable");
    assert!(!comparison.worse && of(&comparison, Verdict::Worse) == of(&all, Verdict::Worse));
    let wrong = Options { allowed: vec!["pull.p98".to_owned()], ..options() };
    let error = compare(&base, &new, &wrong).expect_err("not known").to_string();
    assert!(error.contains("pull.p98") && error.contains("pull.p99,"), "{error}");
}

#[test]
fn a_threshold_above_the_change_hides_it() {
    let (base, new) = ([named("base", sample::report())], [named("new", sample::run(7, 1.5))]);
    let comparison = compare(&base, &new, &Options { threshold: 0.9, ..options() }).expect("comparable");
    assert_eq!(of(&comparison, Verdict::Worse), Vec::<String>::new());
}

#[test]
fn the_end_of_long_pulls_does_not_make_a_steady_rate_uncertain() {
    let report = sample::report();
    let mut longer = report.clone();
    let flow = &mut longer.flows[0];
    let last = flow.series.last().expect("bins").clone();
    flow.series.extend((1..=60).map(|more| Bin {
        at: last.at + last.length * f64::from(more),
        pulls: Default::default(),
        bytes: 1000,
        ..last.clone()
    }));
    let spread = |report: Report| {
        let sides = ([named("a", report.clone())], [named("b", report)]);
        let comparison = compare(&sides.0, &sides.1, &options()).expect("comparable");
        let one = |name: &str| {
            let found = comparison.compared.iter().find(|one| one.name == name).expect("it is there");
            found.base.interval.expect("a spread")
        };
        [one("pull_rate"), one("byte_rate")]
    };
    assert_eq!(spread(longer), spread(report));
}

#[test]
fn one_wrong_digest_more_in_one_of_many_runs_is_worse() {
    let with_wrong = |wrong: u64| {
        let mut report = sample::report();
        report.flows[0].pulls.insert("wrong_digest".to_owned(), wrong);
        named("run", report)
    };
    let judged = |base: &[u64], new: &[u64]| {
        let sides = [base, new].map(|side| side.iter().map(|wrong| with_wrong(*wrong)).collect::<Vec<_>>());
        let comparison = compare(&sides[0], &sides[1], &options()).expect("comparable");
        let one =
            comparison.compared.into_iter().find(|one| one.name == "wrong_digests").expect("it is there");
        one.verdict
    };
    assert_eq!(judged(&[0], &[1]), Verdict::Worse);
    assert_eq!(judged(&[0, 0, 0], &[0, 1, 0]), Verdict::Worse);
    assert_eq!(judged(&[0; 7], &[0, 0, 0, 0, 0, 0, 1]), Verdict::Worse);
    assert_eq!(judged(&[100, 100, 100], &[100, 101, 100]), Verdict::Worse);
    assert_eq!(judged(&[0, 3, 0], &[0, 0, 0]), Verdict::Better);
    assert_eq!(judged(&[1, 0, 0], &[0, 1, 0]), Verdict::NoDifferenceShown);
}

#[test]
fn three_runs_on_each_side_are_judged_by_a_range_somewhat_wider_than_theirs() {
    let with_rss = |rss: u64| {
        let mut report = sample::report();
        report.servers[0].peak_rss = rss;
        named("run", report)
    };
    let judged = |base: [u64; 3], new: [u64; 3]| {
        let comparison = compare(&base.map(with_rss), &new.map(with_rss), &options()).expect("comparable");
        let one = comparison.compared.into_iter().find(|one| one.name == "peak_rss").expect("it is there");
        (one.base.value, one.verdict)
    };
    assert_eq!(judged([100, 130, 110], [160, 180, 170]), (110.0, Verdict::Worse));
    assert_eq!(
        judged([100, 130, 110], [150, 170, 160]),
        (110.0, Verdict::NoDifferenceShown),
        "too near for three"
    );
    assert_eq!(judged([100, 130, 110], [60, 70, 65]), (110.0, Verdict::Better));
    let alone = compare(&[with_rss(100)], &[with_rss(900)], &options()).expect("comparable");
    assert!(
        of(&alone, Verdict::NotJudged).contains(&"region:peak_rss".to_owned()),
        "one run has no spread of it"
    );
}

#[test]
fn one_wrong_digest_is_worse_however_rare() {
    let mut report = sample::report();
    report.flows[0].pulls.insert("wrong_digest".to_owned(), 1);
    let comparison =
        compare(&[named("a", sample::report())], &[named("b", report)], &options()).expect("comparable");
    assert_eq!(of(&comparison, Verdict::Worse), ["warm:wrong_digests"]);
}

#[test]
fn runs_with_other_flows_are_refused_and_say_which() {
    let mut report = sample::report();
    report.flows[1].name = "other".to_owned();
    let error = compare(&[named("a.json", sample::report())], &[named("b.json", report)], &options());
    let error = error.expect_err("other flows").to_string();
    assert!(
        error.contains("b.json has the flows") && error.contains("other") && error.contains("cold"),
        "{error}"
    );
    assert_eq!(compare(&[], &[], &options()), Err(CompareError::NoRun("base")));
}

#[test]
fn other_plans_and_machines_are_warned_of_by_what_differs() {
    let mut report = sample::report();
    report.machine.cores = 2;
    report.plan.flows[0].client = crate::plan::Client::Docker;
    report.plan.title = "another title is no other work".to_owned();
    report.client.bottlenecks.clear();
    let mut base = sample::report();
    base.client.bottlenecks.clear();
    let comparison = compare(&[named("a", base)], &[named("b", report)], &options()).expect("comparable");
    assert_eq!(
        comparison.warnings,
        [
            "b differs from a in machine.cores: 8 → 2",
            "b differs from a in plan.flow[0].client: \"containerd\" → \"docker\""
        ]
    );
}

#[test]
fn a_comparison_is_shown_within_100_columns_and_as_a_table() {
    let (base, new) = ([named("base", sample::report())], [named("new", sample::run(7, 1.5))]);
    let comparison = compare(&base, &new, &options()).expect("comparable");
    let text = text(&comparison);
    let widest =
        text.lines().filter(|line| !line.starts_with("warning")).map(|line| line.chars().count()).max();
    assert!(widest <= Some(100), "{widest:?} columns:\n{text}");
    let table = markdown(&comparison);
    let rows = table.lines().filter(|line| line.starts_with("| warm") || line.starts_with("| cold"));
    assert!(
        rows.clone().count() > 20 && rows.into_iter().all(|row| row.matches('|').count() == 9),
        "{table}"
    );
    for one in &comparison.compared {
        assert!(text.contains(&one.name) && table.contains(&format!("`{}`", one.name)), "{}", one.name);
    }
}

#[test]
fn odd_reports_are_compared_or_refused_and_nothing_else() {
    for seed in 0..6 {
        let (a, b) = (sample::odd_report(seed), sample::odd_report(seed + 1));
        for (a, b) in [(a.clone(), a.clone()), (a, b)] {
            if let Ok(comparison) = compare(&[named("a", a)], &[named("b", b)], &options()) {
                assert!(!text(&comparison).is_empty() && !markdown(&comparison).is_empty(), "seed {seed}");
            }
        }
    }
}

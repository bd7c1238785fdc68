//! What holds of every plan, limit and size.

use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::phase::Phase;

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_:.\"'\\\\ äß-]{0,12}[a-z]"
}

fn time() -> impl Strategy<Value = Duration> {
    (0_u64..4_000_000_000, 0_u32..1_000_000_000).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

/// A number above 0.
fn rate() -> impl Strategy<Value = f64> {
    prop_oneof![0.001..10_000.0, (1_u32..1000).prop_map(f64::from)]
}

fn arrivals() -> impl Strategy<Value = Arrivals> {
    let step = (rate(), time()).prop_map(|(rate, lasts)| Step { rate, lasts });
    prop_oneof![
        rate().prop_map(|rate| Arrivals::Constant { rate }),
        rate().prop_map(|rate| Arrivals::Poisson { rate }),
        prop::collection::vec(step, 0..4).prop_map(|steps| Arrivals::Steps { steps }),
        (0..1_u64 << 40).prop_map(|pulls| Arrivals::Burst { pulls }),
        (word(), rate()).prop_map(|(trace, speed)| Arrivals::Replay { trace: PathBuf::from(trace), speed }),
        (any::<u32>(), time()).prop_map(|(pullers, think)| Arrivals::Closed { pullers, think }),
    ]
}

fn popularity() -> impl Strategy<Value = Popularity> {
    prop_oneof![
        Just(Popularity::RoundRobin),
        Just(Popularity::Once),
        Just(Popularity::Uniform),
        Just(Popularity::Weighted),
        rate().prop_map(|exponent| Popularity::Zipf { exponent }),
    ]
}

fn reading() -> impl Strategy<Value = Reading> {
    let size = || prop::option::of(0..1_u64 << 50);
    let ranges = (any::<u32>(), 0..1_u64 << 50).prop_map(|(count, size)| Ranges { count, size });
    let parts =
        (any::<bool>(), size(), prop::option::of(any::<u16>()), size(), prop::option::of(ranges), time());
    parts.prop_map(|(hash, rate, layers_at_once, chunk, ranges, timeout)| Reading {
        hash,
        rate,
        layers_at_once,
        chunk,
        ranges,
        timeout,
    })
}

fn flow() -> impl Strategy<Value = Flow> {
    let client = prop_oneof![
        Just(Client::Docker),
        Just(Client::Containerd),
        Just(Client::ContainersImage),
        Just(Client::Plain)
    ];
    let what = (word(), prop::collection::vec(word(), 0..3), prop::option::of(word()), client);
    let when = (arrivals(), popularity(), time(), prop::option::of(time()), prop::option::of(0..1_u64 << 50));
    (what, when, reading()).prop_map(|(what, when, reading)| {
        let (name, subjects, only, client) = what;
        let (arrivals, popularity, begin, end, pulls) = when;
        Flow { name, subjects, only, client, arrivals, popularity, begin, end, pulls, reading }
    })
}

fn limit() -> impl Strategy<Value = Limit> {
    let bound = prop_oneof![
        0.0..1.0,
        rate(),
        Just(0.0),
        any::<f64>().prop_filter("finite", |bound| bound.is_finite())
    ];
    let parts = (
        prop::option::of(word()),
        prop::sample::select(&Measure::ALL[..]),
        prop::option::of(prop::sample::select(&Phase::ALL[..])),
        bound,
        any::<bool>(),
    );
    parts.prop_map(|(flow, measure, phase, bound, most)| Limit {
        flow: flow.map(|flow| flow.trim().to_owned()),
        measure,
        phase,
        at_most: most.then_some(bound),
        at_least: (!most).then_some(bound),
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    let event = (time(), word(), word()).prop_map(|(at, name, run)| Event { at, name, run });
    let times = (time(), time(), time());
    // TOML has no number beyond 63 bits.
    let parts = (
        (word(), word(), prop::option::of(0..1_u64 << 63), any::<u16>()),
        times,
        prop::collection::vec(flow(), 0..3),
        prop::collection::vec(event, 0..3),
        prop::collection::vec(limit(), 0..3),
    );
    parts.prop_map(
        |((title, about, seed, threads), (warm_up, duration, stall_after), flows, events, limits)| Plan {
            title,
            about,
            seed,
            threads,
            warm_up,
            duration,
            stall_after,
            flows,
            events,
            limits,
        },
    )
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_plan_says_the_same_after_it_was_written_into_a_report_and_read_again(plan in plan()) {
        let toml = toml::to_string_pretty(&plan).expect("TOML");
        prop_assert_eq!(&toml::from_str::<Plan>(&toml).expect("valid"), &plan);
        let json = serde_json::to_string(&plan).expect("JSON");
        let read: Plan = serde_json::from_str(&json).expect("valid");
        // serde_json may be off in the last bit of a fraction; the rest has none.
        prop_assert_eq!(
            (read.title, read.seed, read.duration, read.events, read.flows.len(), read.limits.len()),
            (plan.title, plan.seed, plan.duration, plan.events, plan.flows.len(), plan.limits.len())
        );
    }

    #[test]
    fn a_limit_reads_as_it_is_written(limit in limit()) {
        prop_assert_eq!(limit.to_string().parse::<Limit>().expect("as it is written"), limit);
    }

    #[test]
    fn no_text_is_too_odd_for_a_limit_or_a_size(text in "\\PC{0,30}", number in "[-+0-9.eE]{0,12} ?[KMGkiB%ms]{0,3}") {
        for text in [text.as_str(), &number, &format!("p99<={number}"), &format!("{text}:byte_rate>={number}")] {
            let _ = text.parse::<Limit>();
            let _ = text::size(text);
        }
    }

    #[test]
    fn a_size_is_the_number_times_its_unit(number in 0_u64..1 << 20, unit in 0_usize..7) {
        let (sign, size) =
            [("", 1), ("kB", 1000), ("KiB", 1 << 10), ("MB", 1_000_000), ("MiB", 1 << 20), ("GB", 1_000_000_000), ("GiB", 1 << 30)]
                [unit];
        prop_assert_eq!(text::size(&format!("{number}{sign}")), Some(number * size));
        prop_assert_eq!(text::size(format!("{number} {sign}").trim_end()), Some(number * size));
    }
}

//! Bins of a real thread on the real counters, what is kept of them, and what is shown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataproxy_cpu::{bill, carried_work, charged, thread_time};
use dataproxy_router_api::{RegistryBin, Role, Used};

use super::*;
use crate::admin::Identity;
use crate::bindings::{Bindings, Table};
use crate::config::{Cpu, CpuScope};
use crate::lifecycle::{Lifecycle, State};
use crate::routers::scripted::snapshot;

fn bin(sequence: u64) -> NodeBin {
    NodeBin {
        sequence,
        number: 28_333_000 + sequence,
        bin_seconds: 60,
        busy_seconds: 30.0,
        steal_seconds: 0.0,
        cores: 2.0,
        observed_seconds: 60.0,
        in_rotation_seconds: 60.0,
        scope: "host".into(),
        suspect: Vec::new(),
        registries: Vec::new(),
        other: Used::default(),
    }
}

#[test]
fn a_day_is_kept_and_what_a_router_has_not_acknowledged_is_told_in_order() {
    let minutes = Minutes::default();
    assert_eq!((minutes.after(0).len(), minutes.ended()), (0, 0));
    for sequence in 1..=2000 {
        minutes.keep(bin(sequence));
    }
    let told = |after| minutes.after(after).iter().map(|bin| bin.sequence).collect::<Vec<_>>();
    assert_eq!(told(0), (501..=560).collect::<Vec<_>>(), "the day before is gone, and a report has its size");
    assert_eq!(told(1990), (1991..=2000).collect::<Vec<_>>());
    assert_eq!(told(2000), [0; 0]);
    assert_eq!(minutes.ended(), 2000);
}

fn identity() -> Identity {
    Identity {
        name: "a1".parse().unwrap(),
        stamp: Some("a".parse().unwrap()),
        region: "local".parse().unwrap(),
        role: Role::Dataproxy,
    }
}

fn shown(bin: NodeBin, now: u64) -> String {
    let (minutes, mut text) = (Minutes::default(), String::new());
    minutes.keep(bin);
    minutes.show(&identity(), now, &mut text);
    text
}

#[test]
fn the_last_bin_is_shown_with_who_used_it_until_the_next_has_ended() {
    let used =
        Used { cpu_seconds: 12.5, requests: 3, hit_bytes: 7, resumed_handshakes: 2, ..Used::default() };
    let registries = vec![RegistryBin { registry: "contoso".parse().unwrap(), used }];
    let other = Used { cpu_seconds: 0.5, ..Used::default() };
    let bin = NodeBin { registries, other, ..bin(1) };
    let ended = (bin.number + 1) * 60;
    for now in [ended, ended + 59] {
        let text = shown(bin.clone(), now);
        let labels = "stamp=\"a\",pool=\"dataproxy\",node=\"a1\",bin=\"1m\"";
        for line in [
            format!("dataproxy_node_cpu_busy_ratio{{{labels},scope=\"host\"}} 0.25"),
            format!("dataproxy_node_in_rotation_seconds{{{labels}}} 60"),
            format!("dataproxy_registry_bin_cpu_seconds{{{labels},registry=\"contoso\"}} 12.5"),
            format!("dataproxy_registry_bin_cpu_seconds{{{labels},registry=\"other\"}} 0.5"),
            format!("dataproxy_registry_bin_cpu_seconds{{{labels},registry=\"system\"}} 17"),
            format!("dataproxy_registry_bin_bytes{{{labels},registry=\"contoso\",result=\"hit\"}} 7"),
            format!(
                "dataproxy_registry_bin_tls_handshakes{{{labels},registry=\"contoso\",kind=\"resumed\"}} 2"
            ),
            "# TYPE dataproxy_node_cpu_busy_ratio gauge".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }
    assert_eq!(shown(bin.clone(), ended - 1), "");
    assert_eq!(shown(bin, ended + 60), "", "a minute that is past would pass for what is now");
}

#[test]
fn a_bin_that_is_suspect_shows_its_reasons_and_no_ratio_and_one_of_another_length_says_so() {
    let suspect = vec!["clock_step".to_owned(), "over_limit".to_owned()];
    let text = shown(NodeBin { suspect, ..bin(1) }, 28_333_002 * 60);
    assert!(!text.contains("busy_ratio") && text.contains("reason=\"over_limit\"} 1"), "{text}");
    let text = shown(NodeBin { bin_seconds: 2, ..bin(1) }, 28_333_002 * 2);
    assert!(text.contains("bin=\"2s scaled\""), "{text}");
}

/// Uses so much CPU time of this thread for a registry, as a task of the runtime.
async fn use_for(bindings: &Bindings, registry: &str, time: Duration) {
    let table = bindings.current();
    let flight = table.standing(&registry.parse().unwrap()).expect("bound").begin();
    charged(async {
        bill(flight.purse());
        let end = thread_time() + time;
        while thread_time() < end {
            let slice = thread_time() + Duration::from_millis(1);
            while thread_time() < slice {}
            tokio::task::yield_now().await;
        }
        // A part of it on another thread.
        let work = carried_work(move || {
            let end = thread_time() + time / 4;
            while thread_time() < end {}
        });
        tokio::task::spawn_blocking(work).await.expect("done");
    })
    .await;
    flight.purse().request(true, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_follow_known_loads_and_add_up_to_the_node() {
    let (minutes, life) = (Arc::<Minutes>::default(), Lifecycle::default());
    let bindings = Arc::new(Bindings::new(Table::new(snapshot(3, "a"))));
    let registries: Vec<String> =
        bindings.current().standings().map(|(binding, _)| binding.registry.to_string()).collect();
    let [registry, ..] = registries.as_slice() else { panic!("no registry") };
    life.advance(State::Ready);
    let cpu = Cpu {
        scope: CpuScope::Process,
        millicores: Some(2_000),
        bin: Duration::from_secs(1),
        sample: 1,
        ..Cpu::default()
    };
    let parts = Parts {
        cpu,
        node: "a1".parse().unwrap(),
        bindings: Arc::clone(&bindings),
        life,
        minutes: Arc::clone(&minutes),
    };
    let measuring = start(parts).expect("counters");
    let until = Instant::now() + Duration::from_secs(3);
    let mut spent = Duration::ZERO;
    while Instant::now() < until {
        let each = Duration::from_millis(40);
        use_for(&bindings, registry, each).await;
        spent += each + each / 4;
    }
    // The bin that the last of it fell in.
    let ended = minutes.ended();
    let end = Instant::now() + Duration::from_secs(20);
    while minutes.ended() < ended + 2 && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(measuring);
    let bins = minutes.after(0);
    let mut sum = 0.0;
    for bin in &bins {
        assert_eq!((bin.bin_seconds, bin.scope.as_str()), (1, "process"));
        let shares: f64 =
            bin.registries.iter().map(|of| of.used.cpu_seconds).sum::<f64>() + bin.other.cpu_seconds;
        assert!((shares + bin.system_seconds() - bin.busy_seconds).abs() < 1e-6, "{bin:?}");
        assert!(bin.in_rotation_seconds <= bin.observed_seconds + 1e-6);
        assert!(bin.ratio() <= 1.0 + 1e-9 || !bin.suspect.is_empty(), "{bin:?}");
        sum += shares;
    }
    let spent = spent.as_secs_f64();
    // Edges cut polls in two, and clocks have their grain.
    assert!((sum / spent - 1.0).abs() < 0.1, "{sum} of {spent} s in {bins:?}");
    let requests: u64 = bins.iter().flat_map(|bin| &bin.registries).map(|of| of.used.requests).sum();
    assert!(requests >= 1, "{bins:?}");
    let last: Vec<u64> = bins.iter().map(|bin| bin.sequence).collect();
    assert_eq!(last, (1..=bins.len() as u64).collect::<Vec<_>>());
}

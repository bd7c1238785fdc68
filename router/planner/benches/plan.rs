//! How long a plan takes: `cargo bench -p dataproxy-planner`. A region of 10,000 registries, 200 nodes and 20 stamps, and
//! a quarter of it. Each pool has shares of its 32 largest registries, as reports do; all others are known by their
//! bytes alone. Prints one line per region and goal: seconds (median of 3), moves, and the fleet's size.
#![allow(clippy::expect_used, reason = "a bench has nobody to give an error to")]

use std::time::Instant;

use dataproxy_planner::{
    Account, Bin, Fleet, Goal, Node, Policy, Pool, Registry, Share, Stamp, StampKind, Window, check, plan,
};
use dataproxy_router_api::{Revision, Role, StampState};

const BINS: usize = 720;
const NODES: usize = 10;
const TOP: usize = 32;
const ROUNDS: usize = 3;

struct Chance(u64);

impl Chance {
    fn part(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }
}

fn region(stamps: usize, registries: usize) -> Fleet {
    let mut chance = Chance(42);
    let account = |stamp: usize| Account {
        name: format!("store{stamp:02}").parse().expect("a name"),
        egress_bytes_per_second: Some(6.25e9),
        peak_read_bytes_per_second: 1e8,
    };
    let name = |stamp: usize, at: usize| format!("r{stamp:02}-{at:04}");
    let mut fleet = Fleet {
        revision: Revision(1),
        taken: 1_790_000_000,
        stamps: Vec::new(),
        registries: Vec::new(),
        accounts: (0..stamps).map(account).collect(),
    };
    let each = registries / stamps;
    for stamp in 0..stamps {
        // The first is hot, the others are between cool and warm.
        let level = if stamp == 0 { 0.24 } else { 0.03 + 0.1 * stamp as f32 / stamps as f32 };
        let weights: Vec<f32> = (0..TOP).map(|rank| 1.0 / (rank as f32 + 2.0)).collect();
        let all: f32 = weights.iter().sum();
        let share = |(rank, weight): (usize, &f32)| {
            let mut node = || -> Vec<f32> {
                // Few flows on each node: now and then much, mostly little.
                (0..BINS).map(|_| (-chance.part().max(1e-6).ln()) * level * weight / all).collect()
            };
            let busy = (0..NODES).map(|_| node()).collect();
            Share { registry: name(stamp, rank).parse().expect("a name"), busy }
        };
        let shares: Vec<Share> = weights.iter().enumerate().map(share).collect();
        let nodes = (0..NODES).map(|node| {
            let bin = |bin: usize| {
                let sum: f32 = shares.iter().map(|share| share.busy[node][bin]).sum();
                Some(Bin { busy: (sum + 0.04).min(1.0), observed_seconds: 60.0, in_rotation_seconds: 60.0 })
            };
            let bins = (0..BINS).map(bin).collect();
            Node { name: format!("n{stamp:02}-{node}").parse().expect("a name"), cores: 16.0, bins }
        });
        let pool = Pool {
            role: Role::All,
            window: Window { first: 29_833_000, bins: BINS as u32, bin_seconds: 60 },
            nodes: nodes.collect(),
            shares,
            min_nodes: Some(NODES as u32),
            build: "1".into(),
            zones: None,
            past_p95: vec![0.5; 4],
        };
        for at in 0..each {
            let busy = weights.get(at).map_or(1e-5, |weight| f64::from(level * weight / all) * NODES as f64);
            fleet.registries.push(Registry {
                name: name(stamp, at).parse().expect("a name"),
                home_stamp: format!("s{stamp:02}").parse().expect("a name"),
                tenant: Some(format!("t{}", at % 100)),
                class: String::new(),
                measured: true,
                placement: vec![account(stamp).name],
                peak_bytes_per_second: busy * 1e9,
                peak_requests_per_second: busy * 100.0,
                mean_flows: busy * 30.0,
                hit_share: 0.9,
                hot_set_bytes: (busy * 5e10) as u64,
                pinned: None,
                keep_apart: Vec::new(),
                last_move: None,
            });
        }
        fleet.stamps.push(Stamp {
            name: format!("s{stamp:02}").parse().expect("a name"),
            state: StampState::Active,
            kind: StampKind::Shared,
            pools: vec![pool],
            held: None,
        });
    }
    fleet
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn main() {
    let policy = Policy::default();
    for (stamps, registries) in [(5, 2_500), (20, 10_000)] {
        let fleet = region(stamps, registries);
        let figures: usize = fleet
            .stamps
            .iter()
            .flat_map(|stamp| &stamp.pools)
            .map(|pool| (pool.shares.len() * 4 + size_of::<Option<Bin>>()) * pool.nodes.len() * BINS)
            .sum();
        let to = "s01".parse().expect("a name");
        let goals = [
            ("balance", Goal::Balance),
            ("move one", Goal::Move { registries: vec!["r00-0003".parse().expect("a name")], to }),
        ];
        for (word, goal) in goals {
            let (mut planned, mut checked) = (Vec::new(), Vec::new());
            let (mut moves, mut advice) = (0, 0);
            for _ in 0..ROUNDS {
                let begun = Instant::now();
                let plan = plan(&fleet, &policy, &goal, 1).expect("a plan");
                planned.push(begun.elapsed().as_secs_f64());
                let begun = Instant::now();
                let violations = check(&fleet, &policy, &plan);
                checked.push(begun.elapsed().as_secs_f64());
                assert!(violations.is_empty(), "{violations:?}");
                (moves, advice) = (plan.moves.len(), plan.recommendations.len());
            }
            println!(
                "{registries} registries, {} nodes, {stamps} stamps, {:.0} MiB of figures; {word}: plan {:.2} s, check \
                 {:.2} s; {moves} moves, {advice} recommendations",
                stamps * NODES,
                figures as f64 / f64::from(1 << 20),
                median(planned),
                median(checked)
            );
        }
    }
}

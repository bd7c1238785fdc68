//! The article's example as a region. What the article says and what is fitted to it, in one place.
//!
//! The article gives: one customer with 40 registries on two shared stamps; its top four have 96.7 % of its traffic, about
//! thirty are idle; A's data proxy pool goes from 43 to 28.5, and the other three pools by −44 %, −7 % and −33 %;
//! Max goes from 96 to 64 on A, by −5 points on B, flat on A's registry pool and by −3 points on B's.
//! Everything else here is fitted or assumed, and says so.

use dataproxy_planner::StampKind;
use dataproxy_router_api::{NameError, Role};

use crate::region::{Pool, Region, Storm};
use crate::rhythm::Rhythm;
use crate::town::{Town, Trade, zipf_shares};

/// Given: the top four have .967 of the customer's traffic. Fitted: how it is split between them. (One law of Zipf's
/// would need an exponent of 2.7 and put 79 % into one registry, so that only one stamp could gain.)
pub const TOP: [f64; 4] = [0.42, 0.28, 0.17, 0.097];
/// Fitted: the traffic of the six medium registries together, shared out by Zipf's law with exponent 1.
pub const MEDIUM: f64 = 0.029;
/// Fitted: the traffic of the thirty idle ones together.
pub const IDLE: f64 = 0.004;
/// Assumed: co-tenants of each stamp, and the exponent of Zipf's law between them.
pub const NEIGHBOURS: (usize, f64) = (25, 1.1);
/// Windows on which pools are made as hot as the article's were.
const FIT_WINDOWS: u64 = 16;
/// The tenant's number.
pub const CUSTOMER: u32 = 1_000;

/// One of the four pools of the article's table.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    /// Stamp, as a place in the region.
    pub stamp: usize,
    /// Role.
    pub role: Role,
    /// Assumed: nodes.
    pub nodes: usize,
    /// Assumed: flows at a time, on average, of all registries. Many small requests make little imbalance.
    pub flows: f64,
    /// Hot-node P95 before, in percent. Given for A's data proxies alone, assumed for the others.
    pub before: f64,
    /// Fitted: the customer's part of the flows.
    pub customer: f64,
    /// Given: relative change of P95, in percent.
    pub change: f64,
}

/// What the article says of a pool's maximum.
#[derive(Clone, Copy, Debug)]
pub enum MaxGoal {
    /// From and to, in percent.
    FromTo(f64, f64),
    /// By so many points.
    By(f64),
}

impl Fit {
    /// What the article calls it.
    pub fn name(&self) -> &'static str {
        match (self.stamp, self.role) {
            (A, Role::Registry) => "A registry",
            (A, _) => "A dataproxy",
            (_, Role::Registry) => "B registry",
            _ => "B dataproxy",
        }
    }

    /// Given: what its maximum did, in words and as figures.
    pub fn max_goal(&self) -> (&'static str, MaxGoal) {
        match (self.stamp, self.role) {
            (A, Role::Registry) => ("Max flat", MaxGoal::By(0.0)),
            (A, _) => ("Max 96 → 64", MaxGoal::FromTo(96.0, 64.0)),
            (_, Role::Registry) => ("Max −3 points", MaxGoal::By(-3.0)),
            _ => ("Max −5 points", MaxGoal::By(-5.0)),
        }
    }
}

/// Stamp A, as a place in the region.
pub const A: usize = 0;
/// Stamp B.
pub const B: usize = 1;
/// The stamp that the customer is isolated on.
pub const ISOLATION: usize = 2;

/// The four pools, in the order of the article's table.
pub const POOLS: [Fit; 4] = [
    Fit {
        stamp: A,
        role: Role::Registry,
        nodes: 8,
        flows: 800.0,
        before: 30.0,
        customer: 0.09,
        change: -7.0,
    },
    Fit {
        stamp: A,
        role: Role::Dataproxy,
        nodes: 12,
        flows: 240.0,
        before: 43.0,
        customer: 0.464,
        change: -33.7,
    },
    Fit {
        stamp: B,
        role: Role::Registry,
        nodes: 8,
        flows: 800.0,
        before: 36.0,
        customer: 0.40,
        change: -33.0,
    },
    Fit {
        stamp: B,
        role: Role::Dataproxy,
        nodes: 10,
        flows: 200.0,
        before: 50.0,
        customer: 0.585,
        change: -44.0,
    },
];

/// Assumed: nodes of the isolation stamp's pools. The article says nothing of where the customer went.
const ISOLATION_NODES: [(Role, usize); 2] = [(Role::Registry, 8), (Role::Dataproxy, 24)];

/// The customer's registries: name, stamp, part of the customer's traffic.
pub fn customers() -> Vec<(String, usize, f64)> {
    // Fitted: A has the first and the fourth, B the second and the third; the others alternate.
    let homes = [A, B, B, A];
    let top =
        TOP.iter().zip(homes).enumerate().map(|(at, (part, home))| (format!("top-{}", at + 1), home, *part));
    let medium = zipf_shares(6, 1.0).into_iter().enumerate();
    let medium = medium.map(|(at, part)| (format!("medium-{}", at + 1), at % 2, part * MEDIUM));
    let idle = (0..30).map(|at| (format!("idle-{:02}", at + 1), at % 2, IDLE / 30.0));
    top.chain(medium).chain(idle).map(|(name, home, part)| (format!("customer-{name}"), home, part)).collect()
}

/// The region before anything moved.
///
/// # Errors
///
/// None in practice: its names are names.
pub fn region() -> Result<Region, NameError> {
    let mut town = Town::new(0);
    for (stamp, name) in [(A, "a"), (B, "b")] {
        let pools = POOLS.iter().filter(|pool| pool.stamp == stamp);
        town.stamp_of(name, StampKind::Shared, pools.map(|pool| Pool::new(pool.role, pool.nodes)).collect())?;
    }
    let pools = ISOLATION_NODES.map(|(role, nodes)| Pool::new(role, nodes));
    town.stamp_of("iso", StampKind::Isolation, pools.into())?;
    let trade = Trade::ordinary();
    let mut first_neighbours = [0, 0];
    for stamp in [A, B] {
        let pools: Vec<_> = POOLS.into_iter().filter(|pool| pool.stamp == stamp).collect();
        for (rank, share) in zipf_shares(NEIGHBOURS.0, NEIGHBOURS.1).into_iter().enumerate() {
            let flows: Vec<_> =
                pools.iter().map(|pool| (pool.role, share * (1.0 - pool.customer) * pool.flows)).collect();
            let name = format!("{}-{:02}", ["a", "b"][stamp], rank + 1);
            let place = town.registry(&name, stamp, &flows, &trade)?;
            if rank == 0 {
                first_neighbours[stamp] = place;
            }
        }
    }
    // Assumed: the customer's day is livelier than its neighbours'.
    let lively = Trade { rhythm: Rhythm::daily(0.5, 0.35), ..trade };
    let mut first_customers = [0, 0];
    let customers = customers();
    for stamp in [A, B] {
        let here: f64 = customers.iter().filter(|(_, home, _)| *home == stamp).map(|(_, _, part)| part).sum();
        for (at, (name, _, part)) in customers.iter().filter(|(_, home, _)| *home == stamp).enumerate() {
            let pools = POOLS.iter().filter(|pool| pool.stamp == stamp);
            let flows: Vec<_> =
                pools.map(|pool| (pool.role, part / here * pool.customer * pool.flows)).collect();
            let place = town.registry(name, stamp, &flows, &lively)?;
            if at == 0 {
                first_customers[stamp] = place;
            }
        }
    }
    let mut region = town.region();
    for registry in
        region.registries.iter_mut().filter(|registry| registry.name.as_str().starts_with("customer"))
    {
        registry.tenant = CUSTOMER;
    }
    for pool in POOLS {
        region.heat(pool.stamp, pool.role, pool.before, FIT_WINDOWS);
    }
    // The spikes come last: they are no load that heating may scale.
    region.storms = storms(first_neighbours, first_customers);
    Ok(region)
}

/// Fitted: what makes the Max. It is scripted, since the article says of no spike whose it was: a co-tenant's alone stays
/// when the customer has gone.
fn storms(neighbours: [usize; 2], customers: [usize; 2]) -> Vec<Storm> {
    let storm = |stamp: usize, role, node, bin, neighbour, customer| {
        let mut causes = vec![(neighbours[stamp], neighbour)];
        if customer > 0.0 {
            causes.push((customers[stamp], customer));
        }
        Storm { stamp, role, node, bin, causes }
    };
    // With the idle 4 %: 96 of which 64 stay; 82 of which 77 stay; all of 62; 66 of which 63 stay.
    vec![
        storm(A, Role::Dataproxy, 3, 400, 0.60, 0.32),
        storm(B, Role::Dataproxy, 3, 500, 0.73, 0.05),
        storm(A, Role::Registry, 5, 350, 0.58, 0.0),
        storm(B, Role::Registry, 5, 450, 0.59, 0.03),
    ]
}

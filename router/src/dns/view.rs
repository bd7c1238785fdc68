//! Every name of the zone with what it stands for, at one revision.

use std::collections::HashMap;
use std::sync::Arc;

use dataproxy_router_api::{Revision, Snapshot, StampName};
use hickory_proto::rr::rdata::{NS, SOA};
use hickory_proto::rr::{Name, RData, Record};

use super::pool::{Endpoint, Pool};
use super::zone::Zone;

/// A table that answers come from. Immutable: a change is another view.
#[derive(Debug)]
pub struct View {
    pub(super) zone: Name,
    pub(super) ttl: u32,
    pub(super) soa: Record,
    pub(super) servers: Vec<Record>,
    names: HashMap<Name, Held>,
    revision: Revision,
}

#[derive(Debug)]
enum Held {
    /// Stands for addresses, perhaps none.
    Addresses(Arc<Pool>),
    /// There for the names below it alone.
    Between,
}

/// What a name is to the zone.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'v> {
    /// Not below it.
    Outside,
    /// Nobody has it.
    Nothing,
    /// It is the zone itself.
    Apex,
    /// There, and stands for nothing.
    Between,
    /// There, and stands for these.
    Addresses(&'v Pool),
}

impl View {
    /// The view of a snapshot.
    pub fn new(zone: &Zone, snapshot: &Snapshot) -> Self {
        let mut names = HashMap::with_capacity(snapshot.bindings.len() * 3 + 8);
        let region = snapshot.region.as_str();
        for between in [&["geo"][..], &[region, "geo"], &["data"], &[region, "data"]] {
            names.extend(zone.below(between).map(|name| (name, Held::Between)));
        }
        let pools: HashMap<&StampName, [Arc<Pool>; 2]> = snapshot
            .stamps
            .iter()
            .map(|stamp| {
                let pools = [Endpoint::Registry, Endpoint::Data].map(|what| Arc::new(Pool::of(stamp, what)));
                (&stamp.name, pools)
            })
            .collect();
        let nowhere = Arc::new(Pool::default());
        for binding in &snapshot.bindings {
            let registry = binding.registry.as_str();
            let [whole, data] =
                pools.get(&binding.home_stamp).map_or([&nowhere, &nowhere], |[whole, data]| [whole, data]);
            for (labels, pool) in [
                (&[registry][..], whole),
                (&[registry, region, "geo"], whole),
                (&[registry, region, "data"], data),
            ] {
                names.extend(zone.below(labels).map(|name| (name, Held::Addresses(Arc::clone(pool)))));
            }
        }
        for (server, addresses) in zone.servers.iter().filter(|(server, _)| zone.name.zone_of(server)) {
            let pool = Arc::new(addresses.iter().copied().collect());
            names.insert(server.clone(), Held::Addresses(pool));
            let mut above = server.base_name();
            while above.num_labels() > zone.name.num_labels() {
                names.entry(above.clone()).or_insert(Held::Between);
                above = above.base_name();
            }
        }
        Self {
            zone: zone.name.clone(),
            ttl: zone.ttl,
            soa: soa(zone, snapshot.revision),
            servers: zone
                .servers
                .iter()
                .map(|(server, _)| {
                    Record::from_rdata(zone.name.clone(), zone.ttl, RData::NS(NS(server.clone())))
                })
                .collect(),
            names,
            revision: snapshot.revision,
        }
    }

    /// The snapshot's revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// What a name is, in any case of its letters.
    pub(super) fn find(&self, name: &Name) -> Found<'_> {
        match self.names.get(name) {
            Some(Held::Addresses(pool)) => Found::Addresses(pool),
            Some(Held::Between) => Found::Between,
            None if *name == self.zone => Found::Apex,
            None if self.zone.zone_of(name) => Found::Nothing,
            None => Found::Outside,
        }
    }
}

/// Its serial is the revision, as far as 32 bits go; secondaries are not served, so nothing else compares it.
/// Its own TTL and its minimum bound how long an absence is believed (RFC 2308 §5).
fn soa(zone: &Zone, revision: Revision) -> Record {
    let (minute, week) = (60, 7 * 24 * 3600);
    let server = zone.servers.first().map_or_else(Name::root, |(server, _)| server.clone());
    let person = zone.below(&["hostmaster"]).unwrap_or_else(|| zone.name.clone());
    let serial = u32::try_from(revision.0 & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    let soa = SOA::new(server, person, serial, minute, minute, week, zone.negative_ttl);
    Record::from_rdata(zone.name.clone(), zone.negative_ttl, RData::SOA(soa))
}

//! A zone of so many registries in two stamps, answered until it is killed: what `bench/dns` measures.
//!
//! ```console
//! $ cargo run --release -p dataproxy-router --example dns -- 127.0.0.1:5353 registry.test 1000
//! $ dig @127.0.0.1 -p 5353 r7.registry.test
//! ```

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use dataproxy_router::dns::{Bounds, DnsServer, View, Zone, ZoneSettings};
use dataproxy_router_api::{Binding, Node, Placement, Revision, Role, Snapshot, Stamp};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, zone, count] = &args[..] else {
        return Err("ADDRESS ZONE REGISTRIES, such as 127.0.0.1:5353 registry.test 1000".into());
    };
    let zone = Zone::new(&ZoneSettings::new(zone))?;
    let view = View::new(&zone, &region(count.parse()?)?);
    let server = DnsServer::bind(&[address.parse()?], Bounds::default()).await?;
    println!("answers at {address}");
    server.run(Arc::new(ArcSwap::from_pointee(view))).await;
    Ok(())
}

/// Stamps of two nodes each, with the registries `r0`, `r1`, … in turn.
fn region(registries: u32) -> Result<Snapshot, Box<dyn Error>> {
    let mut snapshot = Snapshot::empty("west".parse()?);
    snapshot.revision = Revision(1);
    for (name, third) in [("a", 1), ("b", 2)] {
        let mut stamp = Stamp::new(name.parse()?);
        for number in 1..=2 {
            let ip = Ipv4Addr::new(192, 0, third, number);
            let name = format!("{name}{number}").parse()?;
            stamp.nodes.push(Node::new(name, (ip, 5000).into(), (ip, 9100).into(), Role::All));
        }
        snapshot.stamps.push(stamp);
    }
    for number in 0..registries {
        let home = if number % 2 == 0 { "a" } else { "b" };
        let placement = Placement::new("accounta".parse()?, "c");
        snapshot.bindings.push(Binding::new(format!("r{number}").parse()?, home.parse()?, placement));
    }
    Ok(snapshot)
}

//! A region with one registry at stamp `a` or `b`, and a server of its zone.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use dataproxy_router::dns::{Bounds, DnsServer, View, Zone, ZoneSettings};
use dataproxy_router_api::{Binding, Node, Placement, Revision, Role, Snapshot, Stamp};
use tokio::task::JoinHandle;

/// A snapshot where `contoso` is at home in `home`, and each stamp has so many nodes.
pub(crate) fn snapshot(revision: u64, home: &str, nodes: u8) -> Snapshot {
    let stamp = |name: &str, third: u8| {
        let mut stamp = Stamp::new(name.parse().expect("a name"));
        stamp.nodes = (1..=nodes)
            .map(|number| {
                let ip = Ipv4Addr::new(192, 0, third, number);
                let name = format!("{name}{number}").parse().expect("a name");
                Node::new(name, (ip, 5000).into(), (ip, 9100).into(), Role::All)
            })
            .collect();
        stamp
    };
    let placement = Placement::new("accounta".parse().expect("a name"), "contoso");
    let home = home.parse().expect("a name");
    let mut snapshot = Snapshot::empty("west".parse().expect("a name"));
    snapshot.revision = Revision(revision);
    snapshot.stamps = vec![stamp("a", 1), stamp("b", 2)];
    snapshot.bindings = vec![Binding::new("contoso".parse().expect("a name"), home, placement)];
    snapshot
}

/// A running server.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    view: Arc<ArcSwap<View>>,
    zone: Zone,
    task: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn start(snapshot: &Snapshot, bounds: Bounds) -> Self {
        let zone = Zone::new(&ZoneSettings::new("registry.test")).expect("a zone");
        let view = Arc::new(ArcSwap::from_pointee(View::new(&zone, snapshot)));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = DnsServer::bind(&[any], bounds).await.expect("bound");
        let address = server.addresses()[0];
        let task = tokio::spawn(server.run(Arc::clone(&view)));
        Self { address, view, zone, task }
    }

    pub(crate) fn show(&self, snapshot: &Snapshot) {
        self.view.store(Arc::new(View::new(&self.zone, snapshot)));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

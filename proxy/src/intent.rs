//! Hears what a router asks of this node, and asks it of the node's life.

use dataproxy_router_api::{Incarnation, NodeName};

use crate::bindings::{Bindings, Table};
use crate::lifecycle::{Lifecycle, Source, Wish};

/// What `table` asks of a process of the node `name`. A drain is asked of one process: one that started later serves.
fn wish(table: &Table, name: &NodeName, incarnation: Incarnation) -> Wish {
    table.node(name).map_or(Wish::Serve, |node| Wish::of(&node.intent, incarnation))
}

/// Asks of `life` whatever a router asks of the node, for as long as it is polled.
pub(crate) async fn follow(bindings: &Bindings, name: &NodeName, incarnation: Incarnation, life: &Lifecycle) {
    let (mut changes, mut asked) = (bindings.changes(), Wish::Serve);
    loop {
        let wish = wish(&bindings.current(), name, incarnation);
        if wish != asked {
            asked = wish;
            if let Err(error) = life.ask(Source::Router, wish) {
                tracing::warn!(wish = wish.as_str(), %error, "a router asks too late");
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dataproxy_router_api::{Intent, Node, Role};

    use super::*;
    use crate::lifecycle::{State, Timers};
    use crate::routers::scripted::snapshot;

    fn table(revision: u64, intent: Intent) -> Table {
        let mut snapshot = snapshot(revision, "a");
        let address = "127.0.1.1:5000".parse().expect("an address");
        let node = Node::new("a1".parse().expect("a name"), address, address, Role::All);
        snapshot.stamps[0].nodes = vec![Node { intent, ..node }];
        Table::new(snapshot)
    }

    #[tokio::test]
    async fn a_cordon_and_a_drain_are_obeyed_by_the_process_that_is_meant_and_taken_back() {
        let (mine, other) = (Incarnation(7), Incarnation(8));
        let drain = |incarnation| Intent::Drain { incarnation, deadline_seconds: 60 };
        let bindings = Arc::new(Bindings::new(table(1, drain(other))));
        let life = Lifecycle::new(Timers::default());
        life.opened();
        let (followed, led) = (Arc::clone(&bindings), life.clone());
        let task = tokio::spawn(async move {
            follow(&followed, &"a1".parse().expect("a name"), mine, &led).await;
        });
        let mut seen = life.state();
        assert_eq!(seen, State::Ready, "a drain of a process before it is not its own");
        for (revision, intent, state) in [
            (2, Intent::Cordon, State::LameDuck),
            (3, Intent::Serve, State::Ready),
            (4, drain(mine), State::Draining),
            (5, Intent::Serve, State::Ready),
        ] {
            bindings.replace(table(revision, intent)).expect("newer");
            while seen != state {
                seen = life.leaves(seen).await;
                // A drain without a lame duck looks for itself; the node's loop does that.
                life.look(1);
            }
        }
        task.abort();
    }
}

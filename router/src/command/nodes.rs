//! Nodes: what they say of themselves, and what is asked of them.

use dataproxy_router_api::{Intent, Node, NodeName, NodeReport, NodeState};

use super::{Decision, Refusal, Wish};
use crate::record::{NodeRecord, Record, node_key, stamp_key};
use crate::state::State;

fn known<'s>(state: &'s State, name: &NodeName) -> Result<&'s NodeRecord, Refusal> {
    state.node(name).map(|node| &node.value).ok_or_else(|| {
        Refusal::not_found("node", format!("there is no node {name}; stampctl node ls shows those there are"))
    })
}

fn asked(record: &NodeRecord, intent: Intent, done: String) -> Decision {
    if record.node.intent == intent {
        return Decision::nothing(done);
    }
    let node = Node { intent, ..record.node.clone() };
    Decision::put(Record::Node(NodeRecord { node, ..record.clone() }), done)
}

pub(super) fn wish(state: &State, name: &NodeName, wish: Wish) -> Result<Decision, Refusal> {
    let record = known(state, name)?;
    match wish {
        Wish::Uncordon => Ok(asked(record, Intent::Serve, format!("uncordoned node {name}"))),
        Wish::Cordon => Ok(asked(record, Intent::Cordon, format!("cordoned node {name}"))),
        Wish::Drain { deadline_seconds } => {
            if record.node.state == NodeState::Gone {
                return Err(Refusal::conflict(
                    "node-gone",
                    format!(
                        "node {name} does not report, so that there is nothing to drain; stampctl node forget {name} takes it off the list"
                    ),
                ));
            }
            let intent = Intent::Drain { incarnation: record.incarnation, deadline_seconds };
            Ok(asked(record, intent, format!("drains node {name}, within {deadline_seconds} s")))
        }
    }
}

pub(super) fn forget(state: &State, name: &NodeName) -> Result<Decision, Refusal> {
    let Some(record) = state.node(name) else {
        return Ok(Decision::nothing(format!("there is no node {name} already")));
    };
    if record.value.node.state != NodeState::Gone {
        return Err(Refusal::conflict(
            "node-reports",
            format!(
                "node {name} is {}; it is forgotten once it is gone, so drain it first (stampctl node drain {name})",
                record.value.node.state.as_str()
            ),
        ));
    }
    Ok(Decision { deletes: vec![node_key(name)], done: format!("forgot node {name}"), ..Decision::default() })
}

pub(super) fn reported(state: &State, report: &NodeReport) -> Result<Decision, Refusal> {
    let name = report.name();
    if report.region != *state.region() {
        return Err(Refusal::invalid(
            "region",
            format!(
                "node {name} is of region {}, and this router of {}; one of the two is set up wrong",
                report.region,
                state.region()
            ),
        ));
    }
    if state.stamp_record(&report.stamp).is_none() {
        return Err(Refusal::conflict(
            "stamp",
            format!(
                "node {name} is of stamp {}, which is not there; make it first (stampctl stamp create {})",
                report.stamp, report.stamp
            ),
        ));
    }
    if report.node.address == report.node.admin {
        return Err(Refusal::invalid(
            "address",
            format!(
                "node {name} has {} for pulls and for its admin listener; each listener has its own",
                report.node.address
            ),
        ));
    }
    let clashing = || state.nodes().map(|other| &other.value).filter(|other| clash(other, report));
    if let Some(other) = clashing().find(|other| other.node.state != NodeState::Gone) {
        return Err(Refusal::conflict(
            "address",
            format!("node {name} has an address of node {}; each listener has its own", other.node.name),
        ));
    }
    let before = state.node(name).map(|record| &record.value);
    // What was asked of a process is not asked of the one after it.
    let intent = match before.map(|before| before.node.intent) {
        Some(Intent::Drain { incarnation, .. }) if incarnation != report.incarnation => Intent::Serve,
        Some(intent) => intent,
        None => Intent::Serve,
    };
    let record = NodeRecord {
        stamp: report.stamp.clone(),
        node: Node { intent, ..report.node.clone() },
        incarnation: report.incarnation,
        version: report.version.clone(),
    };
    if before == Some(&record) {
        return Ok(Decision::nothing(format!("node {name} is as it was")));
    }
    let done = format!("node {name} of stamp {} is {}", record.stamp, record.node.state.as_str());
    let mut decision = Decision::put(Record::Node(record), done).resting_on(stamp_key(&report.stamp));
    // A machine that took the place of one that is gone.
    decision.deletes.extend(clashing().map(|other| node_key(&other.node.name)));
    Ok(decision)
}

/// Whether another node has one of the addresses.
fn clash(other: &NodeRecord, report: &NodeReport) -> bool {
    let (mine, theirs) = (&report.node, &other.node);
    mine.name != theirs.name
        && [mine.address, mine.admin].iter().any(|address| [theirs.address, theirs.admin].contains(address))
}

pub(super) fn silent(state: &State, name: &NodeName) -> Result<Decision, Refusal> {
    let record = known(state, name)?;
    if record.node.state == NodeState::Gone {
        return Ok(Decision::nothing(format!("node {name} is gone already")));
    }
    let node = Node { state: NodeState::Gone, ..record.node.clone() };
    let done = format!("node {name} of stamp {} does not report any more", record.stamp);
    Ok(Decision::put(Record::Node(NodeRecord { node, ..record.clone() }), done))
}

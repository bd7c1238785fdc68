//! The next step of a restart, from what is known of the stamp's nodes.

use std::time::Duration;

use dataproxy_router_api::{Incarnation, Intent, NodeName, NodeState, Role};

use super::{NodeTurn, Restart, RestartState, Turn};
use crate::migration::UnixMillis;

/// A node of the stamp, as it last told of itself.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its name.
    pub name: NodeName,
    /// What it serves.
    pub role: Role,
    /// Its process.
    pub incarnation: Incarnation,
    /// Where it is in its life.
    pub state: NodeState,
    /// What is asked of it.
    pub intent: Intent,
    /// Whether it reports.
    pub is_live: bool,
    /// Whether it works from a revision in which it is as it is now.
    pub acknowledges: bool,
}

impl Seen {
    fn in_rotation(&self) -> bool {
        self.state == NodeState::Ready && self.intent == Intent::Serve
    }

    /// What it is, in words.
    fn words(&self) -> String {
        match (self.state, self.intent) {
            (NodeState::Ready, Intent::Cordon) => "cordoned".to_owned(),
            (NodeState::Ready, Intent::Drain { .. }) => "asked to drain".to_owned(),
            (NodeState::Ready, Intent::Serve) if !self.is_live => "silent".to_owned(),
            (NodeState::Ready, Intent::Serve) if !self.acknowledges => {
                "ready, and does not yet work from the revision that says so".to_owned()
            }
            (state, _) => state.as_str().to_owned(),
        }
    }
}

/// What to do with a restart now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet; these are the words for what is awaited.
    Waits(String),
    /// Ask this node to drain.
    Drain(NodeName),
    /// This node's process has ended.
    Left(NodeName),
    /// This node serves again, or is no more.
    Back {
        /// Its name.
        node: NodeName,
        /// How that came about.
        how: String,
    },
    /// Go no further until somebody has looked.
    Pause(String),
    /// All have had their turn.
    Finish,
}

/// The next step. `moving` is a move from or to the stamp.
pub fn next(restart: &Restart, nodes: &[Seen], moving: Option<&str>, now: UnixMillis) -> Step {
    if restart.state != RestartState::Running {
        return Step::Waits(format!("nothing: it is {}", restart.state.as_str()));
    }
    if let Some(reason) = &restart.paused {
        return Step::Waits(format!("paused: {reason}"));
    }
    let of = |name: &NodeName| nodes.iter().find(|seen| seen.name == *name);
    let mut awaited = None;
    for turn in restart.nodes.iter().filter(|turn| matches!(turn.turn, Turn::Draining | Turn::Away)) {
        match out(restart, turn, of(&turn.name), now) {
            Step::Waits(words) => awaited = awaited.or(Some(words)),
            step => return step,
        }
    }
    match restart.nodes.iter().find(|turn| turn.turn == Turn::Waiting) {
        Some(turn) => begin(restart, turn, nodes, moving, awaited, now),
        None => awaited.map_or(Step::Finish, Step::Waits),
    }
}

fn forgotten(name: &NodeName) -> Step {
    Step::Back { node: name.clone(), how: format!("node {name} was forgotten") }
}

/// A node that is out.
fn out(restart: &Restart, turn: &NodeTurn, seen: Option<&Seen>, now: UnixMillis) -> Step {
    let NodeTurn { name, before, .. } = turn;
    let Some(seen) = seen else { return forgotten(name) };
    let (spent, is_new) = (now.since(turn.since), seen.incarnation != *before);
    if turn.turn == Turn::Draining {
        if is_new || seen.state == NodeState::Gone {
            return Step::Left(name.clone());
        }
        if !matches!(seen.intent, Intent::Drain { incarnation, .. } if incarnation == *before) {
            return Step::Pause(format!("node {name} was told to stay while it drained"));
        }
        let limit = restart.terms.drain();
        if spent >= limit {
            return Step::Pause(format!("node {name} has not ended within {} s", limit.as_secs()));
        }
        return Step::Waits(format!("node {name} drains, for {} s now", spent.as_secs()));
    }
    if is_new && seen.is_live && seen.in_rotation() && seen.acknowledges {
        return Step::Back { node: name.clone(), how: format!("node {name} serves again") };
    }
    let words = if is_new { seen.words() } else { "not started again".to_owned() };
    let limit = u64::from(restart.terms.back_seconds);
    if spent >= Duration::from_secs(limit) {
        return Step::Pause(format!("node {name} does not serve again within {limit} s: it is {words}"));
    }
    Step::Waits(format!("node {name} is {words}, {} s after its end", spent.as_secs()))
}

/// The node whose turn is next.
fn begin(
    restart: &Restart,
    turn: &NodeTurn,
    nodes: &[Seen],
    moving: Option<&str>,
    awaited: Option<String>,
    now: UnixMillis,
) -> Step {
    let name = &turn.name;
    let Some(seen) = nodes.iter().find(|seen| seen.name == *name) else { return forgotten(name) };
    if seen.incarnation != turn.before || seen.state == NodeState::Gone {
        // By itself: it need only come back.
        return Step::Left(name.clone());
    }
    if !seen.in_rotation() || !seen.is_live {
        return Step::Waits(awaited.unwrap_or_else(|| {
            format!("node {name} is {}; it has its turn once it is in rotation", seen.words())
        }));
    }
    if let Some(id) = moving {
        return Step::Waits(format!("move {id} has to end first"));
    }
    let settle = Duration::from_secs(restart.terms.settle_seconds.into());
    let settles = |turn: &&NodeTurn| turn.turn == Turn::Back && now.since(turn.since) < settle;
    let settling: Vec<&NodeName> = restart.nodes.iter().filter(settles).map(|turn| &turn.name).collect();
    // A new process may say that it is ready before it counts as back.
    let is_taken = |seen: &Seen| {
        let turn = restart.nodes.iter().find(|turn| turn.name == seen.name).map(|turn| turn.turn);
        matches!(turn, Some(Turn::Draining | Turn::Away)) || settling.contains(&&seen.name)
    };
    let is_out = |seen: &&Seen| !seen.in_rotation() || !seen.is_live || is_taken(seen);
    let unavailable: Vec<&str> = nodes.iter().filter(is_out).map(|seen| seen.name.as_str()).collect();
    if unavailable.len() >= usize::try_from(restart.terms.max_unavailable).unwrap_or(usize::MAX) {
        return Step::Waits(awaited.unwrap_or_else(|| match settling.first() {
            Some(back) => format!("node {back} serves for {} s before the next one drains", settle.as_secs()),
            None => format!("{} is out of rotation already", unavailable.join(", ")),
        }));
    }
    let others = nodes.iter().filter(|other| other.name != *name && !is_out(other));
    match only_one(seen.role, others.map(|other| other.role)) {
        Some(what) => Step::Waits(format!("node {name} is the only one in rotation that serves {what}")),
        None => Step::Drain(name.clone()),
    }
}

/// What nobody would serve without a node of this role, if only these others did.
pub fn only_one(role: Role, others: impl Iterator<Item = Role>) -> Option<&'static str> {
    let serves = |role: Role| match role {
        Role::All => [true, true],
        Role::Registry => [true, false],
        Role::Dataproxy => [false, true],
    };
    let [registry, data] = others.map(serves).fold([false; 2], |[a, b], [c, d]| [a || c, b || d]);
    match serves(role) {
        [true, _] if !registry => Some("manifests"),
        [_, true] if !data => Some("blobs"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

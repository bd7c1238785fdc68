//! Restarts of stamps: begun, led on node by node, paused, given up.

use dataproxy_router_api::{Intent, Node, NodeName, NodeState, StampName, StampState};

use super::{Decision, Occasion, Refusal, RestartVerb};
use crate::migration::UnixMillis;
use crate::record::{NodeRecord, Record, stamp_key};
use crate::restart::{NodeTurn, Restart, RestartState, RestartTerms, Step, Turn, only_one};
use crate::state::State;

pub(super) fn begin(
    state: &State,
    stamp: &StampName,
    terms: RestartTerms,
    occasion: &Occasion,
) -> Result<Decision, Refusal> {
    let Some(known) = state.stamp_record(stamp).filter(|known| known.value.state != StampState::Retired)
    else {
        return Err(Refusal::not_found("stamp", format!("there is no stamp {stamp} that serves")));
    };
    let before = state.restart(stamp).map(|restart| &restart.value);
    if before.is_some_and(|restart| !restart.state.has_ended()) {
        return Ok(Decision::nothing(format!("stamp {stamp} restarts already")));
    }
    let nodes: Vec<&NodeRecord> = state.nodes_of(&known.value.name).map(|record| &record.value).collect();
    may_begin(state, stamp, terms, &nodes)?;
    let serving = nodes.iter().filter(|record| record.node.in_rotation());
    let mut restart = Restart {
        stamp: stamp.clone(),
        number: before.map_or(0, |before| before.number) + 1,
        state: RestartState::Running,
        terms,
        paused: None,
        nodes: serving.map(|record| waiting(record, occasion.now)).collect(),
        began: occasion.now,
        ended: None,
        story: Vec::new(),
    };
    restart.tell(occasion.now, told(&format!("{} begins", occasion.actor), &occasion.reason));
    let names: Vec<&str> = restart.nodes.iter().map(|turn| turn.name.as_str()).collect();
    let done = format!(
        "restarts stamp {stamp}: {}, with at most {} out of rotation at a time",
        names.join(", "),
        terms.max_unavailable
    );
    Ok(Decision::put(Record::Restart(restart), done).resting_on(stamp_key(stamp)))
}

fn waiting(record: &NodeRecord, now: UnixMillis) -> NodeTurn {
    let NodeRecord { node, incarnation, .. } = record;
    NodeTurn { name: node.name.clone(), before: *incarnation, turn: Turn::Waiting, since: now }
}

/// A line of the story, with the reason if one was given.
fn told(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") }
}

/// Refuses a restart that could not come to its end, or would leave nobody to serve.
fn may_begin(
    state: &State,
    stamp: &StampName,
    terms: RestartTerms,
    nodes: &[&NodeRecord],
) -> Result<(), Refusal> {
    if terms.max_unavailable == 0 {
        return Err(Refusal::invalid(
            "max-unavailable",
            "max_unavailable is 0, so that no node could ever drain; 1 and more are right".into(),
        ));
    }
    if let Some(moving) = state.moving_at(stamp) {
        return Err(Refusal::conflict(
            "moving",
            format!(
                "registry {} moves from {} to {} ({}); a stamp is restarted when no move leads from or to it",
                moving.registry, moving.from, moving.to, moving.id
            ),
        ));
    }
    let (serving, out): (Vec<&NodeRecord>, Vec<&NodeRecord>) =
        nodes.iter().partition(|record| record.node.in_rotation());
    let kept = out.iter().find(|record| record.node.state != NodeState::Gone);
    if let Some(NodeRecord { node, .. }) = kept {
        let name = &node.name;
        let is = if node.intent == Intent::Cordon { "cordoned" } else { node.state.as_str() };
        return Err(Refusal::conflict(
            "node-in-rotation",
            format!(
                "node {name} of stamp {stamp} is {is}; let it serve first (stampctl node uncordon {name}), or drain nodes one by one"
            ),
        ));
    }
    let max = usize::try_from(terms.max_unavailable).unwrap_or(usize::MAX);
    if max >= serving.len() {
        let (ready, most) = (serving.len(), serving.len().saturating_sub(1));
        let right = if most == 0 {
            "it takes two nodes and more; move its registries away first (stampctl stamp evacuate)".to_owned()
        } else {
            format!("at most {most} is right")
        };
        return Err(Refusal::conflict(
            "max-unavailable",
            format!(
                "stamp {stamp} has {ready} nodes in rotation, and {max} of them could be out at a time: nobody would serve; {right}"
            ),
        ));
    }
    if out.len() >= max {
        let names: Vec<&str> = out.iter().map(|record| record.node.name.as_str()).collect();
        return Err(Refusal::conflict(
            "node-gone",
            format!(
                "{} of stamp {stamp} is gone, and counts as out of rotation; start it, or take it off the list (stampctl node forget), or allow more at a time",
                names.join(", ")
            ),
        ));
    }
    let alone = serving.iter().find_map(|record| {
        let others = serving.iter().filter(|other| other.node.name != record.node.name);
        only_one(record.node.role, others.map(|other| other.node.role)).map(|what| (&record.node.name, what))
    });
    if let Some((name, what)) = alone {
        return Err(Refusal::conflict(
            "only-one",
            format!(
                "node {name} is the only one of stamp {stamp} that serves {what}; it takes two to restart one"
            ),
        ));
    }
    Ok(())
}

pub(super) fn steer(
    state: &State,
    stamp: &StampName,
    verb: &RestartVerb,
    occasion: &Occasion,
) -> Result<Decision, Refusal> {
    let Some(restart) = state.restart(stamp).map(|restart| &restart.value) else {
        return Err(Refusal::not_found(
            "restart",
            format!("stamp {stamp} was not restarted; stampctl stamp restart {stamp} begins it"),
        ));
    };
    let now = occasion.now;
    let mut next = restart.clone();
    if restart.state.has_ended() {
        let is = restart.state.as_str();
        return match verb {
            RestartVerb::Abort | RestartVerb::Step(_) => {
                Ok(Decision::nothing(format!("the restart of stamp {stamp} is {is} already")))
            }
            RestartVerb::Pause | RestartVerb::Resume => Err(Refusal::conflict(
                "restart-state",
                format!("the restart of stamp {stamp} is {is}; begin another"),
            )),
        };
    }
    let done = match verb {
        RestartVerb::Pause if restart.paused.is_some() => {
            return Ok(Decision::nothing(format!("the restart of stamp {stamp} is paused already")));
        }
        RestartVerb::Pause => {
            next.paused = Some(occasion.reason.clone());
            next.tell(now, told(&format!("{} pauses", occasion.actor), &occasion.reason));
            format!("paused the restart of stamp {stamp}")
        }
        RestartVerb::Resume if restart.paused.is_none() => {
            return Ok(Decision::nothing(format!("the restart of stamp {stamp} is not paused")));
        }
        RestartVerb::Resume => {
            next.paused = None;
            // Who was late has its whole time again.
            let is_out = |turn: &&mut NodeTurn| matches!(turn.turn, Turn::Draining | Turn::Away);
            next.nodes.iter_mut().filter(is_out).for_each(|turn| turn.since = now);
            next.tell(now, told(&format!("{} resumes", occasion.actor), &occasion.reason));
            format!("resumed the restart of stamp {stamp}")
        }
        RestartVerb::Abort => {
            (next.state, next.ended, next.paused) = (RestartState::Aborted, Some(now), None);
            next.tell(now, told(&format!("{} aborts", occasion.actor), &occasion.reason));
            format!("aborted the restart of stamp {stamp}")
        }
        RestartVerb::Step(step) => return take(state, next, step, now),
    };
    Ok(Decision::put(Record::Restart(next), done))
}

/// The step that is due, if the state is still one for it.
fn take(state: &State, mut next: Restart, step: &Step, now: UnixMillis) -> Result<Decision, Refusal> {
    let stamp = next.stamp.clone();
    let stale = || {
        Refusal::conflict(
            "restart-state",
            format!("the restart of stamp {stamp} is not where the step was made for"),
        )
    };
    if next.paused.is_some() {
        return Ok(Decision::nothing(format!("the restart of stamp {stamp} is paused")));
    }
    let mut turn = |node: &NodeName, from: &[Turn], to: Turn| {
        let turn = next.nodes.iter_mut().find(|turn| turn.name == *node && from.contains(&turn.turn));
        let turn = turn.ok_or_else(stale)?;
        (turn.turn, turn.since) = (to, now);
        Ok::<_, Refusal>(turn.before)
    };
    let (mut asked, done) = match step {
        Step::Waits(_) => return Ok(Decision::nothing(format!("the restart of stamp {stamp} waits"))),
        Step::Drain(name) => {
            let before = turn(name, &[Turn::Waiting], Turn::Draining)?;
            let record = state.node(name).map(|record| &record.value).ok_or_else(stale)?;
            if record.incarnation != before || !record.node.in_rotation() {
                return Err(stale());
            }
            let deadline_seconds = next.terms.deadline_seconds;
            let intent = Intent::Drain { incarnation: before, deadline_seconds };
            let node = Node { intent, ..record.node.clone() };
            let done = format!("node {name} of stamp {stamp} drains to restart, within {deadline_seconds} s");
            (Some(Record::Node(NodeRecord { node, ..record.clone() })), done)
        }
        Step::Left(name) => {
            turn(name, &[Turn::Waiting, Turn::Draining], Turn::Away)?;
            (None, format!("node {name} of stamp {stamp} has ended"))
        }
        Step::Back { node, how } => {
            turn(node, &[Turn::Waiting, Turn::Draining, Turn::Away], Turn::Back)?;
            (None, format!("restart of stamp {stamp}: {how}"))
        }
        Step::Pause(why) => {
            next.paused = Some(why.clone());
            (None, format!("paused the restart of stamp {stamp}: {why}"))
        }
        Step::Finish => {
            if next.nodes.iter().any(|turn| turn.turn != Turn::Back) {
                return Err(stale());
            }
            (next.state, next.ended) = (RestartState::Done, Some(now));
            (None, format!("restarted stamp {stamp}"))
        }
    };
    next.tell(now, done.clone());
    let mut decision = Decision::put(Record::Restart(next), done);
    decision.puts.extend(asked.take());
    Ok(decision)
}

#[cfg(test)]
mod tests;

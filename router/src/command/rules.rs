//! Pins, the freeze and the policy: what moves and plans have to keep to.

use dataproxy_router_api::RegistryName;

use super::{Decision, Occasion, Refusal, registries};
use crate::migration::UnixMillis;
use crate::record::{FREEZE, FreezeRecord, PinRecord, PolicyRecord, Record, pin_key, registry_key};
use crate::state::State;

/// Refuses a move that begins while none may, or of a registry that is to stay.
pub(super) fn may_move(state: &State, registry: &RegistryName, now: UnixMillis) -> Result<(), Refusal> {
    if let Some(freeze) = state.freeze(now) {
        return Err(Refusal::conflict(
            "freeze",
            format!(
                "no move begins: frozen by {}: {}; lift it with: stampctl freeze off",
                freeze.by, freeze.reason
            ),
        ));
    }
    if let Some(pin) = state.pin(registry) {
        return Err(Refusal::conflict(
            "pinned",
            format!(
                "registry {registry} stays where it is, pinned by {}: {}; let it go with: stampctl registry unpin {registry}",
                pin.by, pin.reason
            ),
        ));
    }
    Ok(())
}

pub(super) fn pin(
    state: &State,
    registry: &RegistryName,
    stays: bool,
    occasion: &Occasion,
) -> Result<Decision, Refusal> {
    if !stays {
        return Ok(match state.pin(registry) {
            None => Decision::nothing(format!("registry {registry} is not pinned")),
            Some(_) => Decision {
                deletes: vec![pin_key(registry)],
                done: format!("unpinned registry {registry}"),
                ..Decision::default()
            },
        });
    }
    registries::known(state, registry)?;
    reasoned(occasion, "a pin")?;
    let (by, reason, at) = (occasion.actor.clone(), occasion.reason.clone(), occasion.now);
    let pin = PinRecord { registry: registry.clone(), reason, by, at };
    let same = |before: &PinRecord| before.reason == pin.reason && before.by == pin.by;
    if state.pin(registry).is_some_and(same) {
        return Ok(Decision::nothing(format!("registry {registry} is pinned already")));
    }
    Ok(Decision::put(Record::Pin(pin), format!("pinned registry {registry}"))
        .resting_on(registry_key(registry)))
}

fn reasoned(occasion: &Occasion, what: &str) -> Result<(), Refusal> {
    if occasion.reason.trim().is_empty() {
        let why = format!("{what} needs a reason, for those who meet it: --reason TEXT");
        return Err(Refusal::invalid("reason", why));
    }
    Ok(())
}

pub(super) fn freeze(
    state: &State,
    holds: bool,
    until: Option<UnixMillis>,
    occasion: &Occasion,
) -> Result<Decision, Refusal> {
    if !holds {
        // One whose time is up is taken away as well.
        return Ok(match state.version(FREEZE) {
            None => Decision::nothing("there is no freeze"),
            Some(_) => Decision {
                deletes: vec![FREEZE.into()],
                done: "lifted the freeze".into(),
                ..Decision::default()
            },
        });
    }
    reasoned(occasion, "a freeze")?;
    if until.is_some_and(|until| until <= occasion.now) {
        return Err(Refusal::invalid(
            "until",
            "the freeze would be over already; name a time to come".into(),
        ));
    }
    let (by, reason, since) = (occasion.actor.clone(), occasion.reason.clone(), occasion.now);
    let freeze = FreezeRecord { reason, by, since, until };
    let same = |before: &FreezeRecord| FreezeRecord { since, ..before.clone() } == freeze;
    if state.freeze(occasion.now).is_some_and(same) {
        return Ok(Decision::nothing("moves are frozen already"));
    }
    Ok(Decision::put(Record::Freeze(freeze), "froze all moves"))
}

pub(super) fn put_policy(state: &State, policy: &PolicyRecord) -> Result<Decision, Refusal> {
    if let Some(fault) = policy.execution.fault() {
        return Err(Refusal::invalid("policy", fault));
    }
    if state.policy() == Some(policy) {
        return Ok(Decision::nothing("the policy is so already"));
    }
    Ok(Decision::put(Record::Policy(policy.clone()), "set the policy"))
}

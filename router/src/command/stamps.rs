//! Stamps: made, given accounts, cordoned, retired.

use dataproxy_router_api::{AccountName, Stamp, StampName, StampState};

use super::{Decision, Refusal};
use crate::record::{Record, StampRecord, stamp_key};
use crate::state::State;

pub(super) fn put(
    state: &State,
    name: &StampName,
    accounts: Option<&[AccountName]>,
    wanted: Option<StampState>,
) -> Result<Decision, Refusal> {
    let known = state.stamp_record(name).map(|known| &known.value);
    let accounts = accounts.or(known.map(|known| known.accounts.as_slice())).unwrap_or_default();
    let wanted = wanted.or(known.map(|known| known.state)).unwrap_or_default();
    let record = StampRecord { name: name.clone(), accounts: accounts.to_vec(), state: wanted };
    if known == Some(&record) {
        return Ok(Decision::nothing(format!("stamp {name} is so already")));
    }
    own_accounts(state, name, accounts)?;
    if let Some(known) = known {
        keeps_accounts_in_use(state, known, accounts)?;
        if known.state == StampState::Retired {
            return Err(Refusal::conflict(
                "stamp-retired",
                format!("stamp {name} is retired, which is final; make a stamp of another name"),
            ));
        }
    }
    if wanted == StampState::Retired {
        is_empty(state, name)?;
    }
    fits(state, &record)?;
    let verb = if known.is_some() { "changed" } else { "made" };
    Ok(Decision::put(Record::Stamp(record), format!("{verb} stamp {name}: {}", wanted.as_str())))
}

/// Whether all bindings still go together with the stamps: once one stamp lists accounts, each that is used is listed.
fn fits(state: &State, record: &StampRecord) -> Result<(), Refusal> {
    let mut snapshot = state.snapshot();
    match snapshot.stamps.iter_mut().find(|stamp| stamp.name == record.name) {
        Some(stamp) => stamp.accounts.clone_from(&record.accounts),
        None => snapshot
            .stamps
            .push(Stamp { accounts: record.accounts.clone(), ..Stamp::new(record.name.clone()) }),
    }
    snapshot.validate().map_err(|error| Refusal::conflict("accounts", error.to_string()))
}

/// An account belongs to one stamp.
fn own_accounts(state: &State, name: &StampName, accounts: &[AccountName]) -> Result<(), Refusal> {
    for (at, account) in accounts.iter().enumerate() {
        if accounts[..at].contains(account) {
            return Err(Refusal::invalid(
                "account-once",
                format!("account {account} is listed twice; once is enough"),
            ));
        }
        if let Some(owner) = state.owner(account).filter(|owner| *owner != name) {
            return Err(Refusal::conflict(
                "account-owner",
                format!(
                    "account {account} is of stamp {owner}; an account belongs to one stamp, so take it from there first"
                ),
            ));
        }
    }
    Ok(())
}

/// An account that holds a registry's bytes stays with some stamp.
fn keeps_accounts_in_use(
    state: &State,
    known: &StampRecord,
    accounts: &[AccountName],
) -> Result<(), Refusal> {
    for account in known.accounts.iter().filter(|account| !accounts.contains(account)) {
        let holds = state
            .bindings()
            .find(|binding| binding.value.placement.locations().any(|location| location.account == *account));
        if let Some(binding) = holds {
            let registry = &binding.value.registry;
            return Err(Refusal::conflict(
                "account-in-use",
                format!(
                    "account {account} holds the bytes of registry {registry}; it stays with stamp {} until no registry is placed in it",
                    known.name
                ),
            ));
        }
    }
    Ok(())
}

/// Nothing is bound to it, and nothing may come back to it.
fn is_empty(state: &State, name: &StampName) -> Result<(), Refusal> {
    let uses = state.bindings().find(|binding| {
        let binding = &binding.value;
        binding.home_stamp == *name
            || binding.source.as_ref() == Some(name)
            || binding.destination.as_ref() == Some(name)
    });
    match uses {
        Some(binding) => {
            let registry = &binding.value.registry;
            Err(Refusal::conflict(
                "stamp-in-use",
                format!(
                    "registry {registry} is bound to stamp {name}, or still served there for those who come late; move it (stampctl registry move {registry} --to STAMP), and retire the stamp a day after the move has ended"
                ),
            ))
        }
        None => Ok(()),
    }
}

/// A stamp that may get a registry, and the key that the decision rests on.
pub(super) fn takes_registries(state: &State, name: &StampName) -> Result<String, Refusal> {
    let known: Vec<&str> = state.stamps().map(|stamp| stamp.value.name.as_str()).collect();
    let Some(stamp) = state.stamp_record(name) else {
        return Err(Refusal::not_found(
            "stamp",
            format!(
                "there is no stamp {name}; there are: {}",
                if known.is_empty() { "none".into() } else { known.join(", ") }
            ),
        ));
    };
    match stamp.value.state {
        StampState::Active => Ok(stamp_key(name)),
        other => Err(Refusal::conflict(
            "stamp-active",
            format!(
                "stamp {name} is {} and gets no registry; uncordon it (stampctl stamp uncordon {name}) or take another",
                other.as_str()
            ),
        )),
    }
}

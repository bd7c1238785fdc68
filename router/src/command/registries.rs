//! Registries: bound, changed, removed, and forgotten by caches.

use dataproxy_router_api::{
    Binding, Epoch, Phase, Purge, RegistryName, Revision, Snapshot, SnapshotError, StampName,
};

use super::{Decision, Refusal, RegistrySpec, fenced, stamps};
use crate::migration::UnixMillis;
use crate::record::{EpochRecord, PurgeRecord, Record, registry_key};
use crate::state::State;

/// The binding of a registry, or that there is none.
pub(super) fn known<'s>(
    state: &'s State,
    registry: &RegistryName,
) -> Result<&'s crate::state::Versioned<Binding>, Refusal> {
    state.binding(registry).ok_or_else(|| {
        Refusal::not_found(
            "registry",
            format!("there is no registry {registry}; stampctl registry ls shows those there are"),
        )
    })
}

pub(super) fn put(
    state: &State,
    registry: &RegistryName,
    spec: &RegistrySpec,
    if_epoch: Option<Epoch>,
) -> Result<Decision, Refusal> {
    let before = state.binding(registry).map(|binding| &binding.value);
    let mut binding = match before {
        Some(before) => {
            fenced(registry, if_epoch, before.epoch)?;
            if spec.home_stamp != before.home_stamp {
                return Err(Refusal::conflict(
                    "home-by-move",
                    format!(
                        "registry {registry} is bound to stamp {}; it goes to {} by a move (stampctl registry move {registry} --to {})",
                        before.home_stamp, spec.home_stamp, spec.home_stamp
                    ),
                ));
            }
            before.clone()
        }
        None => {
            // Epoch 0: the caller says that there is none yet.
            fenced(registry, if_epoch, Epoch(0))?;
            Binding::new(registry.clone(), spec.home_stamp.clone(), spec.placement.clone())
        }
    };
    binding.placement = spec.placement.clone();
    binding.pull = spec.pull;
    binding.delivery = spec.delivery;
    binding.hosts.clone_from(&spec.hosts);
    if before == Some(&binding) {
        return Ok(Decision::nothing(format!("registry {registry} is so already")));
    }
    let mut decision = Decision::default();
    let last = state.last_epoch(registry).filter(|_| before.is_none());
    if let Some(epoch) = before.map(|before| before.epoch).or(last.map(|last| last.epoch)) {
        binding.epoch = Epoch(epoch.0 + 1);
    }
    decision.deletes.extend(last.map(|last| Record::Epoch(last.clone()).key()));
    if before.is_none() {
        decision.rests_on.push(stamps::takes_registries(state, &spec.home_stamp)?);
    }
    fits(state, &binding)?;
    let verb = if before.is_some() { "changed" } else { "bound" };
    decision.done =
        format!("{verb} registry {registry}: home {}, epoch {}", binding.home_stamp, binding.epoch);
    decision.puts.push(Record::Binding(binding));
    Ok(decision)
}

/// Whether a binding goes together with the stamps and the other bindings.
fn fits(state: &State, binding: &Binding) -> Result<(), Refusal> {
    // Bindings share nothing but names, so those that share none need not be looked at.
    let shares = |other: &Binding| {
        other.registry != binding.registry && other.hosts.iter().any(|host| binding.hosts.contains(host))
    };
    let others = state.bindings().map(|other| &other.value).filter(|other| shares(other));
    let snapshot = Snapshot {
        stamps: state.stamps().filter_map(|stamp| state.stamp(&stamp.value.name)).collect(),
        bindings: others.chain([binding]).cloned().collect(),
        revision: Revision(0),
        ..Snapshot::empty(state.region().clone())
    };
    snapshot.validate().map_err(|error| match error {
        SnapshotError::HostTwice { .. } => Refusal::conflict("host-once", error.to_string()),
        _ => Refusal::invalid("binding", error.to_string()),
    })
}

pub(super) fn remove(
    state: &State,
    registry: &RegistryName,
    if_epoch: Option<Epoch>,
) -> Result<Decision, Refusal> {
    let Some(binding) = state.binding(registry) else {
        return Ok(Decision::nothing(format!("there is no registry {registry} already")));
    };
    fenced(registry, if_epoch, binding.value.epoch)?;
    if let Some(migration) = state.move_of(registry) {
        return Err(Refusal::conflict(
            "moving",
            format!(
                "registry {registry} is moving ({}); finish, abort or roll back the move first",
                migration.value.id
            ),
        ));
    }
    let last = EpochRecord { registry: registry.clone(), epoch: binding.value.epoch };
    Ok(Decision {
        puts: vec![Record::Epoch(last)],
        deletes: vec![registry_key(registry)],
        done: format!(
            "removed registry {registry}, which was bound to {} at epoch {}",
            binding.value.home_stamp, binding.value.epoch
        ),
        ..Decision::default()
    })
}

pub(super) fn purge(
    state: &State,
    registry: &RegistryName,
    repository: Option<&str>,
    digest: Option<&str>,
    now: UnixMillis,
) -> Result<Decision, Refusal> {
    known(state, registry)?;
    let one_path = |text: &str| text.len() <= 255 && text.split('/').all(is_segment);
    if let Some(repository) = repository.filter(|repository| !one_path(repository)) {
        return Err(Refusal::invalid(
            "repository",
            format!(
                "repository {repository:?} is not valid: path segments of a-z, 0-9, '.', '_' and '-', each beginning and ending with one of the first two, are allowed, 255 characters in all"
            ),
        ));
    }
    let is_digest = |text: &str| {
        text.split_once(':').is_some_and(|(algorithm, hex)| {
            let length = match algorithm {
                "sha256" => 64,
                "sha512" => 128,
                _ => return false,
            };
            hex.len() == length && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    };
    if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
        return Err(Refusal::invalid(
            "digest",
            format!("digest {digest:?} is not valid: sha256:<64 hex digits> or sha512:<128 hex digits>"),
        ));
    }
    let mut purge = Purge::of(registry.clone(), Revision(0));
    purge.repository = repository.map(str::to_owned);
    purge.digest = digest.map(str::to_owned);
    let what = match (repository, digest) {
        (None, None) => registry.to_string(),
        (Some(repository), None) => format!("{registry}/{repository}"),
        (None, Some(digest)) => format!("{registry} {digest}"),
        (Some(repository), Some(digest)) => format!("{registry}/{repository}@{digest}"),
    };
    Ok(Decision::put(Record::Purge(PurgeRecord { purge, at: now }), format!("purged {what}")))
}

/// A segment of a repository's name, by the grammar of the OCI distribution specification as far as this needs it.
fn is_segment(part: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    part.bytes().all(|b| plain(b) || b"._-".contains(&b))
        && part.bytes().next().is_some_and(plain)
        && part.bytes().next_back().is_some_and(plain)
}

/// A binding that is at rest in its home again, or on its way.
pub(super) fn rebound(before: &Binding, phase: Phase, destination: Option<StampName>) -> Binding {
    Binding { phase, destination, ..before.clone() }
}

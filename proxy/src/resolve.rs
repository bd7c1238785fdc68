//! Permit + binding → where the registry is served and where its bytes lie. No network.

use std::collections::HashMap;
use std::sync::Arc;

use dataproxy_router_api::{AccountName, Binding, Epoch, Placement, Prefix, StampName};

use crate::holdings::{Holdings, Place};
use crate::layout::Laid;
use crate::name::Repository;
use crate::permit::Permit;
use crate::refusal::Refusal;
use crate::store::copies::Copies;

/// The accounts that this node can read: storage accounts and upstream registries.
pub type Stores = HashMap<AccountName, Arc<dyn Holdings>>;

/// A permitted pull, with its stamp and its storage. Only [`resolve`] makes one.
#[derive(Debug)]
pub struct ResolvedStamp<'t> {
    permit: Permit<'t>,
    holdings: Arc<dyn Holdings>,
    late: bool,
}

impl<'t> ResolvedStamp<'t> {
    /// The binding that the pull works from to its end, whatever the router decides meanwhile.
    pub fn binding(&self) -> &'t Binding {
        self.permit.binding()
    }

    /// The binding's epoch.
    pub fn epoch(&self) -> Epoch {
        self.permit.binding().epoch
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        self.permit.repository()
    }

    /// The account that holds the registry's content, with those that hold copies of it behind.
    pub fn holdings(&self) -> &Arc<dyn Holdings> {
        &self.holdings
    }

    /// The repository, and where in the account its registry lies.
    pub fn place(&self) -> Place<'_> {
        let Placement { container, prefix, .. } = &self.permit.binding().placement;
        Place { container, prefix, repository: self.permit.repository() }
    }

    /// Whether the registry's home is another stamp than this node's: the client came late, or by old DNS. It is
    /// served all the same, as long as this node can read the placement.
    pub fn is_late(&self) -> bool {
        self.late
    }
}

/// Finds the storage of a permitted pull. `here` is this node's stamp; a node without one is never late.
///
/// # Errors
/// [`Refusal::AccountUnreachable`] if this node is set up for none of the placement's accounts;
/// [`Refusal::PlacementUnfit`] if the placement names a container and the account has none, or the other way round;
/// [`Refusal::PlacementUnusable`] if the account can have no objects with the placement's prefix.
pub fn resolve<'t>(
    permit: Permit<'t>,
    stores: &'t Stores,
    here: Option<&StampName>,
) -> Result<ResolvedStamp<'t>, Refusal> {
    let binding = permit.binding();
    let holdings = holdings(&binding.placement, stores)?;
    let late = here.is_some_and(|here| is_late(binding, here));
    Ok(ResolvedStamp { permit, holdings, late })
}

/// Whether a pull at `here` comes late: the registry has another home, and is not on its way here.
pub(crate) fn is_late(binding: &Binding, here: &StampName) -> bool {
    binding.home_stamp != *here && binding.destination.as_ref() != Some(here)
}

/// The accounts of a placement that this node can read, as one.
///
/// # Errors
/// As [`resolve`].
pub(crate) fn holdings(placement: &Placement, stores: &Stores) -> Result<Arc<dyn Holdings>, Refusal> {
    let found = readable(&placement.account, &placement.container, &placement.prefix, stores);
    if placement.copies.is_empty() {
        return found.cloned();
    }
    let has_own = found.as_ref().is_ok_and(|holdings| holdings.store().is_some());
    let why_not = found.as_ref().err().cloned();
    let holders: Vec<_> = placement
        .locations()
        .filter_map(|location| {
            let store =
                readable(&location.account, &location.container, &location.prefix, stores).ok()?.store()?;
            Some((location.clone(), Arc::clone(store)))
        })
        .collect();
    match why_not {
        Some(refusal) if holders.is_empty() => Err(refusal),
        _ => Ok(Laid::over(Arc::new(Copies::new(&placement.own(), holders, has_own)))),
    }
}

/// The account of a location, if this node is set up for it and it can have such a location.
///
/// # Errors
/// As [`resolve`].
pub(crate) fn readable<'s>(
    account: &AccountName,
    container: &str,
    prefix: &Prefix,
    stores: &'s Stores,
) -> Result<&'s Arc<dyn Holdings>, Refusal> {
    let holdings = stores.get(account).ok_or(Refusal::AccountUnreachable)?;
    if holdings.has_containers() == container.is_empty() {
        return Err(Refusal::PlacementUnfit);
    }
    let refused = match holdings.store() {
        Some(store) => store.refuses(prefix),
        None => (!prefix.is_empty()).then_some("an upstream registry has no prefix"),
    };
    refused.map_or(Ok(holdings), |reason| Err(Refusal::PlacementUnusable(reason)))
}

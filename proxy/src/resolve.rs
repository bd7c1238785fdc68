//! Permit + binding → where the registry is served and where its bytes lie. No network.

use std::collections::HashMap;
use std::sync::Arc;

use dataproxy_router_api::{AccountName, Binding, Epoch, StampName};

use crate::holdings::{Holdings, Place};
use crate::name::Repository;
use crate::permit::Permit;
use crate::refusal::Refusal;

/// The accounts that this node can read: storage accounts and upstream registries.
pub type Stores = HashMap<AccountName, Arc<dyn Holdings>>;

/// A permitted pull, with its stamp and its storage. Only [`resolve`] makes one.
#[derive(Debug)]
pub struct ResolvedStamp<'t> {
    permit: Permit<'t>,
    holdings: &'t Arc<dyn Holdings>,
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

    /// The account that holds the registry's content.
    pub fn holdings(&self) -> &'t Arc<dyn Holdings> {
        self.holdings
    }

    /// The repository, and where in the account its registry lies.
    pub fn place(&self) -> Place<'_> {
        Place { container: &self.permit.binding().placement.container, repository: self.permit.repository() }
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
/// [`Refusal::AccountUnreachable`] if this node is not set up for the account; [`Refusal::PlacementUnfit`] if the
/// placement names a container and the account has none, or the other way round.
pub fn resolve<'t>(
    permit: Permit<'t>,
    stores: &'t Stores,
    here: Option<&StampName>,
) -> Result<ResolvedStamp<'t>, Refusal> {
    let binding = permit.binding();
    let holdings = stores.get(&binding.placement.account).ok_or(Refusal::AccountUnreachable)?;
    if holdings.has_containers() == binding.placement.container.is_empty() {
        return Err(Refusal::PlacementUnfit);
    }
    let late = here.is_some_and(|here| *here != binding.home_stamp);
    Ok(ResolvedStamp { permit, holdings, late })
}

//! Permit + binding → where the registry is served and where its bytes lie. No network.

use std::collections::HashMap;
use std::sync::Arc;

use dataproxy_router_api::{AccountName, Binding, Epoch, StampName};

use crate::layout::Layout;
use crate::name::Repository;
use crate::permit::Permit;
use crate::refusal::Refusal;
use crate::store::Store;

/// The storage accounts that this node can read.
pub type Stores = HashMap<AccountName, Arc<dyn Store>>;

/// A permitted pull, with its stamp and its storage. Only [`resolve`] makes one.
#[derive(Debug)]
pub struct ResolvedStamp<'t> {
    permit: Permit<'t>,
    store: &'t Arc<dyn Store>,
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
    pub fn store(&self) -> &'t Arc<dyn Store> {
        self.store
    }

    /// Where in the account things lie.
    pub fn layout(&self) -> Layout<'t> {
        let placement = &self.permit.binding().placement;
        Layout::new(&placement.container).below_prefix(&placement.prefix)
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
/// [`Refusal::AccountUnreachable`] if this node is not set up for the account, [`Refusal::PlacementUnusable`] if the
/// account can have no objects with the placement's prefix.
pub fn resolve<'t>(
    permit: Permit<'t>,
    stores: &'t Stores,
    here: Option<&StampName>,
) -> Result<ResolvedStamp<'t>, Refusal> {
    let binding = permit.binding();
    let store = stores.get(&binding.placement.account).ok_or(Refusal::AccountUnreachable)?;
    if let Some(reason) = store.refuses(&binding.placement.prefix) {
        return Err(Refusal::PlacementUnusable(reason));
    }
    let late = here.is_some_and(|here| *here != binding.home_stamp);
    Ok(ResolvedStamp { permit, store, late })
}

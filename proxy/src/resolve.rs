//! Permit + binding → where the registry is served and where its bytes lie. No network.

use std::collections::HashMap;
use std::sync::Arc;

use dataproxy_router_api::{AccountName, Binding, Epoch, Place, Placement, StampName};

use crate::layout::Layout;
use crate::name::Repository;
use crate::permit::Permit;
use crate::refusal::Refusal;
use crate::store::Store;
use crate::store::copies::Copies;

/// The storage accounts that this node can read.
pub type Stores = HashMap<AccountName, Arc<dyn Store>>;

/// A permitted pull, with its stamp and its storage. Only [`resolve`] makes one.
#[derive(Debug)]
pub struct ResolvedStamp<'t> {
    permit: Permit<'t>,
    store: Arc<dyn Store>,
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
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
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
/// [`Refusal::AccountUnreachable`] if this node is set up for none of the placement's accounts,
/// [`Refusal::PlacementUnusable`] if they can have no objects with the placement's prefix.
pub fn resolve<'t>(
    permit: Permit<'t>,
    stores: &'t Stores,
    here: Option<&StampName>,
) -> Result<ResolvedStamp<'t>, Refusal> {
    let binding = permit.binding();
    let store = storage(&binding.placement, stores)?;
    let late = here.is_some_and(|here| *here != binding.home_stamp);
    Ok(ResolvedStamp { permit, store, late })
}

/// The accounts of a placement that this node can read, as one.
fn storage(placement: &Placement, stores: &Stores) -> Result<Arc<dyn Store>, Refusal> {
    let readable = |place: &Place| {
        let store = stores.get(&place.account).ok_or(Refusal::AccountUnreachable)?;
        match store.refuses(&place.prefix) {
            Some(reason) => Err(Refusal::PlacementUnusable(reason)),
            None => Ok(Arc::clone(store)),
        }
    };
    let own = placement.own();
    let found = readable(&own);
    if placement.copies.is_empty() {
        return found;
    }
    let has_own = found.is_ok();
    let why_not = found.as_ref().err().cloned();
    let copies = placement.copies.iter().filter_map(|place| Some((place.clone(), readable(place).ok()?)));
    let holders: Vec<_> = found.ok().map(|store| (own.clone(), store)).into_iter().chain(copies).collect();
    match why_not {
        Some(refusal) if holders.is_empty() => Err(refusal),
        _ => Ok(Arc::new(Copies::new(&own, holders, has_own))),
    }
}

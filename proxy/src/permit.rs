//! Whether this caller may pull from this repository. Everything that touches storage or cache takes a [`Permit`].
//!
//! A caller shows nothing, and the binding's pull policy decides, or a URL that a node has signed, which says that this
//! stage was passed there. A token will be one more [`Caller`], and nothing after this stage will change.
//!
//! A registry that denies answers 403 DENIED, the same for every repository, real or not. Not 401: that has to carry
//! a challenge, there is no token service to name in one, and docker would then report missing credentials that
//! nobody can supply.

use dataproxy_router_api::{Binding, PullPolicy};

use crate::identify::Identified;
use crate::name::Repository;
use crate::redirect::Verified;
use crate::refusal::Refusal;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody who shows nothing. Credentials that were not asked for count as nothing.
    Anonymous,
    /// The holder of a URL that was signed for the blob that is asked for.
    Signed(Verified),
}

/// The proof that the caller may pull from `repository` of the binding's registry. Only [`grant`] makes one.
#[derive(Clone, Debug)]
pub struct Permit<'t> {
    binding: &'t Binding,
    repository: Repository,
}

impl<'t> Permit<'t> {
    /// The binding of the registry.
    pub fn binding(&self) -> &'t Binding {
        self.binding
    }

    /// The repository, without the registry's name.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }
}

/// Decides.
///
/// # Errors
/// [`Refusal::Denied`].
pub fn grant<'t>(
    caller: Caller,
    identified: &Identified<'t>,
    repository: &Repository,
) -> Result<Permit<'t>, Refusal> {
    match (caller, identified.binding.pull) {
        (Caller::Anonymous, PullPolicy::Anonymous) | (Caller::Signed(_), _) => {
            Ok(Permit { binding: identified.binding, repository: repository.clone() })
        }
        (Caller::Anonymous, PullPolicy::Denied) => Err(Refusal::Denied),
    }
}

//! Which registry a request is for. A name is only ever looked up in the binding table; none is ever dialled.
//!
//! In this order: the host, if it lies in the zone; else `?ns=`; else, where path tenancy is on, the first
//! component of the name. The first of them that is there decides. A host in the zone or an `ns` that names no
//! registry is therefore an unknown registry, even if the path would name one: a mirror for `docker.io` must
//! never serve its `contoso/app` from the registry `contoso`.

use std::str::FromStr;

use dataproxy_router_api::{Binding, RegistryName};
use http::uri::Authority;

use crate::bindings::Table;
use crate::name::Repository;
use crate::refusal::{Refusal, excerpt};
use crate::request::{Request, canonical_host};

/// The domain below which every registry has its host, such as `registry.test`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(String);

/// A text that is not a zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("zone {0:?} is not valid; a domain such as registry.test is allowed, without a port")]
pub struct ZoneError(String);

impl Zone {
    /// The domain: lower case, no final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part of a host before this zone; `None` if it lies outside or is the zone itself.
    fn prefix_of<'h>(&self, host: &'h str) -> Option<&'h str> {
        host.strip_suffix(&self.0)?.strip_suffix('.')
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        let zone = canonical_host(text);
        // A label of a domain has the grammar of a registry's name.
        let fits = zone.len() <= 190 && zone.split('.').all(|label| label.parse::<RegistryName>().is_ok());
        if fits { Ok(Self(zone)) } else { Err(ZoneError(excerpt(text))) }
    }
}

/// How registries are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenancy {
    /// Where the registries' hosts lie.
    pub zone: Zone,
    /// Whether the first component of a name may be the registry: `127.0.0.1:5000/contoso/app:v1`.
    pub path_tenancy: bool,
}

/// What in a request named the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// Its host.
    Host,
    /// `?ns=`.
    Namespace,
    /// The first component of the name.
    Path,
}

impl NamedBy {
    /// The stable word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Namespace => "ns",
            Self::Path => "path",
        }
    }
}

/// A request's registry, found in the table, and the repository inside it.
#[derive(Clone, Debug)]
pub struct Identified<'t> {
    /// The registry's binding.
    pub binding: &'t Binding,
    /// The repository, without the registry's name; `None` for a ping.
    pub repository: Option<Repository>,
    /// What named the registry.
    pub named_by: NamedBy,
}

/// Finds the registry that `request` is for. `None` for a ping that names none: any endpoint may answer that.
///
/// # Errors
/// [`Refusal::RegistryUnknown`] and [`Refusal::RegistryUnnamed`].
pub fn identify<'t>(
    request: &Request,
    tenancy: &Tenancy,
    table: &'t Table,
) -> Result<Option<Identified<'t>>, Refusal> {
    let whole = request.target.name().cloned();
    let host = request.host.as_deref().and_then(|host| tenancy.zone.prefix_of(host));
    let (label, repository, named_by) = match (host, &request.namespace) {
        (Some(prefix), _) => (registry_label(prefix, table).to_owned(), whole, NamedBy::Host),
        (None, Some(namespace)) => (by_namespace(namespace, tenancy, table)?, whole, NamedBy::Namespace),
        (None, None) => match whole {
            None => return Ok(None),
            Some(name) if tenancy.path_tenancy => match name.split_first() {
                Some((registry, rest)) => (registry.to_owned(), Some(rest), NamedBy::Path),
                None => return Err(unnamed(tenancy)),
            },
            Some(_) => return Err(unnamed(tenancy)),
        },
    };
    let unknown = || Refusal::RegistryUnknown(excerpt(&label));
    let binding = table.binding(label.as_str()).ok_or_else(unknown)?;
    Ok(Some(Identified { binding, repository, named_by }))
}

/// `<registry>`, `<registry>.<region>.geo` or `<registry>.<region>.data`, before the zone. Anything else stays as
/// it is and, having a dot in it, names no registry.
fn registry_label<'h>(prefix: &'h str, table: &Table) -> &'h str {
    let region = table.snapshot().region.as_str();
    prefix
        .strip_suffix(".geo")
        .or_else(|| prefix.strip_suffix(".data"))
        .and_then(|rest| rest.strip_suffix(region)?.strip_suffix('.'))
        .unwrap_or(prefix)
}

/// `ns` is the host of the image's own registry, perhaps with a port.
fn by_namespace(namespace: &str, tenancy: &Tenancy, table: &Table) -> Result<String, Refusal> {
    let unknown = || Refusal::RegistryUnknown(excerpt(namespace));
    let authority = namespace.parse::<Authority>().map_err(|_| unknown())?;
    let host = canonical_host(authority.host());
    let prefix = tenancy.zone.prefix_of(&host).ok_or_else(unknown)?;
    Ok(registry_label(prefix, table).to_owned())
}

fn unnamed(tenancy: &Tenancy) -> Refusal {
    let by_path = if tenancy.path_tenancy { ", or /v2/<registry>/<repository>/ as the path" } else { "" };
    Refusal::RegistryUnnamed { zone: tenancy.zone.as_str().to_owned(), by_path }
}

#[cfg(test)]
mod tests;

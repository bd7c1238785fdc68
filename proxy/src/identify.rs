//! Which registry a request is for. A name is only ever looked up in the binding table; none is ever dialled.
//!
//! In this order:
//!
//! 1. the path's prefix, `/t/<registry>/v2/…`, which only a mirror's URL holds;
//! 2. the host, if it lies in the zone or a binding lists it among its `hosts`;
//! 3. `?ns=`, by the same rule;
//! 4. where path tenancy is on, the first component of the name;
//! 5. the default registry, for mirrors that are asked without any of these (docker's `registry-mirrors`).
//!
//! The first of them that is there decides. A prefix, a host in the zone or an `ns` that names no registry is
//! therefore an unknown registry, even if the path or the default would name one: a mirror for `docker.io` must never
//! serve its `contoso/app` from the registry `contoso`. The path gives way to the default alone, and only where its
//! first component is not bound. Hence a docker mirror is best an address of its own, without path tenancy.

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
    /// The registry that a request is for which names none.
    pub default_registry: Option<RegistryName>,
}

/// What in a request named the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// The prefix of its path.
    Prefix,
    /// Its host.
    Host,
    /// `?ns=`.
    Namespace,
    /// The first component of the name.
    Path,
    /// Nothing; the default registry is meant.
    Default,
}

impl NamedBy {
    /// The stable word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prefix => "prefix",
            Self::Host => "host",
            Self::Namespace => "ns",
            Self::Path => "path",
            Self::Default => "default",
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
    let (binding, named_by) = if let Some(tenant) = &request.tenant {
        (by_name(tenant, table)?, NamedBy::Prefix)
    } else if let Some(binding) = by_host(request, tenancy, table)? {
        (binding, NamedBy::Host)
    } else if let Some(namespace) = &request.namespace {
        (by_namespace(namespace, tenancy, table)?, NamedBy::Namespace)
    } else {
        let Some(name) = whole else { return Ok(None) };
        return by_path(name, tenancy, table).map(Some);
    };
    Ok(Some(Identified { binding, repository: whole, named_by }))
}

fn by_name<'t>(label: &str, table: &'t Table) -> Result<&'t Binding, Refusal> {
    table.binding(label).ok_or_else(|| Refusal::RegistryUnknown(excerpt(label)))
}

/// `None` if the host says nothing of a registry: it is the address of a node or a mirror.
fn by_host<'t>(
    request: &Request,
    tenancy: &Tenancy,
    table: &'t Table,
) -> Result<Option<&'t Binding>, Refusal> {
    let Some(host) = &request.host else { return Ok(None) };
    match tenancy.zone.prefix_of(host) {
        Some(prefix) => by_name(registry_label(prefix, table), table).map(Some),
        None => Ok(table.binding_by_host(host, request.port)),
    }
}

/// The registry and the repository that a name means by itself.
fn by_path<'t>(name: Repository, tenancy: &Tenancy, table: &'t Table) -> Result<Identified<'t>, Refusal> {
    let split = tenancy.path_tenancy.then(|| name.split_first()).flatten();
    let bound = split.as_ref().map(|(first, _)| by_name(first, table));
    match (split.map(|(_, rest)| rest), bound, &tenancy.default_registry) {
        (Some(rest), Some(Ok(binding)), _) => {
            Ok(Identified { binding, repository: Some(rest), named_by: NamedBy::Path })
        }
        (_, _, Some(default)) => {
            let binding = by_name(default.as_str(), table)?;
            Ok(Identified { binding, repository: Some(name), named_by: NamedBy::Default })
        }
        (_, Some(Err(unknown)), None) => Err(unknown),
        (_, _, None) => Err(unnamed(tenancy)),
    }
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
fn by_namespace<'t>(namespace: &str, tenancy: &Tenancy, table: &'t Table) -> Result<&'t Binding, Refusal> {
    let unknown = || Refusal::RegistryUnknown(excerpt(namespace));
    let authority = namespace.parse::<Authority>().map_err(|_| unknown())?;
    if authority.as_str().contains('@') {
        return Err(unknown());
    }
    let host = canonical_host(authority.host());
    match tenancy.zone.prefix_of(&host) {
        Some(prefix) => by_name(registry_label(prefix, table), table),
        None => table.binding_by_host(&host, authority.port_u16()).ok_or_else(unknown),
    }
}

fn unnamed(tenancy: &Tenancy) -> Refusal {
    let by_path = if tenancy.path_tenancy { ", or /v2/<registry>/<repository>/ as the path" } else { "" };
    Refusal::RegistryUnnamed { zone: tenancy.zone.as_str().to_owned(), by_path }
}

#[cfg(test)]
mod tests;

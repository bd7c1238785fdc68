//! Whether the bindings and a node's own settings fit each other, for `dataproxy check`. A node that serves does not ask:
//! bindings come and go, and what does not fit is refused pull by pull.

use dataproxy_router_api::{AccountName, RegistryName};

use crate::bindings::Table;
use crate::resolve::Stores;

/// What does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// The default registry is none.
    #[error("tenancy.default_registry: {0} has no binding")]
    Default(RegistryName),
    /// A storage account without a container.
    #[error("registry {registry}: placement.container is missing; account {account} has containers")]
    NoContainer {
        /// The registry.
        registry: RegistryName,
        /// Its account.
        account: AccountName,
    },
    /// A container in an upstream registry.
    #[error(
        "registry {registry}: placement.container is set, but account {account} is a registry, which has none; accounts.{account}.repository_prefix puts a name before its repositories"
    )]
    Container {
        /// The registry.
        registry: RegistryName,
        /// Its account.
        account: AccountName,
    },
}

/// Checks every binding whose account this node has.
///
/// # Errors
/// The first thing that does not fit.
pub(crate) fn check(table: &Table, default: Option<&RegistryName>, stores: &Stores) -> Result<(), Unfit> {
    if let Some(default) = default
        && table.binding(default).is_none()
    {
        return Err(Unfit::Default(default.clone()));
    }
    for binding in &table.snapshot().bindings {
        let account = &binding.placement.account;
        let Some(holdings) = stores.get(account) else { continue };
        let (registry, account) = (binding.registry.clone(), account.clone());
        match (holdings.has_containers(), binding.placement.container.is_empty()) {
            (true, true) => return Err(Unfit::NoContainer { registry, account }),
            (false, false) => return Err(Unfit::Container { registry, account }),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::holdings::Holdings;
    use crate::layout::Laid;
    use crate::store::memory::MemoryStore;
    use crate::upstream::{Settings, Upstream, Url};

    fn check_binding(account: &str, container: &str, default: &str) -> Result<(), String> {
        let snapshot = serde_json::json!({
            "revision": 1, "region": "local", "stamps": [{"name": "a", "nodes": []}],
            "bindings": [{
                "registry": "hub", "home_stamp": "a", "epoch": 1,
                "placement": {"account": account, "container": container},
            }],
        });
        let table = Table::new(serde_json::from_value(snapshot).expect("a snapshot"));
        let url = Url::parse("http://registry.example").expect("a URL");
        let settings = Settings { url, credentials: None, ca_file: None, repository_prefix: None };
        let name: AccountName = "upstream".parse().expect("a name");
        let upstream = Upstream::open(&name, &settings).expect("settings that can be");
        let stores = Stores::from([
            (name, Arc::new(upstream) as Arc<dyn Holdings>),
            ("folder".parse().expect("a name"), Laid::over(MemoryStore::new())),
        ]);
        let default: RegistryName = default.parse().expect("a name");
        check(&table, Some(&default), &stores).map_err(|unfit| unfit.to_string())
    }

    #[test]
    fn a_placement_names_a_container_where_there_are_any() {
        assert_eq!(check_binding("upstream", "", "hub"), Ok(()));
        assert_eq!(check_binding("folder", "hub", "hub"), Ok(()));
        assert_eq!(check_binding("of-another-stamp", "hub", "hub"), Ok(()));
        for (account, container, default, reason) in [
            ("upstream", "hub", "hub", "accounts.upstream.repository_prefix"),
            ("folder", "", "hub", "account folder has containers"),
            ("upstream", "", "other", "tenancy.default_registry: other has no binding"),
        ] {
            let unfit = check_binding(account, container, default).expect_err(reason);
            assert!(unfit.contains(reason), "{unfit}");
        }
    }
}

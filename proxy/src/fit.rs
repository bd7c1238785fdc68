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
    /// A prefix that no object of the account can have.
    #[error("registry {registry}: placement.prefix does not fit account {account}: {reason}")]
    Prefix {
        /// The registry.
        registry: RegistryName,
        /// Its account, or that of a copy.
        account: AccountName,
        /// Why.
        reason: &'static str,
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
        for place in binding.placement.locations() {
            let Some(holdings) = stores.get(&place.account) else { continue };
            let (registry, account) = (binding.registry.clone(), place.account.clone());
            match (holdings.has_containers(), place.container.is_empty()) {
                (true, true) => return Err(Unfit::NoContainer { registry, account }),
                (false, false) => return Err(Unfit::Container { registry, account }),
                _ => {}
            }
            if let Some(reason) = holdings.store().and_then(|store| store.refuses(&place.prefix)) {
                return Err(Unfit::Prefix { registry, account, reason });
            }
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
    use crate::store::local::LocalFolder;
    use crate::store::memory::MemoryStore;
    use crate::upstream::{Settings, Upstream, Url};

    fn check_binding(account: &str, container: &str, default: &str) -> Result<(), String> {
        check_placement(&serde_json::json!({"account": account, "container": container}), default)
    }

    fn check_placement(placement: &serde_json::Value, default: &str) -> Result<(), String> {
        let dir = tempfile::tempdir().expect("a folder");
        let snapshot = serde_json::json!({
            "revision": 1, "region": "local", "stamps": [{"name": "a", "nodes": []}],
            "bindings": [{
                "registry": "hub", "home_stamp": "a", "epoch": 1,
                "placement": placement,
            }],
        });
        let table = Table::new(serde_json::from_value(snapshot).expect("a snapshot"));
        let url = Url::parse("http://registry.example").expect("a URL");
        let settings = Settings { url, credentials: None, ca_file: None, repository_prefix: None };
        let name: AccountName = "upstream".parse().expect("a name");
        let upstream = Upstream::open(&name, &settings).expect("settings that can be");
        let stores = Stores::from([
            (name, Arc::new(upstream) as Arc<dyn Holdings>),
            ("memory".parse().expect("a name"), Laid::over(MemoryStore::new())),
            (
                "folder".parse().expect("a name"),
                Laid::over(Arc::new(LocalFolder::open(dir.path()).expect("open"))),
            ),
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

    #[test]
    fn a_prefix_that_an_account_cannot_have_is_refused_wherever_the_placement_names_it() {
        let rooted = serde_json::json!({"account": "memory", "container": "hub", "prefix": "/"});
        assert_eq!(check_placement(&rooted, "hub"), Ok(()));
        for placement in [
            serde_json::json!({"account": "folder", "container": "hub", "prefix": "/"}),
            serde_json::json!({
                "account": "memory", "container": "hub",
                "copies": [{"account": "folder", "container": "hub", "prefix": "/"}],
            }),
        ] {
            let unfit = check_placement(&placement, "hub").expect_err("a folder has no leading slash");
            assert!(unfit.contains("placement.prefix does not fit account folder"), "{unfit}");
        }
    }
}

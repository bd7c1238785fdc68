//! Opens what a configuration names: certificate, accounts, cache, keys. What is wrong is said with the setting.

use std::sync::Arc;

use dataproxy_azure::{Account as AzureAccount, Transports};
use dataproxy_cache::Cache;
use dataproxy_router_api::Role;

use crate::config::{Account, ClientAccess, Config, Listen};
use crate::exit::{Exit, Failure};
use crate::identify::Tenancy;
use crate::layout::Laid;
use crate::redirect::{Keys, Redirects};
use crate::resolve::Stores;
use crate::store::Store;
use crate::store::guard::Guard;
use crate::store::local::LocalFolder;
use crate::store::s3::S3Store;
use crate::tls::Certificate;
use crate::upstream::Upstream;

/// The certificate of the TLS listeners, if there are any.
pub(super) fn certificate(listen: &Listen) -> Result<Option<Arc<Certificate>>, Failure> {
    let (Some(cert), Some(key)) = (&listen.cert, &listen.key) else { return Ok(None) };
    let certificate = Certificate::open(cert.clone(), key.clone());
    Ok(Some(Arc::new(certificate.map_err(|error| Failure::new(Exit::Input, error))?)))
}

/// The accounts of a node, storage behind its guards.
pub(super) struct Accounts {
    pub(super) stores: Stores,
    pub(super) guards: Vec<Arc<Guard>>,
}

/// Opens the accounts that the configuration names; asks none of them anything.
pub(super) fn accounts(config: &Config) -> Result<Accounts, Failure> {
    let (mut stores, mut guards) = (Stores::default(), Vec::new());
    let mut transports = Transports::default();
    for (name, account) in &config.accounts {
        let bad = |what: &dyn std::fmt::Display| Failure::new(Exit::Input, format!("accounts.{name}{what}"));
        let store: Arc<dyn Store> = match account {
            Account::Local { path } => {
                let folder = LocalFolder::open(path)
                    .map_err(|error| Failure::new(Exit::Folder, format!("accounts.{name}.path: {error}")))?;
                Arc::new(folder)
            }
            Account::Azure(settings) => {
                let account = AzureAccount::open(settings, &mut transports);
                Arc::new(account.map_err(|error| bad(&format_args!(": {error}")))?)
            }
            Account::S3(settings) => {
                let account = S3Store::open(settings);
                Arc::new(account.map_err(|error| bad(&format_args!(".{error}")))?)
            }
            Account::Registry(settings) => {
                let upstream = Upstream::open(name, settings);
                let upstream = upstream.map_err(|error| bad(&format_args!(".{error}")))?;
                stores.insert(name.clone(), Arc::new(upstream));
                continue;
            }
        };
        let bounds = config.terms.get(name).copied().unwrap_or_default().bounds;
        let guard = Guard::new(name.clone(), store, bounds);
        stores.insert(name.clone(), Laid::over(Arc::clone(&guard) as Arc<dyn Store>));
        guards.push(guard);
    }
    Ok(Accounts { stores, guards })
}

/// The cache of a stamp's node; a front door has none.
pub(super) async fn cache(config: &Config) -> Result<Option<Cache>, Failure> {
    if config.is_front() {
        return Ok(None);
    }
    let cache = Cache::open(config.cache.clone()).await;
    Ok(Some(cache.map_err(|error| Failure::new(Exit::Folder, format!("cache.dir: {error}")))?))
}

/// How registries are told apart.
pub(super) fn tenancy(config: &Config) -> Result<Tenancy, Failure> {
    let zone = config.node.zone.parse().map_err(|error| Failure::new(Exit::Config, error))?;
    Ok(Tenancy {
        zone,
        path_tenancy: config.tenancy.path,
        default_registry: config.tenancy.default_registry.clone(),
    })
}

/// The key that the stamp's nodes share, where they are one cache.
pub(super) fn stamp_keys(config: &Config) -> Result<Option<Arc<Keys>>, Failure> {
    let sharing = &config.stamp;
    let Some(key) = sharing.key.as_ref().filter(|_| sharing.share) else { return Ok(None) };
    let keys = Keys::open(key.clone(), sharing.other_key.clone());
    Ok(Some(Arc::new(keys.map_err(|error| Failure::new(Exit::Input, error))?)))
}

/// Which blobs this node answers by a redirect.
pub(super) fn redirects(config: &Config) -> Result<Redirects, Failure> {
    let open = config.terms.iter().filter(|(_, terms)| terms.clients == ClientAccess::Open);
    let keys = match &config.delivery.key {
        Some(key) => {
            let keys = Keys::open(key.clone(), config.delivery.other_key.clone());
            Some(Arc::new(keys.map_err(|error| Failure::new(Exit::Input, error))?))
        }
        None => None,
    };
    Ok(Redirects {
        open: open.map(|(name, _)| name.clone()).collect(),
        data_endpoint: config.delivery.data_endpoint.clone().filter(|_| config.node.role == Role::Registry),
        keys,
        valid: config.delivery.url_valid,
    })
}

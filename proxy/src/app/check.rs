//! What a node would do with its configuration, and what it could serve, said without serving.

use std::fmt::Write;

use dataproxy_router_api::Snapshot;

use super::{BLOCKING_WINDOW, open, routed};
use crate::bindings::Table;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::fit;
use crate::reach::Reach;

/// Reads all that a configuration names and says what a node would do with it. Opens no socket.
///
/// # Errors
/// [`Failure`]: what would keep the node from starting.
pub fn check(config: &Config) -> Result<String, Failure> {
    let known = routed::known(config)?;
    let is_known = known.is_some();
    let table = known.unwrap_or_else(|| Table::new(Snapshot::empty(config.node.region.clone())));
    open::certificate(&config.listen)?;
    let accounts = open::accounts(config)?;
    fit::check(&table, config.tenancy.default_registry.as_ref(), &accounts.stores)
        .map_err(|unfit| Failure::new(Exit::Input, unfit))?;
    open::redirects(config)?;
    let mut text = String::new();
    let node = &config.node;
    let place = match &node.stamp {
        Some(stamp) => format!("of stamp {stamp}"),
        None => "of no stamp: a front door".to_owned(),
    };
    let snapshot = table.snapshot();
    let _ = writeln!(text, "node {} {place}, in region {}, for *.{}", node.name, node.region, node.zone);
    for address in &config.listen.pull {
        let _ = writeln!(text, "pulls at http://{address}/");
    }
    for address in &config.listen.tls {
        let _ = writeln!(text, "pulls at https://{address}/");
    }
    let _ = writeln!(text, "admin at http://{}/", config.admin.listen);
    if let Some(address) = &config.control.listen {
        let _ = writeln!(text, "control at {address}");
    }
    let (stamps, registries) = (snapshot.stamps.len(), snapshot.bindings.len());
    let place = routed::place(config);
    let _ = if is_known {
        let revision = snapshot.revision;
        writeln!(text, "bindings {place}: revision {revision}, {stamps} stamps, {registries} registries")
    } else {
        writeln!(text, "bindings {place}: none yet; the node waits for a router")
    };
    for (name, account) in &config.accounts {
        let _ = writeln!(text, "account {name}: {account}");
    }
    match &config.cache.disk {
        Some(disk) => {
            let _ = writeln!(text, "cache {}: {} MiB", disk.dir.display(), disk.capacity_bytes >> 20);
        }
        None => text.push_str("no disk cache\n"),
    }
    let _ = writeln!(text, "memory cache: {} MiB", config.cache.memory_bytes >> 20);
    Ok(text)
}

/// Tries every place that a registry's content lies in, and says what came of it; [`Exit::Unreached`] if a registry
/// could not be served.
///
/// # Errors
/// [`Failure`]: what would keep the node from starting.
pub fn reach(config: &Config) -> Result<(String, Exit), Failure> {
    let none = "no bindings are saved yet; start the node once while a router answers";
    let table = routed::known(config)?.ok_or_else(|| Failure::new(Exit::Input, none))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::System, error))?;
    let looked = runtime.block_on(async {
        let stores = open::accounts(config)?.stores;
        let mut reach = Reach::default();
        reach.look(table.snapshot(), &stores).await;
        let is_whole = reach.unserved(table.snapshot()).is_empty();
        Ok((reach.table(table.snapshot()), if is_whole { Exit::Done } else { Exit::Unreached }))
    });
    runtime.shutdown_timeout(BLOCKING_WINDOW);
    looked
}

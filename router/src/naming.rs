//! Names follow bindings: what DNS answers, and what another server is to answer, after every change.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use dataproxy_router_api::Snapshot;

use crate::config::Dns;
use crate::control::Control;
use crate::dns::{DnsServer, RecordSets, View, Zone, ZoneError};

/// Answers from what was followed, for as long as it is polled.
pub async fn name(control: Arc<Control>, settings: Dns, server: DnsServer) {
    let zone = match Zone::new(&settings.zone) {
        Ok(zone) => zone,
        // The settings were checked when they were read.
        Err(error) => return refused(&error),
    };
    let mut revisions = control.revisions();
    let first = control.state().snapshot();
    let view = Arc::new(ArcSwap::from_pointee(View::new(&zone, &first)));
    let follow = async {
        let mut snapshot = first;
        loop {
            if let Some(path) = &settings.record_sets {
                write(&zone, &snapshot, path).await;
            }
            if revisions.changed().await.is_err() {
                return;
            }
            // Marked as seen before it is read, so that a change between the two is not missed.
            revisions.borrow_and_update();
            snapshot = control.state().snapshot();
            view.store(Arc::new(View::new(&zone, &snapshot)));
        }
    };
    tokio::join!(server.run(Arc::clone(&view)), follow);
}

fn refused(error: &ZoneError) {
    tracing::error!(%error, "DNS is not answered");
}

/// Writes the record sets apart, since a disk may be slow.
async fn write(zone: &Zone, snapshot: &Snapshot, path: &Path) {
    let (sets, path) = (RecordSets::new(zone, snapshot), path.to_owned());
    match tokio::task::spawn_blocking(move || sets.write(&path)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::error!(%error, "record sets are left as they were"),
        Err(error) => tracing::error!(%error, "record sets are left as they were"),
    }
}

//! Names follow bindings: what DNS answers, and what another server is to answer, after every change.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use dataproxy_router_api::Snapshot;

use crate::config::Dns;
use crate::control::Control;
use crate::dns::{DnsServer, RecordSets, View, Zone, ZoneError};

/// Pause before record sets that could not be written are written again.
const AGAIN: Duration = Duration::from_secs(5);

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
        while revisions.changed().await.is_ok() {
            // Marked as seen before it is read, so that a change between the two is not missed.
            revisions.borrow_and_update();
            let snapshot = control.state().snapshot();
            view.store(Arc::new(View::new(&zone, &snapshot)));
        }
    };
    // Apart: a disk may hang.
    let export = async {
        let Some(path) = &settings.record_sets else { return };
        let mut revisions = control.revisions();
        loop {
            revisions.borrow_and_update();
            let snapshot = control.state().snapshot();
            let is_written = write(&zone, &snapshot, path).await;
            tokio::select! {
                changed = revisions.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(AGAIN), if !is_written => {}
            }
        }
    };
    tokio::join!(server.run(Arc::clone(&view)), follow, export);
}

fn refused(error: &ZoneError) {
    tracing::error!(%error, "DNS is not answered");
}

/// Writes the record sets; whether that went well.
async fn write(zone: &Zone, snapshot: &Snapshot, path: &Path) -> bool {
    let (sets, path) = (RecordSets::new(zone, snapshot), path.to_owned());
    let written = match tokio::task::spawn_blocking(move || sets.write(&path)).await {
        Ok(written) => written.map(drop).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = &written {
        tracing::error!(error, "record sets are left as they were");
    }
    written.is_ok()
}

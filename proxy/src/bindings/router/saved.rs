//! The last good snapshot on disk, from which a node starts while no router answers.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use dataproxy_router_api::{History, Point, RegionName, Revision, Snapshot};
use serde::{Deserialize, Serialize};

use crate::bindings::Table;

/// What is written. Unknown fields are ignored, so that a node may be set back to the version before.
#[derive(Debug, Serialize, Deserialize)]
struct Written<S> {
    /// What this node has forgotten of what it was told to: all up to this revision.
    #[serde(default)]
    purged: Revision,
    /// The history that it is of.
    #[serde(default, skip_serializing_if = "History::is_first")]
    purged_history: History,
    snapshot: S,
}

/// A snapshot that was saved.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) table: Table,
    pub(crate) purged: Point,
}

/// Reads the file; `None` if there is none.
///
/// # Errors
/// Why it is of no use, in words.
pub(crate) fn read(path: &Path, region: &RegionName) -> Result<Option<Saved>, String> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("it cannot be read: {error}")),
    };
    let Written { purged, purged_history, snapshot } =
        serde_json::from_slice::<Written<Snapshot>>(&text).map_err(|error| error.to_string())?;
    snapshot.validate().map_err(|error| error.to_string())?;
    if snapshot.region != *region {
        return Err(format!("it is of region {}; this node is of region {region}", snapshot.region));
    }
    let purged = Point { history: purged_history, revision: purged };
    Ok(Some(Saved { table: Table::new(snapshot), purged }))
}

/// Writes the file, whole or not at all.
///
/// # Errors
/// The file system's.
pub(crate) fn write(path: &Path, snapshot: &Snapshot, purged: Point) -> std::io::Result<()> {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let mut file = File::create(&next)?;
    let Point { history: purged_history, revision: purged } = purged;
    file.write_all(&serde_json::to_vec(&Written { purged, purged_history, snapshot })?)?;
    // Else a loss of power could leave the new name with no content.
    file.sync_all()?;
    drop(file);
    std::fs::rename(&next, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_read_again_and_what_is_not_a_snapshot_of_the_region_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("snapshot.json");
        let local = "local".parse().expect("a region");
        assert!(read(&path, &local).expect("no file").is_none());
        let snapshot = Snapshot { revision: Revision(7), ..Snapshot::empty(local.clone()) };
        for purged in [Point::first(Revision(5)), Point { history: History(3), revision: Revision(5) }] {
            write(&path, &snapshot, purged).expect("written");
            let saved = read(&path, &local).expect("good").expect("a file");
            assert_eq!((saved.table.snapshot(), saved.purged), (&snapshot, purged));
        }
        let east = "east".parse().expect("a region");
        assert_eq!(
            read(&path, &east).expect_err("east"),
            "it is of region local; this node is of region east"
        );
        for bad in ["", "{\"snapshot\":{", "{\"purged\":1}"] {
            std::fs::write(&path, bad).expect("written");
            read(&path, &local).expect_err(bad);
        }
    }
}

use std::net::Ipv4Addr;

use dataproxy_router_api::{Binding, Node, Placement, Role, Stamp};

use super::super::ZoneSettings;
use super::*;

fn sets(revision: u64, epoch: u64) -> RecordSets {
    let ip = Ipv4Addr::new(192, 0, 2, 1);
    let mut stamp = Stamp::new("a".parse().unwrap());
    stamp.nodes = vec![Node::new("a1".parse().unwrap(), (ip, 5000).into(), (ip, 9100).into(), Role::All)];
    let placement = Placement::new("accounta".parse().unwrap(), "contoso");
    let mut binding = Binding::new("contoso".parse().unwrap(), "a".parse().unwrap(), placement);
    binding.epoch = Epoch(epoch);
    let mut snapshot = Snapshot::empty("west".parse().unwrap());
    snapshot.revision = Revision(revision);
    snapshot.stamps = vec![stamp];
    snapshot.bindings = vec![binding];
    RecordSets::new(&Zone::new(&ZoneSettings::new("registry.test")).unwrap(), &snapshot)
}

#[test]
fn the_list_has_every_name_with_its_epoch() {
    let sets = sets(9, 3);
    let names: Vec<_> = sets.sets.iter().map(|set| (set.name.as_str(), set.kind.as_str())).collect();
    assert_eq!(
        names,
        [
            ("contoso.registry.test", "A"),
            ("contoso.west.data.registry.test", "A"),
            ("contoso.west.geo.registry.test", "A"),
        ]
    );
    let text = serde_json::to_string(&sets.sets[0]).unwrap();
    assert_eq!(
        text,
        r#"{"name":"contoso.registry.test","type":"A","ttl":5,"values":["192.0.2.1"],"registry":"contoso","epoch":3}"#
    );
}

#[test]
fn the_file_never_goes_back_to_an_older_revision_or_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("records.json");
    assert!(sets(5, 2).write(&path).unwrap());
    assert!(!sets(5, 2).write(&path).unwrap(), "the same list is not written again");
    assert!(sets(7, 3).write(&path).unwrap());
    let newest = std::fs::read(&path).unwrap();
    for (revision, epoch, told) in [(6, 4, "revision 7"), (8, 2, "epoch 3 of contoso")] {
        let error = sets(revision, epoch).write(&path).unwrap_err();
        assert!(
            matches!(error, RecordSetsError::Older { .. }) && error.to_string().contains(told),
            "{error}"
        );
    }
    assert_eq!(std::fs::read(&path).unwrap(), newest);
    let found: RecordSets = serde_json::from_slice(&newest).unwrap();
    assert_eq!(found, sets(7, 3));
}

#[test]
fn a_file_of_somebody_else_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("records.json");
    for text in ["hello", r#"{"zone":"other.test","revision":1,"sets":[]}"#] {
        std::fs::write(&path, text).unwrap();
        let error = sets(9, 9).write(&path).unwrap_err();
        assert!(matches!(error, RecordSetsError::Foreign { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    let error = sets(9, 9).write(&dir.path().join("absent/records.json")).unwrap_err();
    assert!(matches!(error, RecordSetsError::Io { .. }), "{error}");
}

#[test]
fn what_was_restored_replaces_the_list_though_its_revision_and_epochs_are_lower() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.json");
    assert!(sets(9, 3).write(&path).unwrap());
    let restored = RecordSets { history: History(7), ..sets(2, 1) };
    assert!(restored.write(&path).unwrap());
    let error = sets(10, 4).write(&path).unwrap_err().to_string();
    assert!(error.contains("has revision 2 of history 7, newer than 10"), "{error}");
}

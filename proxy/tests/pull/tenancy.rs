//! Which registry a request is for, and what the answer says of it.

use http_body_util::BodyExt;

use crate::node::{Node, fabrikam, manifest, repository, table, tag};

fn seed(node: &Node) {
    node.push_manifest("app", &["v1"], &manifest("contoso"));
    let name = repository("app");
    let digest = node.store.push_manifest(fabrikam(), &name, manifest("fabrikam").as_bytes());
    node.store.tag(fabrikam(), &name, &tag("v1"), &digest);
}

#[tokio::test]
async fn host_ns_and_path_lead_to_the_same_content() {
    let node = Node::new().await;
    seed(&node);
    for (host, address) in [
        ("fabrikam.registry.test:5000", "/v2/app/manifests/v1"),
        ("fabrikam.west.data.registry.test", "/v2/app/manifests/v1"),
        ("127.0.0.1:5000", "/v2/app/manifests/v1?ns=fabrikam.registry.test"),
        ("127.0.0.1:5000", "/v2/fabrikam/app/manifests/v1"),
    ] {
        let reply = node.get_with(address, &[("host", host)]).await;
        assert_eq!(
            (reply.status, reply.body.as_ref()),
            (200, manifest("fabrikam").as_bytes()),
            "{host}{address}"
        );
        let ns = address.contains("ns=").then_some("fabrikam.registry.test");
        assert_eq!(reply.header("oci-namespace"), ns, "{host}{address}");
    }
}

#[tokio::test]
async fn an_unknown_registry_is_an_unknown_name() {
    let node = Node::new().await;
    seed(&node);
    for (host, address) in [
        ("nobody.registry.test", "/v2/app/manifests/v1"),
        ("127.0.0.1", "/v2/app/manifests/v1?ns=docker.io"),
        ("127.0.0.1", "/v2/nobody/app/manifests/v1"),
        ("127.0.0.1", "/v2/app/manifests/v1"),
    ] {
        let reply = node.get_with(address, &[("host", host)]).await;
        assert_eq!((reply.status, reply.code().as_str()), (404, "NAME_UNKNOWN"), "{host}{address}");
        assert_eq!(reply.header("oci-namespace"), None);
    }
}

#[tokio::test]
async fn the_base_answers_with_or_without_a_registry() {
    let node = Node::new().await;
    for (host, address) in
        [("127.0.0.1:5000", "/v2/"), ("127.0.0.1", "/v2"), ("closed.registry.test", "/v2/")]
    {
        let reply = node.get_with(address, &[("host", host)]).await;
        assert_eq!((reply.status, reply.body.as_ref()), (200, &b"{}"[..]), "{host}{address}");
        assert_eq!(reply.header("docker-distribution-api-version"), Some("registry/2.0"));
    }
}

#[tokio::test]
async fn a_registry_whose_home_is_elsewhere_is_served_and_counted_as_late() {
    let node = Node::new().await;
    let layout = dataproxy::layout::Layout::new("moved");
    let digest = node.store.push_blob(layout, &repository("app"), b"layer");
    let reply = node.get_with(&format!("/v2/app/blobs/{digest}"), &[("host", "moved.registry.test")]).await;
    assert_eq!(reply.status, 200);
    let record = node.last_record();
    assert!(record.late);
    assert_eq!(record.home_stamp.map(|stamp| stamp.to_string()).as_deref(), Some("b"));
    assert_eq!(record.epoch.map(|epoch| epoch.0), Some(7));
}

#[tokio::test]
async fn a_binding_that_moves_changes_the_next_pull_and_not_the_running_one() {
    let node = Node::new().await;
    let content = vec![7; 3 << 20];
    let digest = node.push_blob("app", &content);
    let address = format!("/v2/app/blobs/{digest}");
    let running = node.open(http::Request::get(&address)).await;
    node.bindings.replace(table(2, "b")).expect("newer");
    assert_eq!(running.into_body().collect().await.expect("whole").to_bytes(), content);
    assert!(!node.last_record().late);
    assert_eq!(node.get(&address).await.status, 200);
    assert!(node.last_record().late);
}

//! Lists of referrers, over a storage layout that has none.

use std::time::Duration;

use dataproxy_cache::{Algorithm, Digest, OriginErrorKind};

use crate::node::{Node, Reply, contoso, manifest, repository};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn referrer(subject: &Digest, artifact_type: &str, what: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"{artifact_type}","config":{{"mediaType":"application/vnd.oci.empty.v1+json"}},"layers":[],"subject":{{"mediaType":"x/y","digest":"{subject}","size":1}},"annotations":{{"what":"{what}"}}}}"#
    )
}

fn digests(reply: &Reply) -> Vec<String> {
    let index = reply.json();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some(INDEX));
    assert_eq!((index["schemaVersion"].as_u64(), index["mediaType"].as_str()), (Some(2), Some(INDEX)));
    let manifests = index["manifests"].as_array().expect("a list");
    manifests.iter().map(|found| found["digest"].as_str().expect("a digest").to_owned()).collect()
}

fn sorted(digests: &[&Digest]) -> Vec<String> {
    let mut texts: Vec<String> = digests.iter().map(ToString::to_string).collect();
    texts.sort();
    texts
}

#[tokio::test]
async fn manifests_are_listed_under_the_subject_that_they_name() {
    let node = Node::new().await;
    let subject = node.push_manifest("app", &["v1"], &manifest("x"));
    let other = node.push_manifest("app", &["v2"], &manifest("y"));
    let sbom = referrer(&subject, "application/vnd.sbom+json", "sbom");
    let a = node.push_manifest("app", &[], &sbom);
    let b = node.push_manifest("app", &[], &referrer(&subject, "application/vnd.signature", "signature"));
    let c = node.push_manifest("app", &[], &referrer(&other, "application/vnd.signature", "other"));
    node.push_manifest("elsewhere", &[], &referrer(&subject, "application/vnd.signature", "elsewhere"));
    // Neither something that is no manifest nor content that has gone hides the others.
    node.push_manifest("app", &[], "junk");
    let gone = node.push_manifest("app", &[], &referrer(&subject, "application/vnd.signature", "gone"));
    node.store.remove(&contoso().blob(&gone));

    let reply = node.get(&format!("/v2/app/referrers/{subject}")).await;
    assert_eq!(digests(&reply), sorted(&[&a, &b]));
    assert_eq!(reply.header("oci-filters-applied"), None);
    assert_eq!(digests(&node.get(&format!("/v2/app/referrers/{other}")).await), sorted(&[&c]));

    let reply =
        node.get(&format!("/v2/app/referrers/{subject}?artifactType=application/vnd.sbom%2Bjson")).await;
    assert_eq!(reply.header("oci-filters-applied"), Some("artifactType"));
    assert_eq!(
        reply.json()["manifests"],
        serde_json::json!([{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": a.to_string(),
            "size": sbom.len(),
            "artifactType": "application/vnd.sbom+json",
            "annotations": {"what": "sbom"},
        }])
    );
}

#[tokio::test]
async fn what_nobody_refers_to_has_an_empty_list() {
    let node = Node::new().await;
    let digest = Digest::of(Algorithm::Sha512, b"x");
    for name in ["app", "not/there"] {
        assert_eq!(digests(&node.get(&format!("/v2/{name}/referrers/{digest}")).await), [""; 0]);
    }
}

#[tokio::test]
async fn the_fallback_tag_counts_as_well() {
    let node = Node::new().await;
    let subject = Digest::of(Algorithm::Sha256, b"not here");
    let found = node.push_manifest("app", &[], &referrer(&subject, "a/b", "found"));
    let listed = Digest::of(Algorithm::Sha256, b"listed");
    let descriptor = |digest: &Digest| {
        serde_json::json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest.to_string(),
            "size": 7, "artifactType": "a/b"})
    };
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX,
        "manifests": [descriptor(&listed), descriptor(&found), {"mediaType": "x/y", "digest": "../x", "size": 1}]});
    node.push_manifest("app", &[&format!("sha256-{}", subject.hex())], &index.to_string());
    assert_eq!(digests(&node.get(&format!("/v2/app/referrers/{subject}")).await), sorted(&[&listed, &found]));
}

#[tokio::test(start_paused = true)]
async fn a_list_is_walked_once_for_all_who_ask_and_renewed_after_its_time() {
    let node = Node::new().await;
    let subject = Digest::of(Algorithm::Sha256, b"subject");
    let first = node.push_manifest("app", &[], &referrer(&subject, "a/b", "1"));
    let address = format!("/v2/app/referrers/{subject}");
    assert_eq!(digests(&node.get(&address).await), sorted(&[&first]));
    let second = node.push_manifest("app", &[], &referrer(&subject, "a/b", "2"));
    assert_eq!(digests(&node.get(&address).await), sorted(&[&first]), "within tag_ttl");
    tokio::time::advance(Duration::from_millis(5001)).await;
    assert_eq!(digests(&node.get(&address).await), sorted(&[&first, &second]));
    node.store.remove(&contoso().revision_link(&repository("app"), &first));
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(
        digests(&node.get(&address).await),
        sorted(&[&second]),
        "a deleted manifest refers to nothing"
    );
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let node = Node::new().await;
    let subject = Digest::of(Algorithm::Sha256, b"subject");
    let mut all: Vec<String> = Vec::new();
    for n in 0..1003 {
        all.push(node.push_manifest("app", &[], &referrer(&subject, "a/b", &n.to_string())).to_string());
    }
    all.sort();
    let mut seen = Vec::new();
    let mut address = Some(format!("/v2/app/referrers/{subject}?artifactType=a/b"));
    while let Some(current) = address {
        let reply = node.send(http::Request::get(&current)).await;
        seen.extend(digests(&reply));
        let link = reply.header("link").map(ToOwned::to_owned);
        address =
            link.and_then(|link| Some(link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?.to_owned()));
    }
    assert_eq!(seen, all);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_not_an_empty_list() {
    let node = Node::new().await;
    let subject = Digest::of(Algorithm::Sha256, b"subject");
    node.store.fail_listings(Some(OriginErrorKind::Timeout));
    assert_eq!(node.get(&format!("/v2/app/referrers/{subject}")).await.status, 504);
    node.store.fail_listings(None);
    assert_eq!(node.get(&format!("/v2/app/referrers/{subject}")).await.status, 200);
}

//! Record sets as ExternalDNS has them: `Endpoint` of its webhook protocol and of its `DNSEndpoint` resource.
//!
//! Source: kubernetes-sigs.github.io/external-dns, "Webhook provider" and "CRD Source", of v0.21 and later.

use std::collections::BTreeMap;

use dataproxy_router_api::{Epoch, RegistryName};
use serde::{Deserialize, Serialize};

use super::record_sets::{RecordSet, RecordSets};

/// One name and type with all its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The absolute name, without the final dot.
    pub dns_name: String,
    /// The addresses.
    pub targets: Vec<String>,
    /// `A` or `AAAA`.
    pub record_type: String,
    /// How long it is valid, in seconds.
    #[serde(rename = "recordTTL")]
    pub record_ttl: u32,
    /// The registry, and the epoch of its binding.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl Endpoint {
    fn of(set: &RecordSet) -> Self {
        let label = |name: &str, value: String| (format!("dataproxy/{name}"), value);
        let labels = [label("registry", set.registry.to_string()), label("epoch", set.epoch.to_string())];
        Self {
            dns_name: set.name.clone(),
            targets: set.values.clone(),
            record_type: set.kind.clone(),
            record_ttl: set.ttl,
            labels: labels.into_iter().collect(),
        }
    }

    fn key(&self) -> (&str, &str) {
        (&self.dns_name, &self.record_type)
    }
}

/// A `DNSEndpoint` resource, as `kubectl apply` takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsEndpoint {
    /// `externaldns.k8s.io/v1alpha1`.
    pub api_version: String,
    /// `DNSEndpoint`.
    pub kind: String,
    /// Its name: that of the zone.
    pub metadata: BTreeMap<String, String>,
    /// What is to be.
    pub spec: DnsEndpointSpec,
}

/// What is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsEndpointSpec {
    /// Every name of the zone's registries.
    pub endpoints: Vec<Endpoint>,
}

impl DnsEndpoint {
    /// The resource of these sets.
    pub fn new(sets: &RecordSets) -> Self {
        let name = ("name".to_owned(), format!("dataproxy-{}", sets.zone.replace('.', "-")));
        Self {
            api_version: "externaldns.k8s.io/v1alpha1".to_owned(),
            kind: "DNSEndpoint".to_owned(),
            metadata: [name].into_iter().collect(),
            spec: DnsEndpointSpec { endpoints: sets.sets.iter().map(Endpoint::of).collect() },
        }
    }
}

/// The endpoints of a zone by their registry, with the epoch of its binding.
pub fn by_registry(sets: &RecordSets) -> BTreeMap<RegistryName, (Epoch, Vec<Endpoint>)> {
    let mut all = BTreeMap::<RegistryName, (Epoch, Vec<Endpoint>)>::new();
    for set in &sets.sets {
        let (_, endpoints) = all.entry(set.registry.clone()).or_insert((set.epoch, Vec::new()));
        endpoints.push(Endpoint::of(set));
    }
    all
}

/// What leads from one list to another, as a webhook provider's `POST /records` takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Changes {
    /// Names that are new.
    pub create: Vec<Endpoint>,
    /// Names that change, as they were.
    pub update_old: Vec<Endpoint>,
    /// The same names, as they are to be.
    pub update_new: Vec<Endpoint>,
    /// Names that are to go.
    pub delete: Vec<Endpoint>,
}

impl Changes {
    /// Adds what leads from `before` to `after`.
    pub fn add(&mut self, before: &[Endpoint], after: &[Endpoint]) {
        for endpoint in after {
            match before.iter().find(|known| known.key() == endpoint.key()) {
                None => self.create.push(endpoint.clone()),
                Some(known) if known == endpoint => {}
                Some(known) => {
                    self.update_old.push(known.clone());
                    self.update_new.push(endpoint.clone());
                }
            }
        }
        let is_gone = |known: &&Endpoint| !after.iter().any(|endpoint| endpoint.key() == known.key());
        self.delete.extend(before.iter().filter(is_gone).cloned());
    }
}

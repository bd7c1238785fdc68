//! The region's router, as the region asks it: what a new one begins with, and what has become of the bindings.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use dataproxy_router::client::{Client, ClientError, ClientOptions};
use dataproxy_router_api::{Binding, Revision, Snapshot};
use http::Method;
use serde_json::{Value, json};

use crate::data::Data;
use crate::error::RegionError;
use crate::topology::stamps_with_accounts;

/// Between two looks at the bindings.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The region's router.
pub(crate) struct Router {
    client: Client,
}

impl Router {
    /// The router at this address. Nothing is asked yet.
    pub(crate) fn at(address: SocketAddr) -> Result<Self, RegionError> {
        let options = ClientOptions {
            router: format!("http://{address}"),
            actor: "region".to_owned(),
            ..ClientOptions::default()
        };
        Ok(Self { client: Client::new(&options).map_err(failed)? })
    }

    /// Gives a router that knows nothing its stamps and bindings; one that knows some keeps them.
    pub(crate) async fn set_up(&self, snapshot: &Snapshot) -> Result<(), RegionError> {
        let status = self.client.get("/v1/status").await.map_err(failed)?;
        if status["stamps"].as_u64() != Some(0) {
            return Ok(());
        }
        for (stamp, account) in stamps_with_accounts() {
            self.put(&format!("/v1/stamps/{stamp}"), json!({"accounts": [account]})).await?;
        }
        for binding in &snapshot.bindings {
            let Binding { registry, home_stamp, placement, pull, delivery, hosts, .. } = binding;
            let spec = json!({
                "home_stamp": home_stamp, "placement": placement, "pull": pull, "delivery": delivery, "hosts": hosts,
            });
            self.put(&format!("/v1/registries/{registry}"), spec).await?;
        }
        Ok(())
    }

    async fn put(&self, path: &str, body: Value) -> Result<(), RegionError> {
        let path = format!("{path}?reason=a+new+region");
        self.client.send(Method::PUT, &path, Some(body)).await.map(drop).map_err(failed)
    }

    /// Keeps the bindings in the region's folder as the router has them, for imports. A router that does not answer
    /// leaves them as they are.
    pub(crate) async fn mirror(&self, data: &Data) -> Infallible {
        let mut seen = Revision(0);
        loop {
            if let Ok(value) = self.client.get("/v1/snapshot").await
                && let Ok(snapshot) = serde_json::from_value::<Snapshot>(value)
                && snapshot.revision != seen
            {
                match data.save(&snapshot) {
                    Ok(()) => seen = snapshot.revision,
                    Err(error) => eprintln!("region: {error}"),
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn failed(error: ClientError) -> RegionError {
    RegionError::Router(error.to_string())
}

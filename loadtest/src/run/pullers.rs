//! The real pullers of a plan, for each flow and thread.

use std::sync::Arc;

use crate::access::Access;
use crate::drive::MakePull;
use crate::plan::{Client, Plan, Reading};
use crate::pull::Puller;
use crate::random::{Purpose, seed_for};

/// Makes pullers that ask registries.
pub(crate) struct Pullers {
    access: Arc<Access>,
    seed: u64,
    flows: Vec<(Client, Reading)>,
}

impl Pullers {
    /// For the flows of `plan`.
    pub(crate) fn new(access: Arc<Access>, plan: &Plan, seed: u64) -> Self {
        let flows = plan.flows.iter().map(|flow| (flow.client, flow.reading.clone()));
        Self { access, seed, flows: flows.collect() }
    }
}

impl MakePull for Pullers {
    type Pull = Puller;

    fn make(&self, flow: usize, _thread: usize) -> Result<Puller, String> {
        let (client, reading) = self.flows.get(flow).ok_or("there is no such flow")?;
        // The same seed on every thread: what a pull does follows from its number, not from its thread.
        let seed = seed_for(self.seed, flow, Purpose::Puller);
        Puller::new(Arc::clone(&self.access), *client, reading.clone(), seed)
            .map_err(|error| error.to_string())
    }
}

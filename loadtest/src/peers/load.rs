//! The load: runs of this crate's own engine.

use std::sync::Arc;

use super::PeersError;
use crate::access::{Access, AccessOptions};
use crate::cost::Watched;
use crate::drive::Stop;
use crate::plan::Plan;
use crate::report::Report;
use crate::run::{MOST_UNDER_WAY, Prepared, Pullers, RunOptions};

/// What every run needs.
pub(super) struct Load {
    access: Arc<Access>,
}

impl Load {
    /// # Errors
    /// If TLS cannot be set up.
    pub(super) fn new() -> Result<Self, PeersError> {
        // The servers' certificate was made a moment ago and is in nobody's store.
        let options = AccessOptions { insecure: true, ..AccessOptions::default() };
        let access = options.open().map_err(|error| PeersError::Load(error.to_string()))?;
        Ok(Self { access: Arc::new(access) })
    }

    /// One run to its end.
    ///
    /// # Errors
    /// If it cannot begin, or a watched process does not run. Requests that fail are in the report.
    pub(super) fn run(&self, plan: Plan, watched: Vec<Watched>) -> Result<Report, PeersError> {
        let failed = |error: &dyn std::error::Error| PeersError::Load(error.to_string());
        let prepared = Prepared::new(plan, &[], MOST_UNDER_WAY).map_err(|error| failed(&error))?;
        let pullers = Pullers::new(Arc::clone(&self.access), prepared.plan(), prepared.seed());
        let mut options = RunOptions {
            pins: Vec::new(),
            most_under_way: MOST_UNDER_WAY,
            watched,
            metrics: Vec::new(),
            command: Vec::new(),
            live: None,
            stop: Stop::new(),
        };
        prepared.run(&pullers, &mut options).map_err(|error| failed(&error))
    }
}

/// Why a run in which all of `wanted` pulls should have ended well did not do so; nothing if they did.
pub(super) fn failure(report: &Report, wanted: usize) -> Option<String> {
    let flow = report.flows.first()?;
    if let Some(sample) = flow.failures.first() {
        return Some(format!("{}: {}", sample.subject, sample.detail));
    }
    if let Some(stalled) = &report.stalled {
        return Some(stalled.clone());
    }
    let ended: u64 = flow.pulls.values().sum();
    (ended != wanted as u64).then(|| format!("{ended} of {wanted} requests were answered in time"))
}

//! What may go wrong.

use std::io;
use std::path::PathBuf;

/// A simulation could not be done or kept.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] dataproxy_router_api::NameError),
    /// Input that the planner makes no plan from.
    #[error(transparent)]
    Input(#[from] dataproxy_planner::BadInput),
    /// A plot.
    #[error("a plot could not be drawn: {0}")]
    Plot(String),
    /// A result could not be written.
    #[error("{} could not be written: {source}", path.display())]
    Write {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

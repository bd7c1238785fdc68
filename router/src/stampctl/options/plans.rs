//! What can be asked about plans and what they have to keep to.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use dataproxy_router_api::{RegistryName, StampName};

use super::time;

/// Plans.
#[derive(Debug, Subcommand)]
pub(in crate::stampctl) enum Plan {
    /// Make one from what was measured: to relieve a stamp, to isolate a tenant, to move registries; without any of
    /// these, for whichever stamp has been hot for long enough. Nothing is kept unless it is submitted.
    Make(MakePlan),
    /// List them, the newest first.
    Ls,
    /// Show one: what it moves, what it predicts, where it is, what it waits for.
    Show {
        /// Its id.
        id: String,
    },
    /// Show what plans predicted, and what came of it.
    Ledger,
    /// Hand in a plan that was written to a file, for review.
    Submit {
        /// The file.
        file: PathBuf,
    },
    /// Agree to one as it is.
    Approve {
        /// Its id.
        id: String,
        /// Its hash, as you have read it; asked of the router if absent.
        #[arg(long)]
        hash: Option<String>,
    },
    /// Be against one.
    Reject {
        /// Its id.
        id: String,
    },
    /// Show how one goes on, to its end.
    Watch {
        /// Its id.
        id: String,
    },
    /// Let it take no step until it is resumed.
    Pause {
        /// Its id.
        id: String,
    },
    /// Let it go on.
    Resume {
        /// Its id.
        id: String,
        /// Pause after this phase, counted from 1.
        #[arg(long, value_name = "PHASE")]
        until_phase: Option<usize>,
    },
    /// Let the phase that is watched pass now.
    Promote {
        /// Its id.
        id: String,
    },
    /// Watch the phase for longer.
    Extend {
        /// Its id.
        id: String,
        /// By how much.
        #[arg(long, value_name = "TIME", value_parser = time)]
        by: Duration,
    },
    /// Stop it. What was switched stays where it is.
    Abort {
        /// Its id.
        id: String,
    },
    /// Take back what it moved.
    Rollback {
        /// Its id.
        id: String,
        /// The first phase to be taken back, counted from 1; all if absent.
        #[arg(long, value_name = "PHASE")]
        from_phase: Option<usize>,
    },
}

/// What a plan is to reach.
#[derive(Args, Debug)]
pub(in crate::stampctl) struct MakePlan {
    /// Make this stamp cooler.
    #[arg(long, value_name = "STAMP", group = "want")]
    pub(in crate::stampctl) relieve: Option<StampName>,
    /// Give this tenant's registries a stamp of their own.
    #[arg(long, value_name = "TENANT", group = "want", requires = "to")]
    pub(in crate::stampctl) isolate: Option<String>,
    /// Move these registries.
    #[arg(long = "move", value_name = "REGISTRY", group = "want", value_delimiter = ',', requires = "to")]
    pub(in crate::stampctl) registries: Vec<RegistryName>,
    /// Where to; any stamp if absent, and one alone with --isolate and --move.
    #[arg(long, value_name = "STAMP", value_delimiter = ',')]
    pub(in crate::stampctl) to: Vec<StampName>,
    /// The stamps that a tenant leaves; all but --to if absent.
    #[arg(long, value_name = "STAMP", value_delimiter = ',', requires = "isolate")]
    pub(in crate::stampctl) from: Vec<StampName>,
    /// The hot-node P95 to reach, as `30%`; the policy's if absent.
    #[arg(long, value_name = "PERCENT", requires = "relieve", value_parser = percent)]
    pub(in crate::stampctl) p95: Option<f64>,
    /// What chance is drawn from.
    #[arg(long, default_value_t = 0)]
    pub(in crate::stampctl) seed: u64,
    /// Write it to this file, to be read, kept and submitted later.
    #[arg(long, value_name = "FILE")]
    pub(in crate::stampctl) save: Option<PathBuf>,
    /// Hand it in for review at once.
    #[arg(long)]
    pub(in crate::stampctl) submit: bool,
}

/// Why something is hot, or stays where it is.
#[derive(Debug, Subcommand)]
pub(in crate::stampctl) enum Explain {
    /// A stamp.
    Stamp {
        /// Its name.
        name: StampName,
    },
    /// A registry.
    Registry {
        /// Its name.
        name: RegistryName,
    },
}

/// The freeze.
#[derive(Debug, Subcommand)]
pub(in crate::stampctl) enum Freeze {
    /// Show it.
    Show,
    /// Let no move begin. It needs a reason.
    On {
        /// For how long; until it is lifted, if absent.
        #[arg(long = "for", value_name = "TIME", value_parser = time)]
        lasts: Option<Duration>,
    },
    /// Let moves begin again.
    Off,
}

/// The rules.
#[derive(Debug, Subcommand)]
pub(in crate::stampctl) enum Policy {
    /// Show them, all settings with their values.
    Show,
    /// Set them from a JSON file; what it does not say is as usual.
    Set {
        /// The file.
        file: PathBuf,
    },
}

/// A part of a whole, as `30%`.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    number
        .filter(|number| (0.0..=100.0).contains(number))
        .map(|number| number / 100.0)
        .ok_or_else(|| format!("{text:?} is no part of a whole; 30% is"))
}

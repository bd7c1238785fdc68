//! Servers side by side: the same warm work for each, in turn, on one machine.
//!
//! ```text
//! stage: content, certificate ─► kind: configuration ─► process: started, bound to a core ─► field
//! field ─► warm-up, each blob checked ─► for each scheme, work and round: each server once ─► result ─► table
//!                                              └─ quiet: waits for the machine; load: one run of the crate's own engine
//! ```
//!
//! What makes the figures comparable: one worker each, all bound to one core and the load to another, the same cipher, the same
//! bodies dropped in the same way, rounds in turn (A B C A B C …) so that a machine that drifts drifts for all, and CPU that is
//! read from the kernel and not from the servers.

mod congestion;
mod external;
mod field;
mod kind;
mod load;
mod place;
mod process;
mod quiet;
mod recipe;
mod result;
mod stage;
mod table;
mod work;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

pub use external::{External, ExternalError};
pub use kind::Kind;
pub use result::{Comparison, Contestant, FORMAT, Row, Sample, Spread};
pub use stage::Amount;
pub use table::{html, markdown};
pub use work::{Scheme, Work};

use crate::seed::SeedError;
use field::Field;
use place::Places;
pub(crate) use process::Started;
use stage::Stage;

/// What is compared, and how.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) externals: Vec<External>,
    /// The program of [`Kind::Dataproxy`].
    pub(crate) dataproxy: PathBuf,
    /// Leaves out what is not installed.
    pub(crate) skip_missing: bool,
    pub(crate) schemes: Vec<Scheme>,
    pub(crate) works: Vec<Work>,
    pub(crate) rounds: u32,
    pub(crate) duration: Duration,
    pub(crate) amount: Amount,
    /// Where content, configurations and logs lie.
    pub(crate) folder: PathBuf,
    /// Puts loopback under cubic for the time of the run.
    pub(crate) set_cubic: bool,
    /// Measures under pacing congestion control all the same.
    pub(crate) allow_pacing: bool,
    /// Waits for a quiet machine before each measurement.
    pub(crate) wait_for_quiet: bool,
    /// Priority of servers and load.
    pub(crate) nice: i32,
}

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// Programs that are not installed.
    #[error("not installed: {}; or leave them out with --skip-missing", list(.0))]
    Missing(Vec<Kind>),
    /// Nothing to compare.
    #[error("nothing is left to compare: name servers with --only or --external")]
    Nothing,
    /// Loopback paces.
    #[error("{0}\nor measure it all the same with --allow-pacing")]
    Pacing(String),
    /// Loopback's congestion control.
    #[error(
        "the congestion control of loopback cannot be changed (root, and Debian's iproute2, are needed): {0}"
    )]
    Congestion(std::io::Error),
    /// The content.
    #[error(transparent)]
    Content(#[from] SeedError),
    /// A folder of an earlier run with other sizes.
    #[error("{} holds content of other numbers or sizes; name another --folder", .0.display())]
    OtherContent(PathBuf),
    /// The certificate.
    #[error("no certificate could be made: {0}")]
    Certificate(String),
    /// A server.
    #[error("{name} does not start: {problem}")]
    Start {
        /// Which.
        name: String,
        /// What it said.
        problem: String,
    },
    /// A server that answers with something else.
    #[error("{name} does not serve the content over {scheme}: {problem}")]
    WrongContent {
        /// Which.
        name: String,
        /// How it was reached.
        scheme: Scheme,
        /// The first failure.
        problem: String,
    },
    /// The load.
    #[error("the load failed: {0}")]
    Load(String),
    /// The machine.
    #[error("this machine cannot be read: {0}")]
    Machine(#[from] std::io::Error),
}

impl PeersError {
    /// The exit code: 2 for what the command line asked for, 3 for what could not be reached or run.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Nothing | Self::Content(_) | Self::OtherContent(_) => 2,
            _ => 3,
        }
    }
}

fn list(kinds: &[Kind]) -> String {
    let each = kinds.iter().map(|kind| format!("{} ({})", kind.as_str(), kind.comes_by()));
    each.collect::<Vec<_>>().join(", ")
}

/// Writes the content and a certificate, and nothing else.
///
/// # Errors
/// If they cannot be written.
pub(crate) fn write_content(settings: &Settings) -> Result<(), PeersError> {
    Stage::at(&settings.folder).set(&settings.amount, &mut |_| {}).map(drop)
}

/// Starts the servers, gives them their work, and ends them; `started` ends them too, where this is broken off. `tell` is told
/// what is being done.
///
/// # Errors
/// If something is missing, does not start or serves wrong bytes. Requests that fail later are no error: they are counted.
pub(crate) fn run(
    settings: &Settings,
    started: &Started,
    tell: &mut dyn FnMut(&str),
) -> Result<Comparison, PeersError> {
    let (present, missing): (Vec<Kind>, Vec<Kind>) =
        settings.kinds.iter().partition(|kind| kind.program(&settings.dataproxy).is_some());
    if !missing.is_empty() && !settings.skip_missing {
        return Err(PeersError::Missing(missing));
    }
    if present.is_empty() && settings.externals.is_empty() {
        return Err(PeersError::Nothing);
    }
    if settings.set_cubic {
        started.put_back_at_the_end(congestion::Cubic::set().map_err(PeersError::Congestion)?);
    }
    let congestion_control = congestion::of_loopback();
    if congestion::paces(&congestion_control) && !settings.allow_pacing {
        return Err(PeersError::Pacing(congestion::advice(&congestion_control)));
    }
    // Before this thread is bound, after which it sees one core.
    let machine = crate::machine::look();
    let places = Places::of_this_process()?;
    let mut notes = notes(&missing, &congestion_control, places);
    place::bind(places.client)?;
    if place::nice(settings.nice).is_err() {
        notes.push(format!(
            "the priority {} is not allowed here; everything ran at the usual one",
            settings.nice
        ));
    }
    tell("writing the content");
    let stage = Stage::at(&settings.folder);
    let blobs = stage.set(&settings.amount, &mut |_| {})?;
    let field = Field::start(settings, &present, &stage, started, places, tell)?;
    let rows = field.measure(settings, &blobs, &mut notes, tell)?;
    let comparison = Comparison {
        format: FORMAT,
        tool: concat!("loadtest ", env!("CARGO_PKG_VERSION")).to_owned(),
        started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        machine,
        congestion_control,
        rounds: settings.rounds,
        seconds: settings.duration.as_secs_f64(),
        servers: field.contestants(),
        notes,
        rows,
    };
    started.end();
    Ok(comparison)
}

fn notes(missing: &[Kind], congestion_control: &str, places: Places) -> Vec<String> {
    let mut notes = Vec::new();
    if !missing.is_empty() {
        notes.push(format!("left out, as they are not installed: {}", list(missing)));
    }
    if congestion::paces(congestion_control) {
        notes.push(format!("{congestion_control} paces on loopback: the figures are mostly of its timers"));
    }
    if places.shared() {
        notes.push(
            "there is one core only, which servers and load share: only the CPU figures count".to_owned(),
        );
    }
    notes
}

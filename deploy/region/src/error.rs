//! Why the region could not do what was asked, and what would help.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dataproxy_import::{ImportError, NameError};

/// A failure that ends the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegionError {
    #[error("cannot use {}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{} is not usable: {problem}; correct it, or remove it to begin with the first registries again", path.display())]
    Bindings { path: PathBuf, problem: String },
    #[error("there is no region in {}; start it once, or name its folder with --data DIR", .0.display())]
    NoRegion(PathBuf),
    #[error("another region (process {pid}) works in {}; stop it, or choose another folder with --data DIR", data.display())]
    InUse { data: PathBuf, pid: String },
    #[error("{address} is needed for the {purpose} of {process}, but {}", hint(error))]
    Address { address: SocketAddr, purpose: &'static str, process: String, error: io::Error },
    #[error("{process} {what}; the end of {}:\n{tail}", log.display())]
    Process { process: String, what: String, log: PathBuf, tail: String },
    #[error("azurite-blob is not on the PATH; `npm install -g azurite` brings it, or leave out --azurite")]
    NoAzurite,
    #[error("storage account {account}: {what}")]
    Storage { account: String, what: String },
    #[error("the router: {0}; its log is logs/router.log in the region's folder")]
    Router(String),
    #[error("{text:?} is not REGISTRY/REPOSITORY:TAG, such as contoso/app:v1{detail}")]
    Reference { text: String, detail: String },
    #[error("there is no registry {name}; the registries of this region are {}", known.join(", "))]
    Registry { name: String, known: Vec<String> },
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    RegionName(#[from] dataproxy_router_api::NameError),
    #[error("the system gives no {what}: {error}")]
    System { what: &'static str, error: io::Error },
}

fn hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there; stop it, or move all ports with --port-offset N".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have it; a region needs the whole of 127.0.0.0/8 on the loopback interface"
                .to_owned()
        }
        _ => format!("cannot be used: {error}; all ports can be moved with --port-offset N"),
    }
}

impl RegionError {
    pub(crate) fn file(path: &Path, error: io::Error) -> Self {
        Self::File { path: path.to_owned(), error }
    }

    /// 2: the command names something that does not exist. 1: everything else.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Reference { .. }
            | Self::Registry { .. }
            | Self::NoRegion(_)
            | Self::NoAzurite
            | Self::Name(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

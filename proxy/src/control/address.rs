//! Where the control listener is: on this machine and nowhere else.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokio::net::UnixSocket;

use crate::admin::Listener;

/// Who may use the socket of a path: its owner.
const MODE: u32 = 0o600;
const BACKLOG: u32 = 64;

/// An address of loopback, or a path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum ControlAddress {
    /// An address that only this machine reaches. Every user of it may ask.
    Loopback(SocketAddr),
    /// A socket in the file system, which only the node's own user and root may use.
    Unix(PathBuf),
}

impl TryFrom<String> for ControlAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let right = "\"127.0.0.1:9101\" or \"unix:/run/dataproxy/control.sock\" would be right";
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(format!("{text:?} names no path; {right}"))
            } else {
                Ok(Self::Unix(PathBuf::from(path)))
            };
        }
        let address: SocketAddr =
            text.parse().map_err(|_| format!("{text:?} is neither an address nor a path; {right}"))?;
        if address.ip().to_canonical().is_loopback() {
            Ok(Self::Loopback(address))
        } else {
            Err(format!("{address} is not of loopback, and whoever reaches it could end the node; {right}"))
        }
    }
}

impl ControlAddress {
    /// The same, a relative path taken from `folder`.
    pub(crate) fn within(self, folder: &Path) -> Self {
        match self {
            Self::Unix(path) => Self::Unix(folder.join(path)),
            Self::Loopback(address) => Self::Loopback(address),
        }
    }
}

impl fmt::Display for ControlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(address) => write!(f, "http://{address}/"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A path or an address that control cannot be served at.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address.
    #[error(transparent)]
    Address(#[from] crate::accept::BindError),
    /// A path.
    #[error("{} cannot be listened on (control.listen): {error}; give it a path in a folder of the node's own, which no other process has", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Listens. Call it inside a runtime.
///
/// # Errors
/// [`BindError`]
pub fn bind(address: &ControlAddress) -> Result<Listener, BindError> {
    match address {
        ControlAddress::Loopback(address) => {
            let refused =
                |error| crate::accept::BindError { address: *address, setting: "control.listen", error };
            let listener = crate::accept::bind(*address, "control.listen")?.into_std().map_err(refused)?;
            Ok(Listener::Tcp(listener))
        }
        ControlAddress::Unix(path) => {
            let bound = bind_path(path).and_then(tokio::net::UnixListener::into_std);
            bound.map(Listener::Unix).map_err(|error| BindError::Path { path: path.clone(), error })
        }
    }
}

/// Binds a path, in place of a socket that a process has left there which has ended.
fn bind_path(path: &Path) -> io::Result<tokio::net::UnixListener> {
    let listen = || {
        let socket = UnixSocket::new_stream()?;
        // Linux gives the file the mode of the socket, less the umask: it is never open to others.
        rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(MODE))?;
        socket.bind(path)?;
        socket.listen(BACKLOG)
    };
    match listen() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_behind(path) => {
            std::fs::remove_file(path)?;
            listen()
        }
        bound => bound,
    }
}

fn is_left_behind(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let connected = std::os::unix::net::UnixStream::connect(path);
    is_socket && connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn control_is_never_reachable_from_another_machine() {
        let parse = |text: &str| ControlAddress::try_from(text.to_owned());
        assert!(matches!(parse("127.0.1.1:9101"), Ok(ControlAddress::Loopback(_))));
        assert!(matches!(parse("[::1]:9101"), Ok(ControlAddress::Loopback(_))));
        assert_eq!(parse("unix:run/c.sock"), Ok(ControlAddress::Unix("run/c.sock".into())));
        for text in ["0.0.0.0:9101", "[::]:9101", "10.0.0.1:9101", "localhost:9101", "unix:", "/run/c.sock"] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("would be right"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_path_is_its_owners_alone_and_is_taken_over_from_a_process_that_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let address = ControlAddress::Unix(path.clone());
        let first = bind(&address).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let error = bind(&address).unwrap_err().to_string();
        assert!(error.contains("control.sock cannot be listened on (control.listen)"), "{error}");
        drop(first);
        bind(&address).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "not a socket").unwrap();
        bind(&address).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), b"not a socket", "nothing else is removed");
    }
}

//! Sockets that the process which started this one has bound already, as systemd does: none is unbound while one node ends
//! and the next begins, so no connection is refused.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

use crate::config::Config;

/// Sockets passed to this process, by what they are for, and the addresses that are still to be bound.
#[derive(Debug, Default)]
pub struct Passed {
    /// Those for `listen.pull`.
    pub pull: Vec<TcpListener>,
    /// Those for `listen.tls`.
    pub tls: Vec<TcpListener>,
    /// The one for `admin.listen`.
    pub admin: Option<TcpListener>,
    /// Addresses for which none was passed.
    pub to_bind: ToBind,
}

/// Addresses to bind.
#[derive(Debug, Default)]
pub struct ToBind {
    /// Of `listen.pull`.
    pub pull: Vec<SocketAddr>,
    /// Of `listen.tls`.
    pub tls: Vec<SocketAddr>,
}

/// A socket that was passed and cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PassedError {
    /// It is not a listener of TCP.
    #[error("passed socket {0}: {1}; a stream socket of TCP (ListenStream=) would be right")]
    Kind(usize, std::io::Error),
    /// Nothing here is for it.
    #[error(
        "passed socket {0} listens on {1}, which is none of listen.pull, listen.tls and admin.listen: list it there, or name it pull, tls or admin (FileDescriptorName=)"
    )]
    Unknown(usize, SocketAddr),
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Pull,
    Tls,
    Admin,
}

impl Passed {
    /// Takes what the environment says was passed (`LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`; sd_listen_fds(3)). Call it
    /// once, before there is a second thread.
    ///
    /// # Errors
    /// [`PassedError`]
    pub fn from_env(config: &Config) -> Result<Self, PassedError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();
        let mut names = names.split(':');
        for at in 0..passed.len() {
            let name = names.next().unwrap_or_default();
            let socket = passed.take_tcp_listener(at).map_err(|error| PassedError::Kind(at, error))?;
            sockets.extend(socket.map(|socket| (name, socket)));
        }
        Self::sort(sockets, config)
    }

    /// Whether somebody else has the sockets that pulls are served at, too: nobody is refused once this process has closed them.
    pub(crate) fn serves_pulls(&self) -> bool {
        !(self.pull.is_empty() && self.tls.is_empty())
            && self.to_bind.pull.is_empty()
            && self.to_bind.tls.is_empty()
    }

    /// A socket is for what its name says, or else for what its address is listed under. Sockets with a setting's name stand
    /// in place of all its addresses.
    fn sort(sockets: Vec<(&str, TcpListener)>, config: &Config) -> Result<Self, PassedError> {
        let named = |wanted| sockets.iter().any(|(name, _)| purpose(name) == Some(wanted));
        let mut to_bind = ToBind::default();
        if !named(Purpose::Pull) {
            to_bind.pull.clone_from(&config.listen.pull);
        }
        if !named(Purpose::Tls) {
            to_bind.tls.clone_from(&config.listen.tls);
        }
        let mut passed = Self { to_bind, ..Self::default() };
        for (at, (name, socket)) in sockets.into_iter().enumerate() {
            let address = socket.local_addr().map_err(|error| PassedError::Kind(at, error))?;
            let by_address = || {
                if config.listen.pull.contains(&address) {
                    Some(Purpose::Pull)
                } else if config.listen.tls.contains(&address) {
                    Some(Purpose::Tls)
                } else {
                    (config.admin.listen == address).then_some(Purpose::Admin)
                }
            };
            match purpose(name).or_else(by_address).ok_or(PassedError::Unknown(at, address))? {
                Purpose::Pull => passed.pull.push(socket),
                Purpose::Tls => passed.tls.push(socket),
                Purpose::Admin => passed.admin = Some(socket),
            }
            passed.to_bind.pull.retain(|listed| *listed != address);
            passed.to_bind.tls.retain(|listed| *listed != address);
        }
        Ok(passed)
    }
}

fn purpose(name: &str) -> Option<Purpose> {
    match name {
        "pull" => Some(Purpose::Pull),
        "tls" => Some(Purpose::Tls),
        "admin" => Some(Purpose::Admin),
        _ => None,
    }
}

/// Enters a passed socket into the runtime that this is called in.
///
/// # Errors
/// The system refuses.
pub(crate) fn open(socket: TcpListener) -> std::io::Result<tokio::net::TcpListener> {
    socket.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(socket)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn socket() -> (SocketAddr, TcpListener) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        (socket.local_addr().unwrap(), socket)
    }

    fn config(pull: &[SocketAddr]) -> Config {
        let text = format!(
            "[node]\nname = \"n1\"\n[bindings]\nsource = \"file\"\npath = \"b\"\n[listen]\npull = [{}]\n",
            pull.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ")
        );
        Config::parse(Path::new("node.toml"), &text).unwrap()
    }

    #[test]
    fn a_socket_is_for_what_its_name_says_or_else_for_its_address() {
        let ((listed, one), (free, two), (other, three)) = (socket(), socket(), socket());
        let unbound: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let passed = Passed::sort(vec![("node.socket", one)], &config(&[listed, unbound])).unwrap();
        assert_eq!((passed.pull.len(), passed.to_bind.pull), (1, vec![unbound]));
        let passed = Passed::sort(vec![("pull", two), ("admin", three)], &config(&[unbound])).unwrap();
        assert_eq!(passed.pull[0].local_addr().unwrap(), free);
        assert_eq!(passed.admin.unwrap().local_addr().unwrap(), other);
        assert!(passed.to_bind.pull.is_empty(), "what is named stands for all");
    }

    #[test]
    fn a_socket_that_nothing_is_for_is_refused_with_what_would_be_right() {
        let (address, socket) = socket();
        let error = Passed::sort(vec![("", socket)], &config(&["127.0.0.1:1".parse().unwrap()])).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(&address.to_string()) && error.contains("FileDescriptorName="), "{error}");
    }
}

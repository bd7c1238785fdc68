//! What can go wrong on a connection.

use std::borrow::Cow;
use std::io;

use crate::outcome::Outcome;

/// Why an exchange did not come to its end. Whoever sent the request adds which one it was.
#[derive(Debug)]
pub(crate) struct Fault {
    /// What it counts as.
    pub(crate) outcome: Outcome,
    /// What came, as the end of a sentence.
    pub(crate) what: Cow<'static, str>,
    /// Not a byte of an answer came: on a connection that was kept, the request may be sent again (RFC 9112, 9.3.1).
    pub(crate) unanswered: bool,
    /// It failed for want of something of this machine (a port, a file, memory), and the server has no part in it.
    pub(crate) starved: bool,
}

impl Fault {
    pub(crate) fn new(outcome: Outcome, what: impl Into<Cow<'static, str>>) -> Self {
        Self { outcome, what: what.into(), unanswered: false, starved: false }
    }

    pub(crate) fn protocol(what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Outcome::Protocol, what)
    }

    pub(crate) fn unanswered(self) -> Self {
        Self { unanswered: true, ..self }
    }

    /// An error of the socket, after the connection was made.
    pub(crate) fn socket(error: &io::Error) -> Self {
        match error.kind() {
            // What rustls makes of bytes that are no record, or of an alert.
            io::ErrorKind::InvalidData => Self::protocol(format!("TLS broke: {error}")),
            _ => Self::new(Outcome::Reset, format!("the connection broke: {error}")),
        }
    }
}

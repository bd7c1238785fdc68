//! What one kind of client does in every request: its name, its connections, its patience.

use std::time::Duration;

/// The ways of one client that do not depend on what it asks for.
#[derive(Debug)]
pub(crate) struct Habits {
    /// `User-Agent`.
    pub(crate) user_agent: &'static str,
    /// What becomes of a connection after an answer.
    pub(crate) keeping: Keeping,
    /// Layers asked for at once.
    pub(crate) layers_at_once: usize,
    /// `Accept-Encoding` of a GET without a range, as Go's transport adds it. What comes encoded all the same is refused.
    pub(crate) accept_encoding: Option<&'static str>,
    /// How long it waits for a connection.
    pub(crate) connect_within: Duration,
    /// How long it waits for a TLS handshake.
    pub(crate) tls_within: Duration,
    /// Whether it accepts, for a blob, the media type that the manifest says.
    pub(crate) names_media_types: bool,
    /// How it asks for tokens.
    pub(crate) tokens: TokenRequest,
}

/// What becomes of connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Keeping {
    /// One connection for each request: `Connection: close`, and the name is resolved each time.
    Never,
    /// Kept until the pull ends: the client makes a transport for each pull.
    ForThePull {
        /// Idle ones to one host.
        idle: usize,
        /// How long one may be idle.
        idle_for: Duration,
    },
    /// Kept for the next pull too.
    Always,
}

/// How a token is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TokenRequest {
    /// GET, with Basic credentials and `account=` if there are any.
    Get,
    /// With credentials POST first, then GET if the server knows none; without them GET.
    PostFirst,
}

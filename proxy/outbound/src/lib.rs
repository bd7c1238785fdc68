//! The HTTP client that storage accounts are asked with, and whom every client of ours trusts.
//!
//! One stack for all of them: hyper's pool, rustls with aws-lc-rs, the system's certificate authorities and, where
//! an account has its own, those of one more file. Redirects are not followed and nothing is retried: what either
//! would mean is for whoever asks to decide.

mod connect;
mod trust;

use std::path::Path;
use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub use connect::{CONNECT_LIMIT, ConnectLimitReached, Connector};
pub use trust::{TrustError, client_config};

/// Idle connections are dropped before storage's front ends drop them: a request that meets such a close is lost.
const IDLE_LIMIT: Duration = Duration::from_secs(50);
/// Idle connections kept for each host.
const IDLE_PER_HOST: usize = 64;

/// A client by HTTP/1.1 (storage speaks no other), plain or over TLS. `tls` if TLS is spoken for certain; else it is no
/// error that nobody is trusted, so that a machine without authorities can still speak to an emulator.
///
/// The authorities are read once, when this is called. A connection that an idle pool had and the far end closed is
/// replaced by hyper before the request is written, so a request reaches storage at most once.
///
/// # Errors
/// [`TrustError`]
pub fn client<B>(tls: bool, ca_file: Option<&Path>) -> Result<Client<Connector, B>, TrustError>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_LIMIT)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .build(Connector::new(client_config(ca_file, tls)?)))
}

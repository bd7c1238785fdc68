//! HTTP/1.1 as a measuring client needs it: each part of a connection timed apart, a clean end told from a reset, bodies
//! dropped inside the kernel or read at a stated pace.
//!
//! ```text
//! pool ─► dial: resolve, connect, TLS ─► connection: one request, one answer ─► answer: head, framing ─► taker
//! ```
//!
//! HTTP/2 is not spoken: stock docker and containerd speak HTTP/1.1 to registries. Why this is not hyper's client:
//! `docs/adr/0012-loadtest-wire.md`.

mod answer;
mod chunked;
mod connection;
mod dial;
mod fault;
mod head;
mod pace;
mod pool;
#[cfg(test)]
mod properties;
mod scratch;
mod taker;
mod trust;

pub(crate) use connection::{Connection, Sent};
pub(crate) use dial::Dialer;
pub use dial::Redirected;
pub(crate) use fault::Fault;
pub(crate) use head::Head;
pub(crate) use pool::Pool;
pub(crate) use scratch::Scratch;
pub(crate) use taker::{Intake, Taker};
pub use trust::TrustError;
pub(crate) use trust::trust;

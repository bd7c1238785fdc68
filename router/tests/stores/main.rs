//! What the stores promise: each maker passes the one suite, and keeps what is its own.

mod embedded;
mod memory;

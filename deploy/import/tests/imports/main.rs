//! What an import promises: every form comes out right, and whatever is wrong changes nothing.

#![allow(
    clippy::expect_used,
    reason = "fixtures are not test functions, but speak by panicking all the same"
)]

mod fixture;
mod formats;
mod refusals;

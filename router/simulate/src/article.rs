//! The article's example, planned from raw telemetry and carried out phase by phase.

pub mod fitted;

#[cfg(test)]
mod tests;

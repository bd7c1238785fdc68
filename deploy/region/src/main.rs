//! A whole region on one machine.

fn main() {}

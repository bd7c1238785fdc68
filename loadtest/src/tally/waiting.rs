//! What a pull under way waits for, as far as its sink was told.

use std::fmt;

/// What a pull waits for. One that has several requests under way waits for what was last heard of any of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Waiting {
    /// An address, a connection, or a place on one.
    Connection,
    /// The head of an answer.
    Answer,
    /// More of a body.
    Body,
    /// Its own next step: between two requests, or in a pause of its client.
    NextStep,
}

/// How many there are.
pub(crate) const WAITS: usize = 4;

impl Waiting {
    pub(crate) const ALL: [Self; WAITS] = [Self::Connection, Self::Answer, Self::Body, Self::NextStep];
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "a connection",
            Self::Answer => "an answer",
            Self::Body => "more of a body",
            Self::NextStep => "their next step",
        })
    }
}

//! One answer while it arrives: head, then body by its framing.

use super::chunked::Chunked;
use super::head::{self, Ends, HEAD_BYTES};
use super::{Fault, Intake, Taker};
use crate::outcome::Outcome;

/// Interim answers (1xx) before the final one.
const INTERIM: u8 = 8;

/// What has come of an answer, and what may still come.
pub(super) struct Answer {
    bodiless: bool,
    stage: Stage,
    /// A head that did not come in one piece.
    partial: Vec<u8>,
    interim: u8,
    keeps_alive: bool,
    came: bool,
    body: u64,
}

#[derive(Clone, Copy)]
enum Stage {
    Head,
    Body(Intake, Framing),
    /// `whole`: all of the body came, so that the connection is at a new beginning.
    Done {
        whole: bool,
    },
}

#[derive(Clone, Copy)]
enum Framing {
    Bytes(u64),
    Chunked(Chunked),
    Connection,
}

impl Answer {
    /// `bodiless`: the answer to a HEAD.
    pub(super) fn new(bodiless: bool) -> Self {
        Self {
            bodiless,
            stage: Stage::Head,
            partial: Vec::new(),
            interim: 0,
            keeps_alive: false,
            came: false,
            body: 0,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done { .. })
    }

    pub(super) fn in_head(&self) -> bool {
        matches!(self.stage, Stage::Head)
    }

    /// Whether the connection can carry a next request.
    pub(super) fn leaves_reusable(&self) -> bool {
        self.keeps_alive && matches!(self.stage, Stage::Done { whole: true })
    }

    /// How many bytes may be dropped unseen next; 0 where they must be looked at.
    pub(super) fn droppable(&self) -> u64 {
        match self.stage {
            Stage::Body(Intake::Drop, Framing::Bytes(left)) => left,
            Stage::Body(Intake::Drop, Framing::Chunked(chunked)) => chunked.left(),
            Stage::Body(Intake::Drop, Framing::Connection) => u64::MAX,
            _ => 0,
        }
    }

    /// Whether somebody looks at the body.
    pub(super) fn is_shown(&self) -> bool {
        matches!(self.stage, Stage::Body(Intake::Show, _))
    }

    /// `count` bytes were dropped; at most [`Self::droppable`] and what the taker wanted.
    pub(super) fn dropped(&mut self, count: u64, taker: &mut dyn Taker) {
        if let Stage::Body(_, framing) = &mut self.stage {
            framing.took(count);
            self.body += count;
            taker.body(count, None);
            self.settle(taker);
        }
    }

    /// Bytes came.
    pub(super) fn push(&mut self, bytes: &[u8], taker: &mut dyn Taker) -> Result<(), Fault> {
        self.came |= !bytes.is_empty();
        if !self.in_head() {
            return self.push_body(bytes, taker);
        }
        if self.partial.is_empty() {
            let rest = self.read_heads(bytes, taker)?;
            if self.in_head() {
                self.keep(rest)?;
                return Ok(());
            }
            return self.push_body(rest, taker);
        }
        self.keep(bytes)?;
        // A head ends with a line's end: without one there is nothing new to see.
        if !bytes.contains(&b'\n') {
            return Ok(());
        }
        let partial = std::mem::take(&mut self.partial);
        let rest = self.read_heads(&partial, taker)?;
        if self.in_head() {
            self.keep(rest)?;
            return Ok(());
        }
        self.push_body(rest, taker)
    }

    /// The peer closed, or TLS ended without its goodbye (`abrupt`).
    pub(super) fn end(&mut self, abrupt: bool) -> Result<(), Fault> {
        match self.stage {
            Stage::Done { .. } => Ok(()),
            Stage::Head => {
                let fault =
                    Fault::new(Outcome::Reset, "the connection was closed before the answer's head had come");
                Err(if self.came { fault } else { fault.unanswered() })
            }
            Stage::Body(_, Framing::Connection) if !abrupt => {
                self.stage = Stage::Done { whole: true };
                Ok(())
            }
            Stage::Body(_, framing) => Err(Fault::new(Outcome::Short, self.short(framing))),
        }
    }

    /// The socket failed.
    pub(super) fn broke(&self, error: &std::io::Error) -> Fault {
        let fault = Fault::socket(error);
        match self.stage {
            Stage::Head if !self.came => fault.unanswered(),
            Stage::Body(..) => Fault {
                what: format!("{} after {} bytes of the body", fault.what, self.body).into(),
                ..fault
            },
            _ => fault,
        }
    }

    fn short(&self, framing: Framing) -> String {
        match framing {
            Framing::Bytes(left) => {
                format!("the body ended after {} of {} bytes", self.body, self.body.saturating_add(left))
            }
            Framing::Chunked(_) => format!("the body ended after {} bytes, before its last chunk", self.body),
            Framing::Connection => {
                format!("TLS ended without a goodbye after {} bytes of the body", self.body)
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.partial.len() + bytes.len() > HEAD_BYTES {
            return Err(Fault::protocol(format!("the answer's head has no end within {HEAD_BYTES} bytes")));
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// Reads interim heads and the final one; what follows the last whole head is handed back.
    fn read_heads<'b>(&mut self, mut bytes: &'b [u8], taker: &mut dyn Taker) -> Result<&'b [u8], Fault> {
        loop {
            let read = head::read(bytes, self.bodiless, |head, manner| {
                let is_final = !(100..200).contains(&manner.status);
                (manner, is_final.then(|| taker.head(head)))
            })?;
            let Some((count, (manner, intake))) = read else { return Ok(bytes) };
            bytes = bytes.get(count..).unwrap_or_default();
            if let Some(intake) = intake {
                self.keeps_alive = manner.keeps_alive;
                self.stage = Stage::Body(intake, Framing::from(manner.ends));
                self.settle(taker);
                return Ok(bytes);
            }
            self.interim += 1;
            if self.interim > INTERIM || manner.status == 101 {
                return Err(Fault::protocol(format!("a {} came that nobody asked for", manner.status)));
            }
        }
    }

    fn push_body(&mut self, mut bytes: &[u8], taker: &mut dyn Taker) -> Result<(), Fault> {
        while let Stage::Body(_, framing) = &mut self.stage {
            if let Framing::Chunked(chunked) = framing {
                let count = chunked.frame(bytes)?;
                bytes = bytes.get(count..).unwrap_or_default();
            }
            let wanted = framing.left().min(taker.wanted()).min(bytes.len() as u64);
            let (now, later) = bytes.split_at(usize::try_from(wanted).unwrap_or(bytes.len()));
            if !now.is_empty() {
                framing.took(wanted);
                self.body += wanted;
                taker.body(wanted, Some(now));
            }
            bytes = later;
            self.settle(taker);
            if bytes.is_empty() {
                break;
            }
        }
        match self.stage {
            Stage::Done { whole: true } if !bytes.is_empty() => {
                Err(Fault::protocol(format!("{} bytes came after the end of the body", bytes.len())))
            }
            _ => Ok(()),
        }
    }

    /// Ends the body where it has ended, or where nobody wants more of it.
    fn settle(&mut self, taker: &dyn Taker) {
        if let Stage::Body(_, framing) = self.stage {
            if framing.is_whole() {
                self.stage = Stage::Done { whole: true };
            } else if taker.wanted() == 0 {
                self.stage = Stage::Done { whole: false };
            }
        }
    }
}

impl From<Ends> for Framing {
    fn from(ends: Ends) -> Self {
        match ends {
            Ends::AfterBytes(count) => Self::Bytes(count),
            Ends::Chunked => Self::Chunked(Chunked::new()),
            Ends::WithConnection => Self::Connection,
        }
    }
}

impl Framing {
    fn left(&self) -> u64 {
        match self {
            Self::Bytes(left) => *left,
            Self::Chunked(chunked) => chunked.left(),
            Self::Connection => u64::MAX,
        }
    }

    fn took(&mut self, count: u64) {
        match self {
            Self::Bytes(left) => *left = left.saturating_sub(count),
            Self::Chunked(chunked) => chunked.took(count),
            Self::Connection => {}
        }
    }

    fn is_whole(&self) -> bool {
        match self {
            Self::Bytes(left) => *left == 0,
            Self::Chunked(chunked) => *chunked == Chunked::Done,
            Self::Connection => false,
        }
    }
}

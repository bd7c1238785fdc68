//! Origins for tests: one in memory that counts what it is asked, and scripts of how storage misbehaves.
//!
//! Nothing here sleeps. A slow origin is a [`Gate`] that the test opens, a stalled one never goes on.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::watch;

use crate::{ETag, ObjectName, Origin, OriginError, OriginErrorKind, OriginRead, Source};

/// A door that the test opens. Everything that waits at it then goes on.
#[derive(Clone, Debug)]
pub struct Gate {
    open: watch::Sender<bool>,
    arrived: watch::Sender<usize>,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self { open: watch::Sender::new(false), arrived: watch::Sender::new(0) }
    }

    /// Opens it for good.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until it is open.
    pub async fn pass(&self) {
        self.arrived.send_modify(|count| *count += 1);
        until(&self.open, |open| *open).await;
    }

    /// Waits until so many have come to the gate, those gone through included.
    pub async fn arrived(&self, count: usize) {
        until(&self.arrived, |arrived| *arrived >= count).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits until the value is as wanted. The sender is borrowed, so the channel cannot close meanwhile.
async fn until<T>(value: &watch::Sender<T>, wanted: impl FnMut(&T) -> bool) {
    let mut changes = value.subscribe();
    let _reached = changes.wait_for(wanted).await;
}

/// How one answer goes wrong. Byte counts are from the start of that answer's body.
#[derive(Clone, Debug)]
pub enum Fault {
    /// No answer but this error.
    Refuse(OriginErrorKind),
    /// No answer at all.
    Mute,
    /// The answer waits at the gate.
    HoldAnswer(Gate),
    /// The body waits at the gate after so many bytes.
    Hold {
        /// Bytes sent before.
        after_bytes: u64,
        /// What it waits at.
        gate: Gate,
    },
    /// The body goes silent after so many bytes.
    Stall {
        /// Bytes sent before.
        after_bytes: u64,
    },
    /// The body fails after so many bytes.
    Break {
        /// Bytes sent before.
        after_bytes: u64,
        /// The error.
        kind: OriginErrorKind,
    },
    /// The body ends after so many bytes as if all were well.
    Truncate {
        /// Bytes sent before.
        after_bytes: u64,
    },
    /// So many bytes more than promised follow.
    Overrun {
        /// Surplus bytes.
        bytes: u64,
    },
    /// The bit-wise complement stands at this offset of the object, where the answer covers it.
    Corrupt {
        /// Offset in the object.
        at: u64,
    },
    /// The answer is for the range that starts so many bytes later.
    Shift {
        /// Bytes.
        by: u64,
    },
    /// The pin is ignored, as by storage without conditional reads.
    IgnorePin,
}

/// One request that the origin was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The object.
    pub object: ObjectName,
    /// The range, as asked.
    pub range: Range<u64>,
    /// The pinned version.
    pub pin: Option<ETag>,
}

type Matcher = Box<dyn Fn(&Asked) -> bool + Send>;

struct Rule {
    matches: Matcher,
    times_left: Option<u32>,
    fault: Fault,
}

#[derive(Default)]
struct Contents {
    objects: HashMap<ObjectName, (ETag, Bytes)>,
    versions: u64,
    rules: Vec<Rule>,
    asked: Vec<Asked>,
}

/// An origin in memory, with counters and scripted faults.
pub struct FakeOrigin {
    contents: Mutex<Contents>,
    chunk_bytes: usize,
    sent_bytes: Arc<AtomicU64>,
    asked: watch::Sender<usize>,
}

impl FakeOrigin {
    /// An empty origin whose bodies come in pieces of 64 KiB.
    pub fn new() -> Arc<Self> {
        Self::with_chunk_bytes(64 << 10)
    }

    /// An empty origin whose bodies come in pieces of this size.
    pub fn with_chunk_bytes(chunk_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            contents: Mutex::default(),
            chunk_bytes: chunk_bytes.max(1),
            sent_bytes: Arc::default(),
            asked: watch::Sender::new(0),
        })
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores an object; one that was there gets a new version.
    pub fn put(&self, object: &ObjectName, content: impl Into<Bytes>) -> ETag {
        let mut contents = self.contents();
        contents.versions += 1;
        let etag = ETag::new(format!("v{}", contents.versions));
        contents.objects.insert(object.clone(), (etag.clone(), content.into()));
        etag
    }

    /// Removes an object.
    pub fn remove(&self, object: &ObjectName) {
        self.contents().objects.remove(object);
    }

    /// Scripts the next answer, whatever is asked.
    pub fn next(&self, fault: Fault) {
        self.script(|_| true, Some(1), fault);
    }

    /// Scripts every answer from now on.
    pub fn always(&self, fault: Fault) {
        self.script(|_| true, None, fault);
    }

    /// Scripts the next answer whose range covers this offset.
    pub fn at(&self, offset: u64, fault: Fault) {
        self.script(move |asked| asked.range.contains(&offset), Some(1), fault);
    }

    /// Scripts the answers to what matches, so many times or for ever. The oldest matching rule applies.
    pub fn script(
        &self,
        matches: impl Fn(&Asked) -> bool + Send + 'static,
        times: Option<u32>,
        fault: Fault,
    ) {
        self.contents().rules.push(Rule { matches: Box::new(matches), times_left: times, fault });
    }

    /// Forgets all scripts.
    pub fn heal(&self) {
        self.contents().rules.clear();
    }

    /// Every request so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.contents().asked.clone()
    }

    /// How many requests there were.
    pub fn requests(&self) -> usize {
        self.contents().asked.len()
    }

    /// Waits until there were so many requests.
    pub async fn requested(&self, count: usize) {
        until(&self.asked, |asked| *asked >= count).await;
    }

    /// Body bytes handed out.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Relaxed)
    }

    /// A source that reads `object` here.
    pub fn source(self: &Arc<Self>, object: &ObjectName) -> Source {
        Source { origin: Arc::<Self>::clone(self), object: object.clone() }
    }

    fn record(&self, asked: Asked) -> Option<Fault> {
        let mut contents = self.contents();
        let at = contents.rules.iter().position(|rule| (rule.matches)(&asked));
        let fault = at.and_then(|at| {
            let rule = contents.rules.get_mut(at)?;
            let fault = rule.fault.clone();
            if let Some(left) = &mut rule.times_left {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    contents.rules.remove(at);
                }
            }
            Some(fault)
        });
        contents.asked.push(asked);
        self.asked.send_replace(contents.asked.len());
        fault
    }

    async fn answer(
        &self,
        object: &ObjectName,
        range: Range<u64>,
        pin: Option<&ETag>,
    ) -> Result<OriginRead, OriginError> {
        let error = |kind, message: &str| Err(OriginError::new(kind, message));
        let fault = self.record(Asked { object: object.clone(), range: range.clone(), pin: pin.cloned() });
        match &fault {
            Some(Fault::Refuse(kind)) => return error(*kind, "scripted refusal"),
            Some(Fault::Mute) => std::future::pending().await,
            Some(Fault::HoldAnswer(gate)) => gate.pass().await,
            _ => {}
        }
        let Some((etag, content)) = self.contents().objects.get(object).cloned() else {
            return error(OriginErrorKind::NotFound, "no such object");
        };
        if pin.is_some_and(|pin| *pin != etag) && !matches!(fault, Some(Fault::IgnorePin)) {
            return error(OriginErrorKind::Changed, "another version than the pinned one");
        }
        let size = content.len() as u64;
        if range.start >= size && !(size == 0 && range.start == 0) {
            return error(OriginErrorKind::RangeInvalid(size), "the range starts past the end");
        }
        let shift = if let Some(Fault::Shift { by }) = fault { by } else { 0 };
        let range = (range.start + shift).min(size)..range.end.saturating_add(shift).min(size);
        let body = Body {
            content,
            range: range.clone(),
            sent: 0,
            chunk_bytes: self.chunk_bytes as u64,
            fault,
            sent_bytes: Arc::clone(&self.sent_bytes),
        };
        let body =
            stream::unfold(body, |mut body| async move { body.next().await.map(|piece| (piece, body)) });
        Ok(OriginRead { size, etag, range, body: body.boxed(), lent: false })
    }
}

impl fmt::Debug for FakeOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeOrigin").field("requests", &self.requests()).finish_non_exhaustive()
    }
}

impl Origin for FakeOrigin {
    fn get<'a>(
        &'a self,
        object: &'a ObjectName,
        range: Range<u64>,
        pin: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<OriginRead, OriginError>> {
        self.answer(object, range, pin).boxed()
    }
}

struct Body {
    content: Bytes,
    range: Range<u64>,
    sent: u64,
    chunk_bytes: u64,
    fault: Option<Fault>,
    sent_bytes: Arc<AtomicU64>,
}

impl Body {
    async fn next(&mut self) -> Option<Result<Bytes, OriginError>> {
        let mut left = self.range.end - self.range.start - self.sent.min(self.range.end - self.range.start);
        let turn = match &self.fault {
            Some(
                Fault::Hold { after_bytes, .. }
                | Fault::Stall { after_bytes }
                | Fault::Break { after_bytes, .. }
                | Fault::Truncate { after_bytes },
            ) => Some(*after_bytes),
            _ => None,
        };
        if let Some(turn) = turn {
            if self.sent < turn {
                left = left.min(turn - self.sent);
            } else {
                match self.fault.take() {
                    Some(Fault::Hold { gate, .. }) => gate.pass().await,
                    Some(Fault::Stall { .. }) => std::future::pending().await,
                    Some(Fault::Break { kind, .. }) => {
                        self.sent = u64::MAX;
                        return Some(Err(OriginError::new(kind, "scripted break")));
                    }
                    _ => self.sent = u64::MAX,
                }
            }
        }
        if self.sent == u64::MAX {
            return None;
        }
        let length = left.min(self.chunk_bytes);
        if length == 0 {
            let Some(Fault::Overrun { bytes }) = self.fault.take() else { return None };
            return Some(Ok(vec![0; bytes as usize].into()));
        }
        let start = self.range.start + self.sent;
        self.sent += length;
        self.sent_bytes.fetch_add(length, Relaxed);
        let piece = self.content.slice(start as usize..(start + length) as usize);
        Some(Ok(match self.fault {
            Some(Fault::Corrupt { at }) if (start..start + length).contains(&at) => {
                let mut spoilt = piece.to_vec();
                if let Some(byte) = spoilt.get_mut((at - start) as usize) {
                    *byte = !*byte;
                }
                spoilt.into()
            }
            _ => piece,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Twin(Arc<FakeOrigin>);

    impl crate::conformance::Fixture for Twin {
        fn origin(&self) -> Arc<dyn Origin> {
            Arc::<FakeOrigin>::clone(&self.0)
        }

        fn put<'a>(&'a self, object: &'a ObjectName, content: Bytes) -> BoxFuture<'a, ()> {
            async move {
                self.0.put(object, content);
            }
            .boxed()
        }

        fn remove<'a>(&'a self, object: &'a ObjectName) -> BoxFuture<'a, ()> {
            async move { self.0.remove(object) }.boxed()
        }
    }

    #[tokio::test]
    async fn the_fake_conforms_as_the_real_ones_do() {
        crate::conformance::origin(&Twin(FakeOrigin::new())).await;
        crate::conformance::origin(&Twin(FakeOrigin::with_chunk_bytes(1000))).await;
    }
}

//! A blob's bytes as a stream: each block from memory, from the fill that brings it, or from disk.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future as _;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use dataproxy_cpu::carried_work;
use futures_util::stream::Stream;
use tokio::task::JoinHandle;
use tokio::time::Timeout;

mod at_hand;

use crate::blob::Blob;
use crate::disk::{BlobFile, LoadError};
use crate::fill::{self, Attachment, Demand, Fill, Joined, Opener, Reach, Role, Take};
use crate::piece::{FilePiece, Piece};
use crate::tiers::Tiers;
use crate::{Bypass, CacheError, ETag, Outcome, Source, Wanted};

/// Fills that one read joins at most before it reads without the disk. More than one is due only if blocks are lost on
/// the way: evicted, or found bad after a crash.
const MAX_FILLS: u32 = 8;

/// A blob's bytes, in order, as they become available.
///
/// A piece is at most one block. Dropping the reader ends the read; a fill that nobody else wants then stops or
/// finishes in the background. After an error nothing follows.
pub struct BlobReader {
    tiers: Arc<Tiers>,
    source: Source,
    blob: Arc<Blob>,
    range: Range<u64>,
    reach: Reach,
    /// Whether another cache waits for the bytes.
    owed: bool,
    /// Whether the blob is delivered as a whole, so that its end waits for the verdict.
    whole: bool,
    /// The next byte to be had; those before it are delivered or in the queue.
    position: u64,
    queue: VecDeque<Bytes>,
    /// The longest piece, in bytes.
    piece_bytes: u64,
    /// What is delivered next, if the queue is empty.
    in_file: Option<FilePiece>,
    attached: Option<Attachment>,
    fills: u32,
    file: Option<Arc<BlobFile>>,
    loading: Option<Pin<Box<Timeout<JoinHandle<Loading>>>>>,
    served: Served,
    over: bool,
}

type Loading = (Option<Arc<BlobFile>>, Result<Loaded, LoadError>);

/// What was read from disk.
enum Loaded {
    /// The block at the position.
    Block(Bytes),
    /// The next piece of it.
    Part(Bytes),
}

/// Where bytes came from so far.
#[derive(Clone, Copy, Debug, Default)]
struct Served {
    disk: bool,
    fill: Option<Role>,
    bypass: Option<Bypass>,
    unverified: bool,
}

impl BlobReader {
    pub(crate) fn new(
        tiers: &Arc<Tiers>,
        source: &Source,
        blob: Arc<Blob>,
        range: Range<u64>,
        wanted: Wanted,
    ) -> Self {
        let rest_of_whole = matches!(wanted, Wanted::RestOfWhole(_));
        Self {
            tiers: Arc::clone(tiers),
            source: source.clone(),
            position: range.start,
            reach: wanted.reach(),
            owed: matches!(wanted, Wanted::Owed { .. }),
            whole: rest_of_whole || range == (0..blob.size()),
            blob,
            range,
            queue: VecDeque::new(),
            piece_bytes: u64::MAX,
            in_file: None,
            attached: None,
            fills: 0,
            file: None,
            loading: None,
            served: Served::default(),
            over: false,
        }
    }

    /// The blob's size in bytes.
    pub fn size(&self) -> u64 {
        self.blob.size()
    }

    /// The bytes that this reader delivers.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// The version of the object that they are of.
    pub fn etag(&self) -> &ETag {
        &self.blob.etag
    }

    /// How they were served, as far as is known by now; final once the stream has ended.
    pub fn outcome(&self) -> Outcome {
        match (self.served.bypass, self.served.fill) {
            (Some(bypass), _) => Outcome::Bypassed(bypass),
            (None, Some(Role::Leading)) => Outcome::Filled,
            (None, Some(Role::Following)) => Outcome::Followed,
            (None, None) if self.served.disk => Outcome::DiskHit,
            (None, None) => Outcome::MemoryHit,
        }
    }

    /// Makes pieces from now on at most so many bytes long, each in memory of its own, so that whoever takes them slowly
    /// holds no more than that. `None` is no limit, and no copy: a piece is then a part of a block, and keeps that alive.
    pub fn limit_pieces(&mut self, bytes: Option<u64>) {
        self.piece_bytes = bytes.unwrap_or(u64::MAX).max(1);
    }

    /// What is left to be asked of a fill.
    pub(crate) fn demand(&self) -> Demand {
        Demand {
            range: self.position..self.range.end,
            reach: self.reach,
            owed: self.owed,
            verified: self.whole && !self.range.is_empty(),
        }
    }

    /// Takes a place in the fill that told the size.
    pub(crate) fn attach(&mut self, opener: Opener) {
        // What it brings was in no tier when the read came, wherever the read finds it in the end.
        self.served.fill = Some(opener.role);
        self.served.bypass = opener.bypass();
        self.attached = opener.attach(self.demand());
        self.fills += u32::from(self.attached.is_some());
    }

    /// Leaves the fill, if it is in one.
    fn detach(&mut self) {
        if let Some(attached) = self.attached.take()
            && self.served.fill.is_some()
        {
            self.served.bypass = self.served.bypass.or(attached.bypass());
        }
    }

    /// Takes all that is wanted, if it is little and of one block that is in memory: to look whether it is there would be
    /// to look twice.
    fn take_at_once(&mut self) -> bool {
        let wanted = self.position..self.range.end;
        wanted.end - wanted.start < at_hand::MIN_IN_FILE
            && self.blob.blocks.touching(&wanted).len() == 1
            && self.take_from_memory()
    }

    /// Whether the tiers hold every block that is still to come.
    fn is_held(&self) -> bool {
        let mut blocks = self.blob.blocks.touching(&(self.position..self.range.end));
        let in_memory = |block| self.tiers.memory.has(&self.blob, block);
        // A small hit in memory asks nothing of the disk, not even how it is; a large one does not look for every block.
        if blocks.clone().nth(1).is_none() && blocks.clone().all(in_memory) {
            return true;
        }
        let loads = self.tiers.can_load();
        if loads && self.blob.is_full() {
            return true;
        }
        let holdings = self.blob.holdings();
        blocks.all(|block| (loads && holdings.on_disk.has(block)) || in_memory(block))
    }

    /// Whether the block can be had from disk.
    fn is_on_disk(&self, block: u32) -> bool {
        self.blob.has(block) && self.tiers.can_load()
    }

    /// Prepares a read of a blob that is known: joins or starts a fill for what is missing, and waits until that
    /// has been answered unless the first byte is at hand.
    pub(crate) async fn settle(&mut self) -> Result<(), CacheError> {
        let verdict_due = self.whole && !self.blob.verified();
        if self.range.is_empty() || (!verdict_due && (self.take_at_once() || self.is_held())) {
            return Ok(());
        }
        self.join_fill()?;
        let first = self.blob.blocks.of(self.position);
        if self.is_on_disk(first) || self.tiers.memory.has(&self.blob, first) {
            return Ok(());
        }
        std::future::poll_fn(|context| match &self.attached {
            Some(attached) => attached.poll_answered(context),
            None => Poll::Ready(Ok(())),
        })
        .await
    }

    fn join_fill(&mut self) -> Result<(), CacheError> {
        if self.tiers.is_closing() {
            return Err(CacheError::Abandoned);
        }
        if self.fills >= MAX_FILLS {
            return self.step_aside();
        }
        self.fills += 1;
        let (blob, joined) = self.tiers.fills.attach(&self.tiers, &self.blob, self.demand())?;
        if blob.id != self.blob.id {
            self.blob = blob;
            self.file = None;
        }
        let attachment = match joined {
            Joined::New(fill, attachment) => {
                fill::start(&self.tiers, fill, &self.source);
                attachment
            }
            Joined::Running(attachment) => attachment,
        };
        if !self.is_held() {
            self.served.fill = Some(attachment.role);
        }
        self.attached = Some(attachment);
        Ok(())
    }

    /// Joins a fill in the middle of a read. One that has yet to learn its version, of a blob that was dropped
    /// meanwhile, cannot be waited for, as it may be another.
    fn go_on(&mut self) -> Result<(), CacheError> {
        match self.join_fill() {
            Err(CacheError::Changed) => self.step_aside(),
            joined => joined,
        }
    }

    /// Reads the rest from the origin in a fill of its own, as none can be shared.
    fn step_aside(&mut self) -> Result<(), CacheError> {
        self.fills += 1;
        if self.fills > 2 * MAX_FILLS {
            return Err(CacheError::Internal("blocks are lost as fast as they are fetched".into()));
        }
        self.detach();
        self.served.bypass = Some(Bypass::DiskError);
        self.blob = self.tiers.aside(&self.blob);
        self.file = None;
        let fill = Fill::aside(&self.blob);
        self.attached = fill.attach(self.demand(), Role::Leading);
        fill::start(&self.tiers, fill, &self.source);
        Ok(())
    }

    /// Puts the next bytes in the queue, or takes their place in a file, of at most so many. Ready when it did, or there
    /// are no more.
    fn poll_fetch(&mut self, context: &mut Context<'_>, most_in_file: u64) -> Poll<Result<(), CacheError>> {
        while self.position < self.range.end {
            if self.loading.is_some() {
                if ready!(self.poll_loaded(context))? {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            if let Some(error) = self.blob.condemned() {
                return Poll::Ready(Err(error.clone()));
            }
            if self.take_in_file(most_in_file) || self.take_from_memory() || self.take_resident() {
                return Poll::Ready(Ok(()));
            }
            let Some(attached) = &self.attached else {
                if self.is_held_back() || !self.is_on_disk(self.blob.blocks.of(self.position)) {
                    self.go_on()?;
                } else {
                    self.load();
                }
                continue;
            };
            let queued = self.queue.len();
            match attached.take(&self.blob, &mut self.queue, self.piece_bytes, context) {
                Take::Taken => {
                    if self.piece_bytes < u64::MAX {
                        self.queue
                            .iter_mut()
                            .skip(queued)
                            .for_each(|bytes| *bytes = Bytes::copy_from_slice(bytes));
                    }
                    self.served.fill = Some(attached.role);
                    self.position +=
                        self.queue.iter().skip(queued).map(|bytes| bytes.len() as u64).sum::<u64>();
                    self.note_unverified();
                    return Poll::Ready(Ok(()));
                }
                Take::OnDisk => self.load(),
                Take::Wait => return Poll::Pending,
                Take::Ended => self.detach(),
                Take::Failed(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The next piece, `None` at the end. Where checked blocks of a complete blob are in the page cache, it is the place
    /// of at most `most_in_file` bytes in the file (0 is none), for who can send them from there.
    ///
    /// # Errors
    /// [`CacheError`], after which nothing follows.
    pub fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
        most_in_file: u64,
    ) -> Poll<Option<Result<Piece, CacheError>>> {
        let ready = ready!(self.poll_ready(context, most_in_file));
        let next = |reader: &mut Self| {
            let in_file = reader.in_file.take().map(Piece::InFile);
            in_file.or_else(|| reader.queue.pop_front().map(Piece::Bytes))
        };
        Poll::Ready(ready.map(|()| next(self)).transpose())
    }

    /// Waits until there is a piece or the end.
    fn poll_ready(&mut self, context: &mut Context<'_>, most_in_file: u64) -> Poll<Result<(), CacheError>> {
        if self.queue.is_empty() && self.in_file.is_none() && !self.over {
            let fetched = ready!(self.poll_fetch(context, most_in_file));
            if fetched.is_err() || self.position >= self.range.end {
                self.finish();
            }
            return Poll::Ready(fetched);
        }
        Poll::Ready(Ok(()))
    }

    /// Lets go of everything but the queue. A fill that is left at the end learns that the rest is worth having.
    fn finish(&mut self) {
        self.over = true;
        self.detach();
        self.file = None;
        self.loading = None;
    }

    /// Whether the next byte is of the last block of a whole blob that is not verified.
    fn is_held_back(&self) -> bool {
        !self.blob.verified()
            && self.whole
            && Some(self.blob.blocks.of(self.position)) == self.blob.blocks.last()
    }

    fn take_from_memory(&mut self) -> bool {
        if self.is_held_back() {
            return false;
        }
        let block = self.blob.blocks.of(self.position);
        let Some(bytes) = self.tiers.memory.get(&self.blob, block) else { return false };
        self.queue_block(block, &bytes)
    }

    /// Queues what is wanted of a block; whether there was any.
    fn queue_block(&mut self, block: u32, bytes: &Bytes) -> bool {
        let span = self.blob.blocks.span(block);
        let piece = self.next_piece();
        let (from, to) = (piece.start - span.start, piece.end - span.start);
        if to > bytes.len() as u64 || from >= to {
            return false;
        }
        let piece = bytes.slice(from as usize..to as usize);
        let limited = self.piece_bytes < u64::MAX && piece.len() < bytes.len();
        self.queue_piece(if limited { Bytes::copy_from_slice(&piece) } else { piece });
        true
    }

    /// The bytes of the next piece: of one block.
    fn next_piece(&self) -> Range<u64> {
        let block = self.blob.blocks.span(self.blob.blocks.of(self.position));
        let limit = self.position.saturating_add(self.piece_bytes);
        self.position..self.range.end.min(block.end).min(limit)
    }

    fn queue_piece(&mut self, piece: Bytes) {
        let length = piece.len() as u64;
        self.queue.push_back(piece);
        self.advance(length);
    }

    /// Notes that so many bytes were had from a tier.
    fn advance(&mut self, bytes: u64) {
        self.position += bytes;
        if let Some(attached) = &self.attached {
            attached.advance(bytes);
        }
        self.note_unverified();
    }

    fn note_unverified(&mut self) {
        if !self.blob.verified() && !self.whole && !self.served.unverified {
            self.served.unverified = true;
            self.tiers.counters.unverified_range_reads.add(1);
        }
    }

    /// Starts reading the block at the position from disk.
    fn load(&mut self) {
        let Some(disk) = self.tiers.disk.clone() else { return };
        let (blob, mut file) = (Arc::clone(&self.blob), self.file.clone());
        let block = blob.blocks.of(self.position);
        let piece = (self.piece_bytes < u64::MAX).then(|| self.next_piece());
        let patience = disk.patience();
        let loading = self.tiers.runtime.spawn_blocking(carried_work(move || {
            if file.is_none() {
                match disk.file(&blob) {
                    Ok(opened) => file = Some(opened),
                    Err(error) => return (None, Err(error)),
                }
            }
            let loaded = match (&file, piece) {
                // A block that was checked needs no second look as a whole.
                (Some(file), Some(piece)) if file.is_checked(block) => {
                    disk.load_part(&blob, file, block, piece).map(Loaded::Part)
                }
                (Some(file), _) => disk.load(&blob, file, block).map(Loaded::Block),
                (None, _) => Err(LoadError::Absent),
            };
            if let (Some(file), Ok(_)) = (&file, &loaded) {
                disk.keep_open(&blob, file);
            }
            (file, loaded)
        }));
        self.loading = Some(Box::pin(tokio::time::timeout(patience, loading)));
    }

    /// Waits for the read from disk; whether it gave bytes.
    fn poll_loaded(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, CacheError>> {
        let Some(loading) = &mut self.loading else { return Poll::Ready(Ok(false)) };
        let loaded = ready!(loading.as_mut().poll(context));
        self.loading = None;
        let (file, loaded) = match loaded {
            // A job is lost only if the process ends.
            Ok(loaded) => loaded.map_err(|_| CacheError::Abandoned)?,
            Err(_) => {
                self.tiers.counters.disk_stalls.add(1);
                (None, Err(LoadError::Off))
            }
        };
        self.file = file;
        let block = self.blob.blocks.of(self.position);
        match loaded {
            Ok(Loaded::Part(bytes)) => {
                self.served.disk = true;
                self.queue_piece(bytes);
                Poll::Ready(Ok(true))
            }
            Ok(Loaded::Block(bytes)) => {
                self.served.disk = true;
                let queued = self.queue_block(block, &bytes);
                self.tiers.memory.offer(&self.blob, block, bytes);
                if self.tiers.is_small(&self.blob) && self.blob.verified() {
                    self.tiers.memory.keep(&self.blob);
                }
                Poll::Ready(Ok(queued))
            }
            Err(LoadError::Absent | LoadError::Bad) => {
                if let Some(attached) = &self.attached {
                    attached.advance(0);
                } else {
                    self.go_on()?;
                }
                Poll::Ready(Ok(false))
            }
            // One fill for all who cannot read it.
            Err(LoadError::Io(_) | LoadError::Off) => {
                if self.attached.is_none() {
                    self.go_on()?;
                }
                if let Some(attached) = &self.attached {
                    attached.leave_disk();
                    self.served.fill.get_or_insert(attached.role);
                }
                Poll::Ready(Ok(false))
            }
        }
    }
}

impl Stream for BlobReader {
    type Item = Result<Bytes, CacheError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let ready = ready!(self.poll_ready(context, 0));
        Poll::Ready(ready.map(|()| self.queue.pop_front()).transpose())
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobReader")
            .field("blob", &self.blob.key)
            .field("range", &self.range)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

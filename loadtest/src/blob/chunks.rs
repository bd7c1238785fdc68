//! A blob in chunks, several at once, as containerd 2.1 and later read it with `concurrent_layer_fetch_buffer`.
//!
//! Each chunk is asked for by a range without an end, and hung up on after its bytes. The first answer says whether the server
//! takes ranges; if it does not, that one answer is the whole blob, and nothing else is asked.

use std::future::ready;

use futures_util::{FutureExt, StreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::body::{Body, Span};
use super::{Download, Stopped};
use crate::request::{Method, Request};

/// One chunk, as it came.
struct Came {
    count: u64,
    size: Option<u64>,
    kept: Vec<u8>,
    hash: Option<Sha256>,
    end: Result<(), Stopped>,
}

/// What one chunk is asked with.
#[derive(Default)]
struct With {
    /// Told of the blob's size when the first answer is a range.
    tell: Option<oneshot::Sender<u64>>,
    /// For the case that the first answer is the whole: that is too much to keep.
    hash: Option<Sha256>,
}

impl Download<'_> {
    /// As [`Download::attempt`], in chunks of `bytes`, `most` at once. With hashing, as many chunks are held in memory.
    ///
    /// A chunk that fails ends the attempt after the bytes before it and those of its own that came; what came beyond is lost,
    /// as it is in the client.
    pub(crate) async fn attempt_in_chunks(&mut self, bytes: u64, most: usize) -> Result<(), Stopped> {
        self.count_as_resumed();
        let (begin, size) = (self.at, self.size);
        let (tell, told) = oneshot::channel();
        let first = With { tell: Some(tell), hash: self.hash.take() };
        let this = &*self;
        let first = this.chunk(begin, bytes, size, first).boxed_local();
        let rest = stream::once(told).flat_map(|size| {
            // Nobody tells: the first answer was the whole, or none.
            let size = size.unwrap_or(begin);
            let step = usize::try_from(bytes).unwrap_or(usize::MAX);
            let starts = (begin.saturating_add(bytes)..size).step_by(step);
            stream::iter(
                starts.map(move |from| this.chunk(from, bytes, Some(size), With::default()).boxed_local()),
            )
        });
        // In their order: a chunk that is early waits for those before it.
        let mut coming = stream::once(ready(first)).chain(rest).buffered(most.max(1));
        let (mut at, mut size, mut hash) = (begin, size, None);
        let mut end = Ok(());
        while let Some(came) = coming.next().await {
            at += came.count;
            size = size.or(came.size);
            hash = hash.or(came.hash);
            if let Some(hash) = &mut hash {
                hash.update(&came.kept);
            }
            end = came.end;
            if end.is_err() {
                break;
            }
        }
        drop(coming);
        (self.at, self.size, self.hash) = (at, size, hash);
        end
    }

    async fn chunk(&self, from: u64, bytes: u64, size: Option<u64>, mut with: With) -> Came {
        let request = Request {
            accept: self.blob.accept,
            range: Some((from, None)),
            rate: self.blob.rate,
            ..Request::new(Method::Get, &self.blob.path)
        };
        let mut kept = Vec::new();
        let mut body = Body::new(self.session.seen, Span::Chunk { from, bytes }, size, with.hash.as_mut());
        if self.blob.digest.is_some() {
            body = body.keep(&mut kept);
        }
        if let Some(tell) = with.tell {
            body = body.tell(tell);
        }
        let asked = self.session.ask(&request, &mut body).await;
        let (count, size) = (body.came(), body.size());
        let end = body.end(self.session, &self.blob.path, asked);
        Came { count, size, kept, hash: with.hash, end }
    }
}

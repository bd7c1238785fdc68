//! Link files: small objects that hold one digest, read as they are or while a registry writes them.

use std::time::Duration;

use dataproxy_cache::{ObjectName, OriginError, OriginErrorKind};
use futures_util::TryStreamExt;
use tokio::time::sleep;

use crate::holdings::Found;
use crate::store::Store;

/// Longest link that is read, in bytes: the longest digest is 135.
const LINK_MAX: u64 = 256;
/// Reads of a link that is being written, the first included, and the wait between two of them. A registry cuts a
/// tag's link and then writes it; between the two it is empty.
const SETTLE_READS: u32 = 6;
const SETTLE_WAIT: Duration = Duration::from_millis(40);

/// Reads a link, and again for a moment while it looks as if it was being written.
///
/// # Errors
/// Storage's own.
pub(super) async fn read_settled(store: &dyn Store, object: &ObjectName) -> Result<Found, OriginError> {
    for _ in 1..SETTLE_READS {
        match read_once(store, object).await {
            Ok(Found::Unreadable) => {}
            Err(error) if error.kind == OriginErrorKind::Changed => {}
            settled => return settled,
        }
        sleep(SETTLE_WAIT).await;
    }
    read_once(store, object).await
}

async fn read_once(store: &dyn Store, object: &ObjectName) -> Result<Found, OriginError> {
    let read = match store.get(object, 0..LINK_MAX, None).await {
        Ok(read) => read,
        Err(error) if error.kind == OriginErrorKind::NotFound => return Ok(Found::Absent),
        Err(error) => return Err(error),
    };
    if read.size > LINK_MAX {
        return Ok(Found::Unreadable);
    }
    let parts: Vec<bytes::Bytes> = read.body.try_collect().await?;
    let text = parts.concat();
    let digest = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
    Ok(digest.map_or(Found::Unreadable, Found::Digest))
}

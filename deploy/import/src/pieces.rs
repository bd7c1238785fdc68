//! Reading in pieces: bounded in memory, each error on the side where it happened.

use std::io::{self, Read};

use crate::ImportError;

const PIECE_BYTES: usize = 256 << 10;

/// Hands all of `content` to `each`, in order; `failed` says what an error of `content` means.
pub(crate) fn for_each_piece(
    content: &mut dyn Read,
    failed: impl Fn(io::Error) -> ImportError,
    mut each: impl FnMut(&[u8]) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match content.read(&mut buffer) {
            Ok(read) => match buffer.get(..read) {
                None | Some([]) => return Ok(()),
                Some(piece) => each(piece)?,
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

//! Frames out of a byte stream: `size[4] type[1] tag[2] body`, where size counts itself (intro(5)).

use byteorder::{ByteOrder, LE};
use thiserror::Error;

/// The bytes of a frame before its body: `size[4] type[1] tag[2]`.
pub const HEADER: usize = 7;

/// Why a stream can't be cut into frames any more. The only cure is to hang up: where the next
/// frame starts is not known.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// The size is less than a header.
    #[error("a message of {0} bytes is shorter than its header")]
    Short(u32),
    /// The size is more than the msize in force.
    #[error("a message of {size} bytes is longer than the msize of {msize}")]
    Long {
        /// What the frame says of itself.
        size: u32,
        /// What was agreed.
        msize: u32,
    },
}

/// The length of the frame that `bytes` starts with, once its size is there; `None` while it is
/// not. The frame itself need not be there whole.
///
/// # Errors
/// If that length is less than a header or more than `msize`, in bytes.
pub fn frame_len(bytes: &[u8], msize: u32) -> Result<Option<usize>, FrameError> {
    let Some(head) = bytes.get(..4) else { return Ok(None) };
    let size = LE::read_u32(head);
    if (size as usize) < HEADER {
        return Err(FrameError::Short(size));
    }
    if size > msize {
        return Err(FrameError::Long { size, msize });
    }
    Ok(Some(size as usize))
}

/// A frame, and the bytes that follow it.
pub type Split<'a> = (&'a [u8], &'a [u8]);

/// Takes the first whole frame off `bytes`: the frame, and what follows it; `None` while it is
/// not there whole.
///
/// # Errors
/// As [`frame_len`].
pub fn split_frame(bytes: &[u8], msize: u32) -> Result<Option<Split<'_>>, FrameError> {
    Ok(frame_len(bytes, msize)?.and_then(|len| bytes.split_at_checked(len)))
}

/// The number of a message (see [`mtype`](crate::mtype)) and its tag; `None` if the frame is shorter than
/// its header.
pub fn header(frame: &[u8]) -> Option<(u8, u16)> {
    let head = frame.get(..HEADER)?;
    Some((head[4], LE::read_u16(&head[5..])))
}

//! Message -> frame.
//!
//! Frames are appended to an [`Output`], a connection's output. An Rread can be written in two
//! steps, so that its data go from a file straight into their place: [`begin_read`] makes room,
//! [`end_read`] says how much of it was used.

use byteorder::{ByteOrder, LE};
use thiserror::Error;

use crate::buffer::Output;
use crate::frame::HEADER;
use crate::message::{Qid, Rmsg, Tmsg, mtype};

/// The bytes of an Rread before its data: the header and `count[4]`.
pub const RREAD_HEADER: usize = HEADER + 4;

/// The bytes of a Tread (read(5)): the header, `fid[4] offset[8] count[4]`.
pub const TREAD_SIZE: usize = HEADER + 16;

/// A message that can't be sent: it is longer than the msize, or one of its strings or entries is
/// longer than the 65,535 bytes that a length field can say.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("message too long")]
pub struct TooLong;

type Put = Result<(), TooLong>;

pub(crate) fn put_u16(out: &mut impl Output, value: u16) {
    out.append(&value.to_le_bytes());
}

pub(crate) fn put_u32(out: &mut impl Output, value: u32) {
    out.append(&value.to_le_bytes());
}

pub(crate) fn put_u64(out: &mut impl Output, value: u64) {
    out.append(&value.to_le_bytes());
}

fn put_u32s(out: &mut impl Output, values: &[u32]) {
    values.iter().for_each(|&value| put_u32(out, value));
}

/// `n[2]` and n bytes.
fn put_counted16(out: &mut impl Output, bytes: &[u8]) -> Put {
    put_u16(out, u16::try_from(bytes.len()).map_err(|_| TooLong)?);
    out.append(bytes);
    Ok(())
}

/// `count[4]` and count bytes.
fn put_counted32(out: &mut impl Output, bytes: &[u8]) -> Put {
    put_u32(out, u32::try_from(bytes.len()).map_err(|_| TooLong)?);
    out.append(bytes);
    Ok(())
}

/// `s[s]`.
pub(crate) fn put_str(out: &mut impl Output, s: &str) -> Put {
    put_counted16(out, s.as_bytes())
}

pub(crate) fn put_qid(out: &mut impl Output, qid: Qid) {
    let mut bytes = [qid.kind; 13];
    LE::write_u32(&mut bytes[1..], qid.vers);
    LE::write_u64(&mut bytes[5..], qid.path);
    out.append(&bytes);
}

/// Writes the header with no size yet; where the frame starts.
fn begin(out: &mut impl Output, kind: u8, tag: u16) -> usize {
    let start = out.end();
    let [low, high] = tag.to_le_bytes();
    out.append(&[0, 0, 0, 0, kind, low, high]);
    start
}

/// Writes the size of the frame that started at `start`.
fn end(out: &mut impl Output, start: usize) -> Put {
    let size = u32::try_from(out.end() - start).map_err(|_| TooLong)?;
    LE::write_u32(&mut out.bytes_mut()[start..], size);
    Ok(())
}

/// Appends one frame of at most `msize` bytes, or nothing.
fn frame<O: Output>(
    out: &mut O,
    (kind, tag, msize): (u8, u16, u32),
    body: impl FnOnce(&mut O) -> Put,
) -> Put {
    let start = begin(out, kind, tag);
    let put = body(out).and_then(|()| end(out, start));
    if put.is_ok() && out.end() - start <= msize as usize {
        return Ok(());
    }
    out.cut(start);
    Err(TooLong)
}

/// Starts an Rread: its header, and room for `count` bytes of data, in which there may be anything.
/// The result is where the frame starts in `out`; the data start [`RREAD_HEADER`] bytes further.
pub fn begin_read(out: &mut impl Output, tag: u16, count: usize) -> usize {
    let start = begin(out, mtype::RREAD, tag);
    out.append_room(RREAD_HEADER - HEADER + count);
    start
}

/// Ends the Rread that [`begin_read`] started at `start` and that is the last frame in `out`, with
/// the first `used` bytes of the room for its data.
///
/// # Panics
/// If `used` is more than the room there is, or 4 GiB.
pub fn end_read(out: &mut impl Output, start: usize, used: usize) {
    let size = RREAD_HEADER + used;
    assert!(start + size <= out.end(), "more was used than there was room for");
    out.cut(start + size);
    let frame = &mut out.bytes_mut()[start..];
    LE::write_u32(frame, u32::try_from(size).expect("a frame is within an msize"));
    LE::write_u32(&mut frame[HEADER..], used as u32);
}

impl Tmsg<'_> {
    /// Appends this message as one frame to `out`.
    ///
    /// # Panics
    /// If it is [`TooLong`] for any msize.
    pub fn encode(&self, tag: u16, out: &mut impl Output) {
        self.encode_within(u32::MAX, tag, out).expect("a string longer than its length can say");
    }

    /// Appends this message as one frame of at most `msize` bytes to `out`.
    ///
    /// # Errors
    /// If it is [`TooLong`]: then `out` is as it was.
    pub fn encode_within(
        &self,
        msize: u32,
        tag: u16,
        out: &mut impl Output,
    ) -> Result<(), TooLong> {
        frame(out, (self.mtype(), tag, msize), |out| self.put_body(out))
    }

    fn put_body(&self, out: &mut impl Output) -> Put {
        match *self {
            Tmsg::Version { msize, version } => {
                put_u32(out, msize);
                put_str(out, version)?;
            }
            Tmsg::Auth { afid, uname, aname } => {
                put_u32(out, afid);
                put_str(out, uname)?;
                put_str(out, aname)?;
            }
            Tmsg::Attach { fid, afid, uname, aname } => {
                put_u32s(out, &[fid, afid]);
                put_str(out, uname)?;
                put_str(out, aname)?;
            }
            Tmsg::Flush { oldtag } => put_u16(out, oldtag),
            Tmsg::Walk { fid, newfid, ref names } => {
                put_u32s(out, &[fid, newfid]);
                put_u16(out, names.len() as u16);
                names.iter().try_for_each(|name| put_str(out, name))?;
            }
            Tmsg::Open { fid, mode } => {
                put_u32(out, fid);
                out.append(&[mode]);
            }
            Tmsg::Create { fid, name, perm, mode } => {
                put_u32(out, fid);
                put_str(out, name)?;
                put_u32(out, perm);
                out.append(&[mode]);
            }
            Tmsg::Read { fid, offset, count } => {
                put_u32(out, fid);
                put_u64(out, offset);
                put_u32(out, count);
            }
            Tmsg::Write { fid, offset, data } => {
                put_u32(out, fid);
                put_u64(out, offset);
                put_counted32(out, data)?;
            }
            Tmsg::Clunk { fid } | Tmsg::Remove { fid } | Tmsg::Stat { fid } => put_u32(out, fid),
            Tmsg::Wstat { fid, stat } => {
                put_u32(out, fid);
                put_counted16(out, stat)?;
            }
        }
        Ok(())
    }
}

impl Rmsg<'_> {
    /// Appends this message as one frame to `out`.
    ///
    /// # Panics
    /// If it is [`TooLong`] for any msize.
    pub fn encode(&self, tag: u16, out: &mut impl Output) {
        self.encode_within(u32::MAX, tag, out).expect("a string longer than its length can say");
    }

    /// Appends this message as one frame of at most `msize` bytes to `out`.
    ///
    /// # Errors
    /// If it is [`TooLong`]: then `out` is as it was.
    pub fn encode_within(
        &self,
        msize: u32,
        tag: u16,
        out: &mut impl Output,
    ) -> Result<(), TooLong> {
        frame(out, (self.mtype(), tag, msize), |out| self.put_body(out))
    }

    fn put_body(&self, out: &mut impl Output) -> Put {
        match *self {
            Rmsg::Version { msize, version } => {
                put_u32(out, msize);
                put_str(out, version)?;
            }
            Rmsg::Auth { aqid: qid } | Rmsg::Attach { qid } => put_qid(out, qid),
            Rmsg::Error { ename } => put_str(out, ename)?,
            Rmsg::Walk { ref qids } => {
                put_u16(out, qids.len() as u16);
                qids.iter().for_each(|&qid| put_qid(out, qid));
            }
            Rmsg::Open { qid, iounit } | Rmsg::Create { qid, iounit } => {
                put_qid(out, qid);
                put_u32(out, iounit);
            }
            Rmsg::Read { data } => put_counted32(out, data)?,
            Rmsg::Write { count } => put_u32(out, count),
            Rmsg::Stat { stat } => put_counted16(out, stat)?,
            Rmsg::Flush | Rmsg::Clunk | Rmsg::Remove | Rmsg::Wstat => {}
        }
        Ok(())
    }
}

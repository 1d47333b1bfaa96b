//! Frame -> message, strictly: every length is checked, and a frame is refused if bytes are
//! missing, if any are left over, if a string is not UTF-8 or has a NUL in it (intro(5) allows
//! neither), or if a walk has more than [`MAXWELEM`] names.

use nom::bytes::complete::take;
use nom::combinator::{map_res, success, verify};
use nom::error::{ErrorKind, FromExternalError, ParseError};
use nom::number::complete::{le_u8, le_u16, le_u32, le_u64};
use nom::{IResult, Parser};
use thiserror::Error;

use crate::frame;
use crate::message::{MAXWELEM, Qid, Rmsg, Tmsg, UpTo16, mtype};

/// Why a frame is not a message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The frame's own size is not its length, or it has no whole header.
    #[error("the size of the message is not its length")]
    Size,
    /// No message of the expected direction has this number.
    #[error("unknown message type {0}")]
    Type(u8),
    /// A field goes past the end of the frame.
    #[error("the message is too short for its fields")]
    Short,
    /// Bytes are left after the last field.
    #[error("{0} bytes after the end of the message")]
    Trailing(usize),
    /// A walk of more names, or its answer of more qids, than walk(5) allows.
    #[error("a walk of {0} names, and 16 is the most")]
    Names(u16),
    /// A string is not UTF-8, or has a NUL in it.
    #[error("a string that is not UTF-8, or has a NUL in it")]
    Text,
}

impl ParseError<&[u8]> for DecodeError {
    fn from_error_kind(_: &[u8], _: ErrorKind) -> Self {
        DecodeError::Short
    }
    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

impl FromExternalError<&[u8], DecodeError> for DecodeError {
    fn from_external_error(_: &[u8], _: ErrorKind, error: DecodeError) -> Self {
        error
    }
}

pub(crate) type Parsed<'a, T> = IResult<&'a [u8], T, DecodeError>;

/// `s[s]`: a length of two bytes, and that many bytes of UTF-8 without NUL.
pub(crate) fn string(input: &[u8]) -> Parsed<'_, &str> {
    map_res(counted16, text).parse(input)
}

fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    if bytes.contains(&0) {
        return Err(DecodeError::Text);
    }
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Text)
}

/// `n[2]` and n bytes.
fn counted16(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (rest, len) = le_u16(input)?;
    take(len).parse(rest)
}

/// `count[4]` and count bytes.
fn counted32(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (rest, len) = le_u32(input)?;
    take(len).parse(rest)
}

pub(crate) fn qid(input: &[u8]) -> Parsed<'_, Qid> {
    (le_u8, le_u32, le_u64).map(|(kind, vers, path)| Qid { kind, vers, path }).parse(input)
}

/// `n[2]` and n of what `item` parses, n being at most 16: they are added to `list`, which is too large to be
/// handed on.
fn up_to_16<'a, T: Copy + Default>(
    list: &mut UpTo16<T>,
    mut item: impl FnMut(&'a [u8]) -> Parsed<'a, T>,
) -> impl FnMut(&'a [u8]) -> Parsed<'a, ()> {
    move |input| {
        let (mut rest, n) = le_u16(input)?;
        for _ in 0..n {
            let value;
            (rest, value) = item(rest)?;
            if !list.push(value) {
                return Err(nom::Err::Failure(DecodeError::Names(n)));
            }
        }
        Ok((rest, ()))
    }
}

/// The type, the tag and the body of a frame whose size is right.
fn open(frame: &[u8]) -> Result<(u8, u16, &[u8]), DecodeError> {
    let sized = verify(le_u32::<_, DecodeError>, |&size| size as usize == frame.len());
    let (body, (_, kind, tag)) = (sized, le_u8, le_u16)
        .parse(frame)
        .map_err(|_: nom::Err<DecodeError>| DecodeError::Size)?;
    Ok((kind, tag, body))
}

/// What `parser` makes of a body, if nothing is left after it.
fn all<'a, T>(
    mut parser: impl Parser<&'a [u8], Output = T, Error = DecodeError>,
    body: &'a [u8],
) -> Result<T, DecodeError> {
    match parser.parse(body) {
        Ok(([], fields)) => Ok(fields),
        Ok((rest, _)) => Err(DecodeError::Trailing(rest.len())),
        Err(nom::Err::Error(error) | nom::Err::Failure(error)) => Err(error),
        Err(nom::Err::Incomplete(_)) => Err(DecodeError::Short),
    }
}

impl<'a> Tmsg<'a> {
    /// Decodes a whole frame into its tag and its message.
    ///
    /// # Errors
    /// If the frame is anything but one whole T-message.
    pub fn decode(frame: &'a [u8]) -> Result<(u16, Tmsg<'a>), DecodeError> {
        use mtype::*;
        let (kind, tag, body) = open(frame)?;
        // A message is large, for a walk's names are in it, so it is made where it is returned.
        match kind {
            TVERSION => all((le_u32, string), body)
                .map(|(msize, version)| (tag, Tmsg::Version { msize, version })),
            TAUTH => all((le_u32, string, string), body)
                .map(|(afid, uname, aname)| (tag, Tmsg::Auth { afid, uname, aname })),
            TATTACH => all((le_u32, le_u32, string, string), body)
                .map(|(fid, afid, uname, aname)| (tag, Tmsg::Attach { fid, afid, uname, aname })),
            TFLUSH => all(le_u16, body).map(|oldtag| (tag, Tmsg::Flush { oldtag })),
            TWALK => {
                let mut names = UpTo16::new();
                let (fid, newfid, ()) = all((le_u32, le_u32, up_to_16(&mut names, string)), body)?;
                Ok((tag, Tmsg::Walk { fid, newfid, names }))
            }
            TOPEN => all((le_u32, le_u8), body).map(|(fid, mode)| (tag, Tmsg::Open { fid, mode })),
            TCREATE => all((le_u32, string, le_u32, le_u8), body)
                .map(|(fid, name, perm, mode)| (tag, Tmsg::Create { fid, name, perm, mode })),
            TREAD => all((le_u32, le_u64, le_u32), body)
                .map(|(fid, offset, count)| (tag, Tmsg::Read { fid, offset, count })),
            TWRITE => all((le_u32, le_u64, counted32), body)
                .map(|(fid, offset, data)| (tag, Tmsg::Write { fid, offset, data })),
            TCLUNK => all(le_u32, body).map(|fid| (tag, Tmsg::Clunk { fid })),
            TREMOVE => all(le_u32, body).map(|fid| (tag, Tmsg::Remove { fid })),
            TSTAT => all(le_u32, body).map(|fid| (tag, Tmsg::Stat { fid })),
            TWSTAT => {
                all((le_u32, counted16), body).map(|(fid, stat)| (tag, Tmsg::Wstat { fid, stat }))
            }
            _ => Err(DecodeError::Type(kind)),
        }
    }
}

impl<'a> Rmsg<'a> {
    /// Decodes a whole frame into its tag and its message.
    ///
    /// # Errors
    /// If the frame is anything but one whole R-message.
    pub fn decode(frame: &'a [u8]) -> Result<(u16, Rmsg<'a>), DecodeError> {
        use mtype::*;
        let (kind, tag, body) = open(frame)?;
        match kind {
            RVERSION => all((le_u32, string), body)
                .map(|(msize, version)| (tag, Rmsg::Version { msize, version })),
            RAUTH => all(qid, body).map(|aqid| (tag, Rmsg::Auth { aqid })),
            RATTACH => all(qid, body).map(|qid| (tag, Rmsg::Attach { qid })),
            RERROR => all(string, body).map(|ename| (tag, Rmsg::Error { ename })),
            RFLUSH => all(success(()), body).map(|()| (tag, Rmsg::Flush)),
            RWALK => {
                let mut qids = UpTo16::new();
                all(up_to_16(&mut qids, qid), body)?;
                Ok((tag, Rmsg::Walk { qids }))
            }
            ROPEN => {
                all((qid, le_u32), body).map(|(qid, iounit)| (tag, Rmsg::Open { qid, iounit }))
            }
            RCREATE => {
                all((qid, le_u32), body).map(|(qid, iounit)| (tag, Rmsg::Create { qid, iounit }))
            }
            RREAD => all(counted32, body).map(|data| (tag, Rmsg::Read { data })),
            RWRITE => all(le_u32, body).map(|count| (tag, Rmsg::Write { count })),
            RCLUNK => all(success(()), body).map(|()| (tag, Rmsg::Clunk)),
            RREMOVE => all(success(()), body).map(|()| (tag, Rmsg::Remove)),
            RSTAT => all(counted16, body).map(|stat| (tag, Rmsg::Stat { stat })),
            RWSTAT => all(success(()), body).map(|()| (tag, Rmsg::Wstat)),
            _ => Err(DecodeError::Type(kind)),
        }
    }
}

/// The tag of a frame that could not be decoded, so that it can be answered all the same.
pub fn tag_of(frame: &[u8]) -> Option<u16> {
    frame::header(frame).map(|(_, tag)| tag)
}

const _: () = assert!(MAXWELEM == 16, "DecodeError::Names says so");

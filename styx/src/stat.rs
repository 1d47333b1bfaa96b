//! The directory entry of stat(5), and what a wstat leaves alone.

use byteorder::{ByteOrder, LE};
use nom::Parser;
use nom::number::complete::{le_u16, le_u32, le_u64};
use thiserror::Error;

use crate::buffer::Output;
use crate::decode::{Parsed, qid, string};
use crate::encode::{put_qid, put_str, put_u16, put_u32, put_u64};
use crate::message::Qid;

/// The bytes of an entry that are not its four strings: stat(5)'s fields, its own `size[2]`
/// included (`STATFIXLEN` of fcall(2)).
pub const STATFIXLEN: usize = 49;

/// A directory entry: what stat(5) says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat<'a> {
    /// The kernel's device type: for the kernel's own use.
    pub kind: u16,
    /// The kernel's device number: for the kernel's own use.
    pub dev: u32,
    /// Which file this is.
    pub qid: Qid,
    /// Permissions, and flags of [`dm`](crate::dm).
    pub mode: u32,
    /// Last access, in seconds since 1970.
    pub atime: u32,
    /// Last change, in seconds since 1970.
    pub mtime: u32,
    /// In bytes; 0 for a directory.
    pub length: u64,
    /// The last element of the name; `/` for the root of a tree.
    pub name: &'a str,
    /// The owner.
    pub uid: &'a str,
    /// The group.
    pub gid: &'a str,
    /// Who changed it last.
    pub muid: &'a str,
}

/// The bytes are not one directory entry.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("malformed stat buffer")]
pub struct BadStat;

fn entry(input: &[u8]) -> Parsed<'_, Stat<'_>> {
    let numbers = (le_u16, le_u16, le_u32, qid, le_u32, le_u32, le_u32, le_u64);
    let strings = (string, string, string, string);
    (numbers, strings)
        .map(|((_, kind, dev, qid, mode, atime, mtime, length), (name, uid, gid, muid))| Stat {
            kind,
            dev,
            qid,
            mode,
            atime,
            mtime,
            length,
            name,
            uid,
            gid,
            muid,
        })
        .parse(input)
}

impl<'a> Stat<'a> {
    /// The entry in which every field says "don't touch" (stat(5)). A wstat with it changes
    /// nothing and asks that what was written be on stable storage.
    pub const DONT_TOUCH: Stat<'static> = Stat {
        kind: !0,
        dev: !0,
        qid: Qid { kind: !0, vers: !0, path: !0 },
        mode: !0,
        atime: !0,
        mtime: !0,
        length: !0,
        name: "",
        uid: "",
        gid: "",
        muid: "",
    };

    /// Decodes an entry that starts with its own `size[2]` and ends where that says.
    ///
    /// # Errors
    /// If `bytes` is anything but one whole entry.
    pub fn decode(bytes: &'a [u8]) -> Result<Stat<'a>, BadStat> {
        match Self::decode_first(bytes)? {
            (stat, []) => Ok(stat),
            _ => Err(BadStat),
        }
    }

    /// Decodes the first of the entries in `bytes`, which is what a read of a directory gives
    /// (read(5)), and returns the bytes that follow it.
    ///
    /// # Errors
    /// If `bytes` does not start with one whole entry.
    pub fn decode_first(bytes: &'a [u8]) -> Result<(Stat<'a>, &'a [u8]), BadStat> {
        let size = bytes.get(..2).map(LE::read_u16).ok_or(BadStat)?;
        let (one, rest) = bytes.split_at_checked(usize::from(size) + 2).ok_or(BadStat)?;
        match entry(one) {
            Ok(([], stat)) => Ok((stat, rest)),
            _ => Err(BadStat),
        }
    }

    /// The length of this entry as [`encode`](Stat::encode) writes it, its `size[2]` included.
    pub fn encoded_len(&self) -> usize {
        let strings = [self.name, self.uid, self.gid, self.muid];
        STATFIXLEN + strings.iter().map(|s| s.len()).sum::<usize>()
    }

    /// Appends this entry to `out`, with its own `size[2]` before it.
    ///
    /// # Panics
    /// If the strings together make it longer than the 65,535 bytes that the size can say.
    pub fn encode(&self, out: &mut impl Output) {
        let size = u16::try_from(self.encoded_len() - 2).expect("names are checked to fit");
        put_u16(out, size);
        put_u16(out, self.kind);
        put_u32(out, self.dev);
        put_qid(out, self.qid);
        for number in [self.mode, self.atime, self.mtime] {
            put_u32(out, number);
        }
        put_u64(out, self.length);
        for string in [self.name, self.uid, self.gid, self.muid] {
            put_str(out, string).expect("each is shorter than the whole entry");
        }
    }

    /// Whether a wstat with this entry would change nothing: a sync (stat(5)).
    pub fn is_sync(&self) -> bool {
        *self == Self::DONT_TOUCH
    }
}

//! The messages of 9P2000, as intro(5) of the Plan 9 manual lists them.
//!
//! A decoded message borrows the frame it came from: the data of a Twrite and of an Rread, the
//! entry of a Twstat and of an Rstat, and every string are slices of it. Nothing here allocates.

use std::fmt;

/// The version string of the protocol that this crate speaks (version(5)).
pub const VERSION: &str = "9P2000";

/// The tag of a Tversion, which belongs to no session (version(5)).
pub const NOTAG: u16 = !0;

/// The fid that stands for "no authentication" in Tattach (attach(5)).
pub const NOFID: u32 = !0;

/// The largest number of names in one Twalk, and of qids in one Rwalk (walk(5)).
pub const MAXWELEM: usize = 16;

/// What a message adds to the data it carries, rounded up as the manual does: `iounit` is
/// `msize - IOHDRSZ` (open(5), and `IOHDRSZ` of Plan 9's fcall(2)).
pub const IOHDRSZ: u32 = 24;

/// Bits of a qid's type and, shifted left by 24, of a mode (intro(5), stat(5)).
pub mod qt {
    /// A directory.
    pub const DIR: u8 = 0x80;
    /// An append-only file.
    pub const APPEND: u8 = 0x40;
    /// A file that one client at a time may have open.
    pub const EXCL: u8 = 0x20;
    /// An authentication file.
    pub const AUTH: u8 = 0x08;
    /// A plain file.
    pub const FILE: u8 = 0x00;
}

/// Bits of the mode in a directory entry (stat(5)).
pub mod dm {
    /// A directory.
    pub const DIR: u32 = 0x8000_0000;
    /// An append-only file: offsets are ignored in writes.
    pub const APPEND: u32 = 0x4000_0000;
    /// A file that one client at a time may have open.
    pub const EXCL: u32 = 0x2000_0000;
    /// A file that is not backed up.
    pub const TMP: u32 = 0x0400_0000;
}

/// Open modes (open(5)).
pub mod omode {
    /// Open for reading.
    pub const OREAD: u8 = 0;
    /// Open for writing.
    pub const OWRITE: u8 = 1;
    /// Open for reading and writing.
    pub const ORDWR: u8 = 2;
    /// Open for execution: reading, with execute permission checked.
    pub const OEXEC: u8 = 3;
    /// The bits that hold one of the four above.
    pub const ACCESS: u8 = 3;
    /// Truncate the file first.
    pub const OTRUNC: u8 = 0x10;
    /// Remove the file when the fid is clunked.
    pub const ORCLOSE: u8 = 0x40;
}

/// The server's name for a file: two files are the same if their paths are equal (intro(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Qid {
    /// Bits of [`qt`].
    pub kind: u8,
    /// Grows when the file changes.
    pub vers: u32,
    /// Unique among all files of the server.
    pub path: u64,
}

impl Qid {
    /// Whether this is the qid of a directory.
    pub fn is_dir(self) -> bool {
        self.kind & qt::DIR != 0
    }
}

impl fmt::Display for Qid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:016x} {} {:02x})", self.path, self.vers, self.kind)
    }
}

/// At most [`MAXWELEM`] of something small, held in place: the names of a Twalk and the qids of
/// an Rwalk, neither of which should cost an allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UpTo16<T> {
    len: u8,
    items: [T; MAXWELEM],
}

impl<T: Copy + Default> UpTo16<T> {
    /// An empty list.
    pub fn new() -> Self {
        UpTo16 { len: 0, items: [T::default(); MAXWELEM] }
    }

    /// A list of these items; `None` if there are more than [`MAXWELEM`].
    pub fn from_slice(items: &[T]) -> Option<Self> {
        let mut list = Self::new();
        items.iter().all(|&item| list.push(item)).then_some(list)
    }

    /// Adds an item at the end; false, and nothing is added, if the list is full.
    #[must_use]
    pub fn push(&mut self, item: T) -> bool {
        let Some(place) = self.items.get_mut(usize::from(self.len)) else { return false };
        *place = item;
        self.len += 1;
        true
    }
}

impl<T: Copy + Default> Default for UpTo16<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> std::ops::Deref for UpTo16<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.items[..usize::from(self.len)]
    }
}

impl<T: fmt::Debug> fmt::Debug for UpTo16<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Numbers of the message types on the wire (fcall(2)).
#[allow(missing_docs, reason = "the names are the manual's own, one for each message")]
pub mod mtype {
    pub const TVERSION: u8 = 100;
    pub const RVERSION: u8 = 101;
    pub const TAUTH: u8 = 102;
    pub const RAUTH: u8 = 103;
    pub const TATTACH: u8 = 104;
    pub const RATTACH: u8 = 105;
    pub const RERROR: u8 = 107;
    pub const TFLUSH: u8 = 108;
    pub const RFLUSH: u8 = 109;
    pub const TWALK: u8 = 110;
    pub const RWALK: u8 = 111;
    pub const TOPEN: u8 = 112;
    pub const ROPEN: u8 = 113;
    pub const TCREATE: u8 = 114;
    pub const RCREATE: u8 = 115;
    pub const TREAD: u8 = 116;
    pub const RREAD: u8 = 117;
    pub const TWRITE: u8 = 118;
    pub const RWRITE: u8 = 119;
    pub const TCLUNK: u8 = 120;
    pub const RCLUNK: u8 = 121;
    pub const TREMOVE: u8 = 122;
    pub const RREMOVE: u8 = 123;
    pub const TSTAT: u8 = 124;
    pub const RSTAT: u8 = 125;
    pub const TWSTAT: u8 = 126;
    pub const RWSTAT: u8 = 127;
}

/// What a client asks (section 5 of the manual has a page for each).
///
/// Offsets and counts are in bytes. `stat` of a Twstat is the entry as it came, still to be
/// decoded with [`Stat::decode`](crate::Stat::decode).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the manual's own")]
#[allow(clippy::large_enum_variant, reason = "a walk's names are in place: no message allocates")]
pub enum Tmsg<'a> {
    Version { msize: u32, version: &'a str },
    Auth { afid: u32, uname: &'a str, aname: &'a str },
    Attach { fid: u32, afid: u32, uname: &'a str, aname: &'a str },
    Flush { oldtag: u16 },
    Walk { fid: u32, newfid: u32, names: UpTo16<&'a str> },
    Open { fid: u32, mode: u8 },
    Create { fid: u32, name: &'a str, perm: u32, mode: u8 },
    Read { fid: u32, offset: u64, count: u32 },
    Write { fid: u32, offset: u64, data: &'a [u8] },
    Clunk { fid: u32 },
    Remove { fid: u32 },
    Stat { fid: u32 },
    Wstat { fid: u32, stat: &'a [u8] },
}

/// What a server answers.
///
/// `stat` of an Rstat is the entry as it came, still to be decoded with
/// [`Stat::decode`](crate::Stat::decode).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the manual's own")]
#[allow(clippy::large_enum_variant, reason = "a walk's names are in place: no message allocates")]
pub enum Rmsg<'a> {
    Version { msize: u32, version: &'a str },
    Auth { aqid: Qid },
    Attach { qid: Qid },
    Error { ename: &'a str },
    Flush,
    Walk { qids: UpTo16<Qid> },
    Open { qid: Qid, iounit: u32 },
    Create { qid: Qid, iounit: u32 },
    Read { data: &'a [u8] },
    Write { count: u32 },
    Clunk,
    Remove,
    Stat { stat: &'a [u8] },
    Wstat,
}

impl Tmsg<'_> {
    /// The number of this message's type on the wire.
    pub fn mtype(&self) -> u8 {
        use mtype::*;
        match self {
            Tmsg::Version { .. } => TVERSION,
            Tmsg::Auth { .. } => TAUTH,
            Tmsg::Attach { .. } => TATTACH,
            Tmsg::Flush { .. } => TFLUSH,
            Tmsg::Walk { .. } => TWALK,
            Tmsg::Open { .. } => TOPEN,
            Tmsg::Create { .. } => TCREATE,
            Tmsg::Read { .. } => TREAD,
            Tmsg::Write { .. } => TWRITE,
            Tmsg::Clunk { .. } => TCLUNK,
            Tmsg::Remove { .. } => TREMOVE,
            Tmsg::Stat { .. } => TSTAT,
            Tmsg::Wstat { .. } => TWSTAT,
        }
    }
}

impl Rmsg<'_> {
    /// The number of this message's type on the wire.
    pub fn mtype(&self) -> u8 {
        use mtype::*;
        match self {
            Rmsg::Version { .. } => RVERSION,
            Rmsg::Auth { .. } => RAUTH,
            Rmsg::Attach { .. } => RATTACH,
            Rmsg::Error { .. } => RERROR,
            Rmsg::Flush => RFLUSH,
            Rmsg::Walk { .. } => RWALK,
            Rmsg::Open { .. } => ROPEN,
            Rmsg::Create { .. } => RCREATE,
            Rmsg::Read { .. } => RREAD,
            Rmsg::Write { .. } => RWRITE,
            Rmsg::Clunk => RCLUNK,
            Rmsg::Remove => RREMOVE,
            Rmsg::Stat { .. } => RSTAT,
            Rmsg::Wstat => RWSTAT,
        }
    }
}

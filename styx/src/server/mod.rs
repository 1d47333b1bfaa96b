//! The server half of a connection: versions, fids, tags and flushes, and nothing else.
//!
//! A [`Session`] holds no socket, no file and no clock. A connection is run like this:
//!
//! 1. Cut what came from the client into frames with [`split_frame`](crate::frame::split_frame),
//!    none longer than [`Session::msize`].
//! 2. Give each to [`Session::receive`], unless it [`must_wait`](Session::must_wait). Replies are
//!    appended to a buffer of the caller's, to be sent; what only the file server itself can answer
//!    is asked of a [`Service`].
//! 3. A service answers at once, or says [`Poll::Pending`] and has the answer given to
//!    [`Session::complete`] later. Any number of requests may be under way, and their answers may
//!    overtake each other.
//! 4. When the client is gone, or `receive` fails: [`Session::close`].
//!
//! What the session decides by itself, so that no service can get it wrong: that nothing is served
//! before a Tversion (version(5)); which fids exist, which are open and how (open(5), clunk(5));
//! that a directory is read in order and in whole entries (read(5)); that every count fits the
//! msize; and that a flushed request is answered before its Rflush, or never (flush(5)).
//! Every error text of its own is in [`enames`].

mod complete;
mod fids;
mod receive;
mod requests;
mod walk;

use std::borrow::Cow;
use std::task::Poll;

use thiserror::Error;

use crate::buffer::Output;
use crate::decode::DecodeError;
use crate::enames;
use crate::frame::FrameError;
use crate::message::{Qid, Rmsg};
use crate::stat::Stat;
use fids::Fids;
use requests::Requests;

/// The text of an Rerror.
pub type Ename = Cow<'static, str>;

/// What a [`Service`] says of a request: its answer, or that it will come later.
pub type Outcome<T> = Poll<Result<T, Ename>>;

/// Names one request of one session, for as long as the session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    index: usize,
    serial: u64,
    tag: u16,
}

/// What opening or creating a file gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<F> {
    /// What the fid stands for from now on.
    pub file: F,
    /// The qid of that file.
    pub qid: Qid,
    /// The largest transfer that is not split, in bytes; 0 for the session's own `msize - 24`.
    pub iounit: u32,
}

/// The later answer to a request that was left pending.
#[derive(Debug)]
pub enum Answer<'a, F> {
    /// To [`Service::attach`] and to [`Service::walk`]: what the fid will stand for.
    File(F),
    /// To [`Service::open`] and to [`Service::create`].
    Opened(Opened<F>),
    /// To [`Service::read`]: the bytes, no more than were asked for.
    Data(&'a [u8]),
    /// To [`Service::read_dir`].
    Entries(DirEntries),
    /// To [`Service::write`]: how many bytes were taken.
    Count(u32),
    /// To [`Service::stat`]: the entry, as [`Stat::encode`] writes it.
    Stat(&'a [u8]),
    /// To [`Service::wstat`], [`Service::remove`] and [`Service::close`].
    Done,
}

/// A file server, as far as one session needs it.
///
/// `File` is what a fid stands for. It is cloned when a fid is; two clones are of the same file.
pub trait Service {
    /// What a fid stands for.
    type File: Clone;

    /// A client attaches to the tree `aname` (attach(5)).
    fn attach(&mut self, request: RequestId, uname: &str, aname: &str) -> Outcome<Self::File>;

    /// The qid of a file.
    fn qid(&self, file: &Self::File) -> Qid;

    /// One step of a walk (walk(5)): `name` in `from`. The session has looked at neither: `..`, `.`
    /// and the empty name come here as well, and `from` may be no directory, which is
    /// [`ENOTDIR`](enames::ENOTDIR).
    fn walk(&mut self, request: RequestId, from: &Self::File, name: &str) -> Outcome<Self::File>;

    /// Opens a file (open(5)). `mode` is as it came.
    fn open(
        &mut self,
        request: RequestId,
        file: &Self::File,
        mode: u8,
    ) -> Outcome<Opened<Self::File>>;

    /// Creates a file in `dir` and opens it (open(5)). The session has looked at neither `dir`, which
    /// may be no directory, nor the name, which may be `.` or `..`: both are to be refused.
    fn create(
        &mut self,
        request: RequestId,
        dir: &Self::File,
        name: &str,
        perm: u32,
        mode: u8,
    ) -> Outcome<Opened<Self::File>>;

    /// Reads into `data` from byte `offset`, which is at most 2^63 - 1; how many bytes were there.
    /// Never called for a directory. There may be anything in `data` before, bytes of an earlier
    /// reply included, so every byte that is counted must have been written. What is left in `data`
    /// if the answer is pending is forgotten.
    fn read(
        &mut self,
        request: RequestId,
        file: &Self::File,
        offset: u64,
        data: &mut [u8],
    ) -> Outcome<usize>;

    /// Adds entries of a directory to `entries`, from the position `cursor` on: 0 at the start,
    /// and afterwards what [`DirEntries::push`] was told. A pending read keeps `entries`, to give
    /// them back as its answer.
    fn read_dir(
        &mut self,
        request: RequestId,
        dir: &Self::File,
        cursor: u64,
        entries: DirEntries,
    ) -> Outcome<DirEntries>;

    /// Writes `data` at byte `offset`, which is at most 2^63 - 1; how many bytes were taken.
    fn write(
        &mut self,
        request: RequestId,
        file: &Self::File,
        offset: u64,
        data: &[u8],
    ) -> Outcome<u32>;

    /// Appends the file's entry to `out` (stat(5)).
    fn stat(&mut self, request: RequestId, file: &Self::File, out: &mut Vec<u8>) -> Outcome<()>;

    /// Changes what `stat` does not leave alone (stat(5)); all of it or nothing.
    fn wstat(&mut self, request: RequestId, file: &Self::File, stat: &Stat<'_>) -> Outcome<()>;

    /// Removes the file (remove(5)). The fid is gone whatever the answer, and no
    /// [`clunk`](Service::clunk) follows; `mode` is how it was open.
    fn remove(&mut self, request: RequestId, file: Self::File, mode: Option<u8>) -> Outcome<()>;

    /// A fid is gone (clunk(5)); `mode` is how it was open. Requests on it may still be under way.
    /// This comes once for each fid, and once for each file that was opened too late for anybody
    /// to have it.
    fn clunk(&mut self, file: Self::File, mode: Option<u8>);

    /// [`clunk`](Service::clunk), where a Tclunk asked for it: what has to be done before the
    /// client is told, as the removal of a file that was opened with `ORCLOSE` (open(5)), may take
    /// its time. The fid is gone whatever the answer.
    fn close(&mut self, request: RequestId, file: Self::File, mode: Option<u8>) -> Outcome<()> {
        let _ = request;
        self.clunk(file, mode);
        Poll::Ready(Ok(()))
    }

    /// What is answered to a transfer that the fid is not open for.
    fn bad_use(&self) -> &'static str {
        enames::EBADUSE
    }

    /// What is answered to a wstat whose entry is malformed.
    fn bad_stat(&self) -> &'static str {
        enames::EBADSTAT
    }

    /// The client no longer wants the answer to a request that is pending. True if the service
    /// dropped it, as if it had never been asked, and will never complete it; false if it goes on
    /// and will. This comes once at most for a request, and never for a remove or a close.
    fn flush(&mut self, request: RequestId) -> bool;
}

/// The entries that one read of a directory returns: as many whole ones as its count has room for.
#[derive(Debug)]
pub struct DirEntries {
    bytes: Vec<u8>,
    room: usize,
    cursor: u64,
    refused: bool,
}

/// The longest entry that its own `size[2]` can tell, in bytes.
const MAX_ENTRY: usize = u16::MAX as usize + 2;

impl<F> Opened<F> {
    /// The file itself, with the session's own iounit.
    pub fn new(file: F, qid: Qid) -> Self {
        Opened { file, qid, iounit: 0 }
    }
}

impl DirEntries {
    fn new(room: usize, cursor: u64) -> Self {
        DirEntries { bytes: Vec::new(), room, cursor, refused: false }
    }

    /// Adds an entry; `next` is the position after it. False if there is no room for it, and then
    /// none should follow.
    #[must_use]
    pub fn push(&mut self, entry: &Stat<'_>, next: u64) -> bool {
        let len = entry.encoded_len();
        if self.refused || len > MAX_ENTRY || len > self.room - self.bytes.len() {
            self.refused = true;
            return false;
        }
        entry.encode(&mut self.bytes);
        self.cursor = next;
        true
    }
}

/// What a session allows its client.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest msize agreed to, in bytes.
    pub msize: u32,
    /// Fids that may exist at one time.
    pub fids: usize,
    /// Requests that may be under way at one time; further ones wait in the input
    /// ([`Session::must_wait`]). Tflushes do not count: there is one for each tag at most.
    pub requests: usize,
    /// Bytes that requests under way may keep, those of a Twrite's data, of the room for a Tread's,
    /// of a Twalk's names and of a Twstat's entry; further requests wait. One request may go beyond it, so that each can be taken.
    pub bytes: usize,
}

/// The largest msize of [`Limits::default`]: a transfer of 1 MiB and its header.
pub const MAX_MSIZE: u32 = (1 << 20) + crate::IOHDRSZ;

/// The smallest msize agreed to: what the file server of Inferno takes (golden recordings).
pub const MIN_MSIZE: u32 = 64;

/// The longest message taken before a Tversion has agreed on a length. Only a Tversion and
/// refusals can come then; a version string of this size is already absurd.
pub const INITIAL_MSIZE: u32 = 8192 + crate::IOHDRSZ;

impl Default for Limits {
    /// 1 MiB transfers, 16 of them at one time; otherwise room for what real clients do, hundreds
    /// of times over.
    fn default() -> Self {
        Limits { msize: MAX_MSIZE, fids: 16 * 1024, requests: 1024, bytes: 16 << 20 }
    }
}

/// The connection can't go on and should be closed. Inferno's own file server hangs up in these
/// cases too: there is no telling what else the client misunderstands.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Fatal {
    /// No frames can be cut from the stream any more.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame that is no T-message.
    #[error(transparent)]
    Message(#[from] DecodeError),
}

/// The server half of one connection.
#[derive(Debug)]
pub struct Session<F> {
    limits: Limits,
    /// The msize in force; `None` before a Tversion, and after one that failed.
    msize: Option<u32>,
    fids: Fids<F>,
    requests: Requests<F>,
    /// Where an entry is put together before it is known to fit, kept for the next one.
    scratch: Vec<u8>,
}

impl<F: Clone> Session<F> {
    /// A session on which nothing has been said yet.
    ///
    /// # Panics
    /// If the limits leave no room for a message or a request.
    pub fn new(limits: Limits) -> Self {
        assert!(limits.msize >= MIN_MSIZE, "an msize of less than 64 carries no message");
        assert!(limits.requests > 0 && limits.bytes > 0, "no request could ever be taken");
        Session {
            limits,
            msize: None,
            fids: Fids::new(limits.fids),
            requests: Requests::new(),
            scratch: Vec::new(),
        }
    }

    /// The longest message that is taken now, in bytes.
    pub fn msize(&self) -> u32 {
        self.msize.unwrap_or(INITIAL_MSIZE)
    }

    /// Whether a Tversion has agreed on what is spoken.
    pub fn has_version(&self) -> bool {
        self.msize.is_some()
    }

    /// How many requests are under way.
    pub fn outstanding(&self) -> usize {
        self.requests.len()
    }

    /// How many fids exist.
    pub fn fids(&self) -> usize {
        self.fids.len()
    }

    /// What a fid stands for, if it exists.
    pub fn file(&self, fid: u32) -> Option<&F> {
        self.fids.get(fid).map(|entry| &entry.file)
    }

    /// The client is gone: ends everything that is under way, as far as the service can, and
    /// clunks every fid. Until nothing is [`outstanding`](Session::outstanding), what the service
    /// goes on with should still be [`complete`](Session::complete)d, for the sake of opened files.
    pub fn close<S: Service<File = F>>(&mut self, service: &mut S) {
        self.requests.abandon(service);
        for entry in self.fids.drain() {
            service.clunk(entry.file, entry.mode);
        }
        self.msize = None;
    }

    /// Appends an answer.
    ///
    /// # Errors
    /// If it would be longer than the msize: nothing longer than what was agreed is ever sent.
    fn reply(&self, tag: u16, reply: &Rmsg<'_>, out: &mut impl Output) -> Result<(), Ename> {
        reply.encode_within(self.msize(), tag, out).map_err(|_| enames::ETOOSMALL.into())
    }

    /// Appends an Rerror, with as much of its text as there is room for.
    fn error(&self, tag: u16, ename: &str, out: &mut impl Output) {
        const FIXED: usize = crate::frame::HEADER + 2;
        let room = (self.msize() as usize - FIXED).min(usize::from(u16::MAX));
        let end = ename.floor_char_boundary(room);
        Rmsg::Error { ename: &ename[..end] }.encode(tag, out);
    }

    /// The iounit of Ropen and Rcreate: the file's own if it has one, and never more than a
    /// message can carry.
    fn iounit(&self, wanted: u32) -> u32 {
        let most = self.msize() - crate::IOHDRSZ;
        if wanted == 0 { most } else { wanted.min(most) }
    }
}

fn wrong_kind() -> ! {
    panic!("a service completed a request with another kind of answer than it asks for")
}

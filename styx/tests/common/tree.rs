//! A file server for tests: the tree of the golden recordings' case `fs`, of which every request
//! can be left pending, to be completed when a test says so.

#![allow(dead_code, reason = "each test is a program of its own, and none uses all of this")]

use std::task::Poll;

use styx::server::{Answer, DirEntries, Ename, Opened, Outcome, RequestId, Service, Session};
use styx::{Qid, Stat, enames, omode, qt};

/// The names in the root, in order. Each entry is 61 bytes and its name.
pub const NAMES: [&str; 5] = ["ctl", "c0", "m0", "p0", "i0"];

/// A name whose entry does not fit into a message of 64 bytes; it is not listed.
pub const LONG: &str = "a-longer-name";

/// The length of every file but ctl, in bytes.
pub const LENGTH: u64 = 16_384;

/// The root, or a file: by its place in [`NAMES`], or beyond for what was created and [`LONG`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    Root,
    Plain(usize),
}

/// A file that was created.
pub const CREATED: File = File::Plain(NAMES.len());
const UNLISTED: File = File::Plain(NAMES.len() + 1);

impl File {
    pub fn qid(self) -> Qid {
        match self {
            File::Root => Qid { kind: qt::DIR, vers: 0, path: 1 },
            File::Plain(index) => Qid { kind: qt::FILE, vers: 0, path: index as u64 + 2 },
        }
    }

    fn stat(self) -> Stat<'static> {
        let name = match self {
            File::Root => "/",
            File::Plain(index) => NAMES.get(index).copied().unwrap_or(LONG),
        };
        let mode = if self == File::Root { 0o20_000_000_775 } else { 0o664 };
        let (uid, gid, muid) = ("root", "root", "root");
        let (qid, length) = (self.qid(), if self == File::Root { 0 } else { LENGTH });
        Stat { kind: 0x6b, dev: 0, qid, mode, atime: 0, mtime: 0, length, name, uid, gid, muid }
    }
}

/// What byte `offset` of any file is.
pub fn byte_at(offset: u64) -> u8 {
    (offset ^ (offset >> 8)) as u8
}

/// What a request asks, as far as its answer depends on it.
#[derive(Debug)]
pub enum Asked {
    Attach,
    Walk(File, String),
    Open(File, u8),
    Create(File),
    Read(u64, usize),
    ReadDir(u64, DirEntries),
    Write(u32),
    Stat(File),
    Wstat(bool),
    Remove(File),
    Close,
}

/// An answer that owns its bytes.
#[derive(Debug)]
pub enum Made {
    File(File),
    Opened(Opened<File>),
    Bytes(Vec<u8>),
    Entries(DirEntries),
    Count(u32),
    Done,
}

/// The file server.
#[derive(Debug, Default)]
pub struct Tree {
    /// Leave every request pending from now on.
    pub hold: bool,
    /// What a flush is told: whether the request was dropped.
    pub drops: bool,
    /// Say that a byte more was read or written than was asked for, and go on with entries when
    /// there is no room for them.
    pub boasts: bool,
    /// Fail whatever is asked.
    pub fails: bool,
    /// What every Ropen is to say, before the session has looked at it.
    pub iounit: u32,
    /// List a file whose name is this long, after all others.
    pub longest: usize,
    /// Requests that were left pending, oldest first.
    pub held: Vec<(RequestId, Asked)>,
    /// What [`Service::flush`] and [`Service::clunk`] were told, in order.
    pub flushed: Vec<RequestId>,
    pub clunked: Vec<(File, Option<u8>)>,
}

impl Tree {
    fn ask(&mut self, request: RequestId, asked: Asked) -> Outcome<Made> {
        if self.hold {
            self.held.push((request, asked));
            return Poll::Pending;
        }
        Poll::Ready(self.answer(asked))
    }

    fn answer(&self, asked: Asked) -> Result<Made, Ename> {
        if self.fails {
            return Err(enames::EIO.into());
        }
        let mut answer = match asked {
            Asked::ReadDir(cursor, entries) => Ok(Made::Entries(self.list(cursor, entries))),
            asked => asked.answer(),
        };
        match &mut answer {
            Ok(Made::Count(count)) if self.boasts => *count += 1,
            Ok(Made::Bytes(bytes)) if self.boasts => bytes.push(0),
            Ok(Made::Opened(opened)) => opened.iounit = self.iounit,
            _ => {}
        }
        answer
    }

    fn list(&self, cursor: u64, mut entries: DirEntries) -> DirEntries {
        let long = "n".repeat(self.longest);
        let last = (self.longest > 0).then_some(Stat { name: &long, ..CREATED.stat() });
        let all = (0..NAMES.len()).map(|index| File::Plain(index).stat()).chain(last);
        for (stat, next) in all.zip(1..).skip(cursor as usize) {
            if !entries.push(&stat, next) && !self.boasts {
                break;
            }
        }
        entries
    }

    /// Completes the nth of the requests that were left pending.
    pub fn complete(&mut self, nth: usize, session: &mut Session<File>, out: &mut Vec<u8>) {
        let (id, asked) = self.held.remove(nth);
        let is_stat = matches!(asked, Asked::Stat(_));
        let bytes;
        let answer = match self.answer(asked) {
            Ok(Made::File(file)) => Ok(Answer::File(file)),
            Ok(Made::Opened(opened)) => Ok(Answer::Opened(opened)),
            Ok(Made::Entries(entries)) => Ok(Answer::Entries(entries)),
            Ok(Made::Count(count)) => Ok(Answer::Count(count)),
            Ok(Made::Done) => Ok(Answer::Done),
            Ok(Made::Bytes(made)) => {
                bytes = made;
                Ok(if is_stat { Answer::Stat(&bytes) } else { Answer::Data(&bytes) })
            }
            Err(ename) => Err(ename),
        };
        session.complete(id, answer, self, out);
    }
}

impl Asked {
    fn answer(self) -> Result<Made, Ename> {
        match self {
            Asked::Attach => Ok(Made::File(File::Root)),
            Asked::Walk(File::Plain(_), _) => Err(enames::ENOTDIR.into()),
            Asked::Walk(File::Root, name) => match &*name {
                "" | "." | ".." => Ok(Made::File(File::Root)),
                LONG => Ok(Made::File(UNLISTED)),
                name if name.len() > 60 => Err(format!("'{name}' does not exist").into()),
                name => {
                    let index = NAMES.iter().position(|there| *there == name);
                    index.map(File::Plain).map(Made::File).ok_or(enames::ENONEXIST.into())
                }
            },
            Asked::Open(File::Root, mode) if mode != omode::OREAD => Err(enames::EPERM.into()),
            Asked::Open(file, _) => Ok(Made::Opened(Opened::new(file, file.qid()))),
            Asked::Create(File::Root) => Ok(Made::Opened(Opened::new(CREATED, CREATED.qid()))),
            Asked::Read(offset, count) => {
                let end = LENGTH.min(offset.saturating_add(count as u64));
                Ok(Made::Bytes((offset..end).map(byte_at).collect()))
            }
            Asked::ReadDir(..) => unreachable!("the tree itself lists"),
            Asked::Write(count) => Ok(Made::Count(count)),
            Asked::Stat(file) => {
                let mut bytes = Vec::new();
                file.stat().encode(&mut bytes);
                Ok(Made::Bytes(bytes))
            }
            Asked::Wstat(true) | Asked::Close => Ok(Made::Done),
            Asked::Remove(File::Plain(_)) => Ok(Made::Done),
            Asked::Create(_) | Asked::Wstat(false) | Asked::Remove(File::Root) => {
                Err(enames::EPERM.into())
            }
        }
    }
}

/// What a method of [`Service`] returns, taken out of a [`Made`] that is of the right kind.
macro_rules! only {
    ($outcome:expr, $kind:path) => {
        $outcome.map_ok(|made| match made {
            $kind(value) => value,
            other => panic!("{other:?} is no answer to this"),
        })
    };
}

impl Service for Tree {
    type File = File;

    fn attach(&mut self, request: RequestId, _uname: &str, _aname: &str) -> Outcome<File> {
        only!(self.ask(request, Asked::Attach), Made::File)
    }

    fn qid(&self, file: &File) -> Qid {
        file.qid()
    }

    fn walk(&mut self, request: RequestId, from: &File, name: &str) -> Outcome<File> {
        only!(self.ask(request, Asked::Walk(*from, name.to_owned())), Made::File)
    }

    fn open(&mut self, request: RequestId, file: &File, mode: u8) -> Outcome<Opened<File>> {
        only!(self.ask(request, Asked::Open(*file, mode)), Made::Opened)
    }

    fn create(
        &mut self,
        request: RequestId,
        dir: &File,
        _name: &str,
        _perm: u32,
        _mode: u8,
    ) -> Outcome<Opened<File>> {
        only!(self.ask(request, Asked::Create(*dir)), Made::Opened)
    }

    fn read(
        &mut self,
        request: RequestId,
        _file: &File,
        offset: u64,
        data: &mut [u8],
    ) -> Outcome<usize> {
        only!(self.ask(request, Asked::Read(offset, data.len())), Made::Bytes).map_ok(|bytes| {
            let there = bytes.len().min(data.len());
            data[..there].copy_from_slice(&bytes[..there]);
            bytes.len()
        })
    }

    fn read_dir(
        &mut self,
        request: RequestId,
        _dir: &File,
        cursor: u64,
        entries: DirEntries,
    ) -> Outcome<DirEntries> {
        only!(self.ask(request, Asked::ReadDir(cursor, entries)), Made::Entries)
    }

    fn write(&mut self, request: RequestId, _: &File, _: u64, data: &[u8]) -> Outcome<u32> {
        only!(self.ask(request, Asked::Write(data.len() as u32)), Made::Count)
    }

    fn stat(&mut self, request: RequestId, file: &File, out: &mut Vec<u8>) -> Outcome<()> {
        let made = only!(self.ask(request, Asked::Stat(*file)), Made::Bytes);
        made.map_ok(|bytes| out.extend(bytes))
    }

    fn wstat(&mut self, request: RequestId, _file: &File, stat: &Stat<'_>) -> Outcome<()> {
        self.ask(request, Asked::Wstat(stat.is_sync())).map_ok(|_| ())
    }

    fn remove(&mut self, request: RequestId, file: File, _mode: Option<u8>) -> Outcome<()> {
        self.ask(request, Asked::Remove(file)).map_ok(|_| ())
    }

    fn clunk(&mut self, file: File, mode: Option<u8>) {
        self.clunked.push((file, mode));
    }

    fn close(&mut self, request: RequestId, file: File, mode: Option<u8>) -> Outcome<()> {
        self.clunk(file, mode);
        self.ask(request, Asked::Close).map_ok(|_| ())
    }

    fn flush(&mut self, request: RequestId) -> bool {
        self.flushed.push(request);
        if self.drops {
            self.held.retain(|(held, _)| *held != request);
        }
        self.drops
    }
}

//! Files on other 9P servers: one connection for each mount, shared by all its files.
//!
//! A [`Mount`] holds no socket and no clock: bytes go in and out by calls, and the time is an
//! argument. The server is not trusted: what a reply may say is checked by [`styx::client`], and
//! what it means is checked here. When the connection goes, everything under way fails with what
//! happened; when it is back, every file is walked to and opened again, and one that is no longer
//! the same (its qid path, its length, or how deep a device it is) stays failed and says so. What could
//! not be opened for another reason is tried again when somebody asks for it, or at once if it took too
//! long.
//!
//! The session is in this file, the files and their opening in `files`, reads and writes in `parts`.

mod files;
mod parts;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use slab::Slab;
use styx::client::{Client, Event, MAX_OUTSTANDING, ProtocolError};
use styx::server::Ename;
use styx::{NOFID, Rmsg, Tmsg, enames};
use thiserror::Error;

use super::changes::Changes;
use super::{Op, refuses_sync};
use crate::namespace::{Failure, Walked};
use files::{FileId, FileState, Identity, Walking};
use parts::Split;

pub use files::RemoteFile;

/// The msize that is offered, in bytes. Inferno's export agrees to more, and then can't answer a
/// Tstat, because it counts what fits in 16 bits.
const MSIZE: u32 = 64 * 1024;

/// The fid of the root of the mount.
const ROOT: u32 = 0;

/// Deadlines kept beyond those of what is under way, before the others are looked for and dropped.
const STALE_DEADLINES: usize = 64;

/// Names a lookup or an opening that was left pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobId(pub u64);

/// What came of something that was asked of a mount.
#[derive(Debug)]
pub enum Done {
    /// A read: the bytes, fewer than were asked for at the end of the file.
    Read(Op, Result<Vec<u8>, Ename>),
    /// A write: how many bytes were taken.
    Wrote(Op, Result<usize, Ename>),
    /// A sync.
    Synced(Op, Result<(), Ename>),
    /// A lookup.
    Walked(JobId, Walked),
    /// An opening.
    Opened(JobId, Result<RemoteFile, Failure>),
}

/// Why a connection can't go on.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Broken {
    /// The server broke the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The server lets nobody in: its own words.
    #[error("{0}")]
    Refused(String),
    /// The server answers neither a request nor the Tflush that followed it, or not even what
    /// starts a session.
    #[error("{}", enames::ETIMEDOUT)]
    Silent,
    /// The user's name and the attach name do not fit the msize that the server agreed to.
    #[error("{}", enames::ETOOSMALL)]
    SmallMsize,
}

/// What a request was for.
#[derive(Debug)]
enum Asked {
    Version,
    Attach,
    /// A part of a walk: names done before it, and names in it.
    Walk {
        walk: Walking,
        done: usize,
        part: usize,
    },
    Stat {
        file: FileId,
        fid: u32,
    },
    Open {
        file: FileId,
        fid: u32,
        identity: Identity,
    },
    /// Bytes of a read or a write, at this place of it.
    Part {
        split: usize,
        at: usize,
        count: usize,
    },
    /// Of a file, after so many writes to it.
    Sync {
        op: Op,
        file: FileId,
        until: u64,
    },
    Clunk {
        fid: u32,
    },
    /// Nobody waits for it any more.
    Nobody,
}

/// How a request came to nothing.
#[derive(Debug)]
enum Cause {
    /// The server says why.
    Said(Ename),
    /// It was never carried out: it could not be sent, or was flushed.
    NeverDone(Ename),
}

/// When a request is overdue.
#[derive(Debug)]
struct Deadline {
    at: Instant,
    tag: u16,
    serial: u64,
    /// It was overdue once before, and has been flushed.
    flushed: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Down,
    Starting,
    Up,
}

/// One other server.
#[derive(Debug)]
pub struct Mount {
    number: usize,
    aname: String,
    uname: String,
    client: Client<(u64, Asked)>,
    state: State,
    out: Vec<u8>,
    /// What waits for the connection to be up: walks.
    waiting: VecDeque<Walking>,
    files: Slab<FileState>,
    /// Files whose last handle was dropped.
    dropped: Rc<RefCell<Vec<usize>>>,
    /// How often each file was changed through this server.
    changes: Changes,
    splits: Slab<Split>,
    /// Reads and writes that have more to send than there is room for.
    unsent: VecDeque<usize>,
    /// The largest fid used so far, and those below it that are free.
    fids: u32,
    free_fids: Vec<u32>,
    done: VecDeque<Done>,
    serial: u64,
    /// In the order of their times.
    deadlines: VecDeque<Deadline>,
    timeout: Duration,
    trial: bool,
}

impl Mount {
    /// A mount that is not connected. A request that has no answer after `timeout` fails.
    pub fn new(number: usize, uname: &str, aname: &str, timeout: Duration) -> Self {
        Mount {
            number,
            aname: aname.to_string(),
            uname: uname.to_string(),
            client: Client::new(MSIZE),
            state: State::Down,
            out: Vec::new(),
            waiting: VecDeque::new(),
            files: Slab::new(),
            dropped: Rc::default(),
            changes: Changes::default(),
            splits: Slab::new(),
            unsent: VecDeque::new(),
            fids: ROOT,
            free_fids: Vec::new(),
            done: VecDeque::new(),
            serial: 0,
            deadlines: VecDeque::new(),
            timeout,
            trial: false,
        }
    }

    /// On trial, files are opened for reading only.
    pub fn set_trial(&mut self, trial: bool) {
        self.trial = trial;
    }

    /// The bytes that are to be sent, which the caller takes from the front.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// The longest message that the server may send, in bytes.
    pub fn msize(&self) -> u32 {
        self.client.msize()
    }

    /// Whether anyone needs the connection.
    pub fn is_wanted(&self) -> bool {
        !self.waiting.is_empty() || !self.files.is_empty()
    }

    /// Whether there is no session, nor the beginning of one.
    pub fn is_down(&self) -> bool {
        self.state == State::Down
    }

    /// Whether the server has let us in.
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Whether something that was asked has no answer yet.
    pub fn is_busy(&self) -> bool {
        self.outstanding() > 0
    }

    /// How many requests have no answer yet.
    pub fn outstanding(&self) -> usize {
        self.client.outstanding()
    }

    /// The next result of something that was asked.
    pub fn next_done(&mut self) -> Option<Done> {
        self.done.pop_front()
    }

    /// The connection is there: the session starts.
    pub fn connected(&mut self, now: Instant) {
        self.client = Client::new(MSIZE);
        self.out.clear();
        self.deadlines.clear();
        self.fids = ROOT;
        self.free_fids.clear();
        self.state = State::Starting;
        self.serial += 1;
        self.client.version((self.serial, Asked::Version), &mut self.out);
        self.watch(styx::NOTAG, false, now);
    }

    /// The connection is gone, or could not be made: everything under way fails with `why`.
    pub fn disconnected(&mut self, why: &str) {
        self.state = State::Down;
        self.out.clear();
        self.deadlines.clear();
        let asked: Vec<Asked> = self.client.drain().map(|(_, asked)| asked).collect();
        for asked in asked {
            match asked {
                Asked::Walk { walk, .. } => self.waiting.push_back(walk),
                Asked::Sync { op, .. } => {
                    self.done.push_back(Done::Synced(op, Err(why.to_string().into())));
                }
                // Of these, the files and the splits below know more.
                Asked::Stat { .. } | Asked::Open { .. } | Asked::Part { .. } => {}
                Asked::Version | Asked::Attach | Asked::Clunk { .. } | Asked::Nobody => {}
            }
        }
        self.fail_lookups(why);
        self.fail_files(why);
        self.fail_splits(why);
    }

    /// When the next request will be overdue.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|deadline| deadline.at)
    }

    fn watch(&mut self, tag: u16, flushed: bool, now: Instant) {
        let (at, serial) = (now + self.timeout, self.serial);
        self.deadlines.push_back(Deadline { at, tag, serial, flushed });
        if self.deadlines.len() > 2 * self.client.outstanding() + STALE_DEADLINES {
            let client = &mut self.client;
            self.deadlines.retain(|deadline| deadline.is_of(client));
        }
    }

    /// Asks the server to forget what is overdue. A read fails at once; what changes something, on
    /// the server or in its fids, when it is known that it was not done.
    ///
    /// # Errors
    /// If the server did not even answer what starts a session, or a Tflush: the caller should
    /// hang up.
    pub fn expire(&mut self, now: Instant) -> Result<(), Broken> {
        while let Some(front) = self.deadlines.front() {
            if front.at > now {
                break;
            }
            let Some(late) = self.deadlines.pop_front() else { break };
            if !late.is_of(&mut self.client) {
                continue;
            }
            let Some((_, asked)) = self.client.context_mut(late.tag) else { continue };
            if late.flushed || matches!(asked, Asked::Version | Asked::Attach) {
                return Err(Broken::Silent);
            }
            let read =
                matches!(asked, Asked::Part { split, .. } if !self.splits[*split].is_write());
            let read = read.then(|| std::mem::replace(asked, Asked::Nobody));
            self.client.flush(late.tag, &mut self.out);
            let at = now + self.timeout;
            self.deadlines.push_back(Deadline { at, flushed: true, ..late });
            if let Some(asked) = read {
                self.failed(asked, Cause::NeverDone(enames::ETIMEDOUT.into()), now);
            }
        }
        Ok(())
    }

    fn send(&mut self, message: &Tmsg<'_>, asked: Asked, now: Instant) {
        if let Err(asked) = self.try_send(message, asked, now) {
            let no_tag = self.client.outstanding() >= MAX_OUTSTANDING;
            let ename = if no_tag { enames::ENOTAGS } else { enames::ETOOSMALL };
            self.failed(asked, Cause::NeverDone(ename.into()), now);
        }
    }

    /// Sends a request, or gives it back if there is no tag for it or it does not fit the msize.
    fn try_send(&mut self, message: &Tmsg<'_>, asked: Asked, now: Instant) -> Result<(), Asked> {
        self.serial += 1;
        match self.client.send(message, (self.serial, asked), &mut self.out) {
            Ok(tag) => {
                self.watch(tag, false, now);
                Ok(())
            }
            Err((_, asked)) => Err(asked),
        }
    }

    /// Takes one whole frame from the server.
    ///
    /// # Errors
    /// If the server broke the protocol, or lets nobody in: the caller should hang up.
    pub fn receive(&mut self, frame: &[u8], now: Instant) -> Result<(), Broken> {
        match self.client.receive(frame)? {
            None => {}
            Some(Event::Flushed((_, asked))) => {
                self.failed(asked, Cause::NeverDone(enames::ETIMEDOUT.into()), now);
            }
            Some(Event::Reply((_, asked), Ok(reply))) => self.replied(asked, &reply, now)?,
            Some(Event::Reply((_, Asked::Version | Asked::Attach), Err(ename))) => {
                return Err(Broken::Refused(ename.to_string()));
            }
            Some(Event::Reply((_, asked), Err(ename))) => {
                self.failed(asked, Cause::Said(ename.to_string().into()), now);
            }
        }
        while let Some(front) = self.deadlines.front() {
            if front.is_of(&mut self.client) {
                break;
            }
            self.deadlines.pop_front();
        }
        self.send_parts(now);
        Ok(())
    }

    fn replied(&mut self, asked: Asked, reply: &Rmsg<'_>, now: Instant) -> Result<(), Broken> {
        match (asked, reply) {
            (Asked::Version, _) => {
                let (uname, aname) = (self.uname.clone(), self.aname.clone());
                let attach = Tmsg::Attach { fid: ROOT, afid: NOFID, uname: &uname, aname: &aname };
                self.try_send(&attach, Asked::Attach, now).map_err(|_| Broken::SmallMsize)?;
            }
            (Asked::Attach, _) => {
                self.state = State::Up;
                for walk in std::mem::take(&mut self.waiting) {
                    self.walk_on(walk, 0, now);
                }
                self.open_again(now);
            }
            (Asked::Walk { walk, done, part }, Rmsg::Walk { qids }) => {
                self.walked(walk, done, part, qids, now);
            }
            (Asked::Stat { file, fid }, Rmsg::Stat { stat }) => {
                self.looked_at(file, fid, stat, now)?;
            }
            (Asked::Open { file, fid, identity }, Rmsg::Open { iounit, .. }) => {
                self.opened(file, fid, *iounit, identity, now);
            }
            (Asked::Part { split, at, count }, Rmsg::Read { data }) => {
                self.read_part(split, at, count, data);
            }
            (Asked::Part { split, at, count }, Rmsg::Write { count: taken }) => {
                self.wrote_part(split, at, count, *taken as usize);
            }
            (Asked::Sync { op, file, until }, _) => {
                self.synced(file, until);
                self.done.push_back(Done::Synced(op, Ok(())));
            }
            (Asked::Clunk { fid }, _) => self.free_fids.push(fid),
            _ => {}
        }
        Ok(())
    }

    fn failed(&mut self, asked: Asked, cause: Cause, now: Instant) {
        match asked {
            Asked::Version | Asked::Attach | Asked::Nobody => {}
            // Whatever was wrong, a clunk can't be refused (clunk(5)).
            Asked::Clunk { fid } => {
                if let Cause::Said(_) = cause {
                    self.free_fids.push(fid);
                }
            }
            Asked::Walk { walk, done, .. } => self.walk_failed(walk, done, cause, now),
            Asked::Stat { file, fid } | Asked::Open { file, fid, .. } => {
                self.not_opened(file, cause.ename(), now);
                self.clunk(fid, now);
            }
            Asked::Part { split, .. } => self.part_failed(split, cause.ename()),
            Asked::Sync { op, file, .. } => {
                if matches!(&cause, Cause::Said(ename) if !refuses_sync(ename)) {
                    self.sync_failed(file);
                }
                self.done.push_back(Done::Synced(op, Err(cause.ename())));
            }
        }
    }
}

impl Cause {
    fn ename(self) -> Ename {
        match self {
            Cause::Said(ename) | Cause::NeverDone(ename) => ename,
        }
    }
}

impl Deadline {
    /// Whether the request is still under way.
    fn is_of(&self, client: &mut Client<(u64, Asked)>) -> bool {
        client.context_mut(self.tag).is_some_and(|(serial, _)| *serial == self.serial)
    }
}

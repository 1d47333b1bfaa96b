//! The files of a mount: how they are found, opened, and opened again when the server is back.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use styx::client::whole_blocks;
use styx::server::Ename;
use styx::{MAXWELEM, NOFID, Qid, Stat, Tmsg, UpTo16, enames, mtype, omode, qt};

use super::{Asked, Broken, Cause, Done, JobId, Mount, ROOT, State};
use crate::inner::{DEVICE_TYPE, FileKey};
use crate::namespace::{Failure, Walked};
use styx::client::ProtocolError;

/// How long after a file could not be opened again that is tried once more, if somebody asks for it.
const PAUSE: Duration = Duration::from_secs(1);

/// An open file on another server. It is clunked when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct RemoteFile(Rc<Handle>);

#[derive(Debug)]
struct Handle {
    mount: usize,
    index: usize,
    identity: Identity,
    /// How often it was changed (see [`Changes`](crate::inner::changes::Changes)).
    changes: Arc<AtomicU32>,
    losses: Rc<Cell<u32>>,
    dropped: Rc<RefCell<Vec<usize>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.dropped.borrow_mut().push(self.index);
    }
}

impl RemoteFile {
    /// The number of its mount.
    pub fn mount(&self) -> usize {
        self.0.mount
    }

    /// Where it is among the files of its mount.
    pub(super) fn index(&self) -> usize {
        self.0.index
    }

    /// Its qid's path when it was opened first.
    pub fn qid_path(&self) -> u64 {
        self.0.identity.qid_path
    }

    /// The length that it had when it was opened first, in bytes.
    pub fn length(&self) -> u64 {
        self.0.identity.length
    }

    pub(in crate::inner) fn changes(&self) -> &Arc<AtomicU32> {
        &self.0.changes
    }

    /// How often its server may have lost what was written through this and not synced.
    pub fn losses(&self) -> u32 {
        self.0.losses.get()
    }

    /// How many devices deep it is, if it is a device of another dsfs; else 0.
    pub fn depth(&self) -> usize {
        self.0.identity.depth as usize
    }
}

/// What makes a file the same file when it is opened again.
///
/// The depth is part of it because of loops. A device is always deeper than what is inside it, so
/// no device contains itself as long as every depth is what it was when it was looked at. Two
/// servers that hold devices of each other can come to a loop only when one of them is started
/// anew with other devices, and then a depth has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    qid_path: u64,
    length: u64,
    depth: u32,
}

impl Identity {
    fn of(stat: &Stat<'_>) -> Self {
        let depth = if stat.kind == DEVICE_TYPE { stat.dev } else { 0 };
        Identity { qid_path: stat.qid.path, length: stat.length, depth }
    }
}

/// Names a file of a mount, as long as it is there: not the next one in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    index: usize,
    serial: u64,
}

/// A file that is to be open for as long as someone has it.
#[derive(Debug)]
pub(super) struct FileState {
    serial: u64,
    path: Vec<String>,
    /// Who waits for its first opening.
    job: Option<JobId>,
    /// What it was when it was opened first.
    identity: Option<Identity>,
    open: Result<OpenFid, Ename>,
    /// When it may be tried once more to open it; `None` while it is open or being opened, and when
    /// it is another file now.
    again: Option<Instant>,
    /// Writes that were sent so far, and how many of them are known to be on stable storage.
    writes: u64,
    synced: u64,
    /// How often the server may have lost others: the connection went, or it says so.
    losses: Rc<Cell<u32>>,
}

impl FileState {
    /// What is not known to be on stable storage may be gone.
    fn lost(&mut self) {
        self.synced = self.writes;
        self.losses.set(self.losses.get().wrapping_add(1));
    }
}

/// How a file is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenFid {
    pub fid: u32,
    /// The most bytes of one message, at least 1.
    pub unit: u32,
}

/// A walk, and what it is for.
#[derive(Debug)]
pub(super) struct Walking {
    names: Vec<String>,
    fid: u32,
    directory: bool,
    then: Then,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    /// Tell how far it went, counted from the name with this number.
    Tell(JobId, usize),
    /// Open the file.
    Open(FileId),
}

impl Mount {
    /// Looks how far `names` go from the directory at `path`.
    pub fn walk(&mut self, job: JobId, path: &[String], names: &[String], now: Instant) {
        self.start_walk([path, names].concat(), Then::Tell(job, path.len()), now);
    }

    /// Opens the file at `path` for reading and writing.
    pub fn open(&mut self, job: JobId, path: &[String], now: Instant) {
        self.serial += 1;
        let file = FileState {
            serial: self.serial,
            path: path.to_vec(),
            job: Some(job),
            identity: None,
            open: Err(enames::EHUNGUP.into()),
            again: None,
            writes: 0,
            synced: 0,
            losses: Rc::default(),
        };
        let id = FileId { serial: file.serial, index: self.files.insert(file) };
        self.start_walk(path.to_vec(), Then::Open(id), now);
    }

    /// The server is back: all files that were open are to be so again.
    pub(super) fn open_again(&mut self, now: Instant) {
        let again: Vec<(FileId, Vec<String>)> = self
            .files
            .iter()
            .filter(|(_, file)| file.identity.is_some())
            .map(|(index, file)| (FileId { index, serial: file.serial }, file.path.clone()))
            .collect();
        for (id, path) in again {
            self.start_walk(path, Then::Open(id), now);
        }
    }

    fn start_walk(&mut self, names: Vec<String>, then: Then, now: Instant) {
        let walk = Walking { names, fid: NOFID, directory: true, then };
        if self.state == State::Up {
            self.walk_on(walk, 0, now);
        } else {
            self.waiting.push_back(walk);
        }
    }

    /// Sends the next part of a walk: at most 16 names.
    pub(super) fn walk_on(&mut self, mut walk: Walking, done: usize, now: Instant) {
        let from = if done == 0 { ROOT } else { walk.fid };
        if done == 0 {
            walk.fid = self.free_fids.pop().unwrap_or_else(|| {
                self.fids += 1;
                self.fids
            });
        }
        let names = walk.names.clone();
        let part: UpTo16<&str> =
            names[done..].iter().take(MAXWELEM).fold(UpTo16::new(), |mut part, name| {
                let _fits = part.push(name.as_str());
                part
            });
        let message = Tmsg::Walk { fid: from, newfid: walk.fid, names: part };
        let part = part.len();
        self.send(&message, Asked::Walk { walk, done, part }, now);
    }

    pub(super) fn walked(
        &mut self,
        mut walk: Walking,
        done: usize,
        part: usize,
        qids: &[Qid],
        now: Instant,
    ) {
        let found = done + qids.len();
        walk.directory = qids.last().map_or(walk.directory, |qid| qid.is_dir());
        let whole = qids.len() == part;
        if whole && found < walk.names.len() {
            return self.walk_on(walk, found, now);
        }
        match walk.then {
            Then::Open(file) if whole && self.file(file).is_some() => {
                let fid = walk.fid;
                return self.send(&Tmsg::Stat { fid }, Asked::Stat { file, fid }, now);
            }
            Then::Open(file) => self.not_opened(file, enames::ENONEXIST.into(), now),
            Then::Tell(job, base) => {
                let directory = walk.directory || found < base;
                let found = found.saturating_sub(base);
                self.done.push_back(Done::Walked(job, Walked::Reached { found, directory }));
            }
        }
        // A walk that stops half way makes no fid, unless an earlier part had made it.
        if whole || done > 0 {
            self.clunk(walk.fid, now);
        } else {
            self.free_fids.push(walk.fid);
        }
    }

    pub(super) fn walk_failed(&mut self, walk: Walking, done: usize, cause: Cause, now: Instant) {
        match cause {
            _ if done > 0 => self.clunk(walk.fid, now),
            Cause::Said(_) => self.free_fids.push(walk.fid),
            // Some server may have made the fid all the same.
            Cause::NeverDone(_) => {}
        }
        match (walk.then, cause) {
            (Then::Open(file), cause) => self.not_opened(file, cause.ename(), now),
            // The first name of this part is not there.
            (Then::Tell(job, base), Cause::Said(_)) if done > 0 || base > 0 => {
                let found = done.saturating_sub(base);
                let directory = walk.directory;
                self.done.push_back(Done::Walked(job, Walked::Reached { found, directory }));
            }
            (Then::Tell(job, _), cause) => {
                let walked = Walked::Error(cause.ename().into_owned());
                self.done.push_back(Done::Walked(job, walked));
            }
        }
    }

    /// A file was found, and this is its entry.
    pub(super) fn looked_at(
        &mut self,
        file: FileId,
        fid: u32,
        stat: &[u8],
        now: Instant,
    ) -> Result<(), Broken> {
        let stat = Stat::decode(stat).map_err(|_| ProtocolError::Excess(mtype::RSTAT))?;
        let identity = Identity::of(&stat);
        let known = self.file(file).and_then(|state| state.identity);
        // Where a file can only be appended to, what is written does not go where it should.
        let refused = match () {
            () if stat.qid.kind & (qt::DIR | qt::APPEND) != 0 => Some(enames::EPERM),
            () if known.is_some_and(|known| known != identity) => Some(enames::ECHANGED),
            () if self.file(file).is_none() => Some(enames::EHUNGUP),
            () => None,
        };
        if let Some(ename) = refused {
            self.not_opened(file, ename.into(), now);
            self.clunk(fid, now);
            return Ok(());
        }
        let mode = if self.trial { omode::OREAD } else { omode::ORDWR };
        self.send(&Tmsg::Open { fid, mode }, Asked::Open { file, fid, identity }, now);
        Ok(())
    }

    pub(super) fn opened(
        &mut self,
        file: FileId,
        fid: u32,
        iounit: u32,
        identity: Identity,
        now: Instant,
    ) {
        let unit = whole_blocks(self.client.unit(iounit));
        let (mount, dropped) = (self.number, self.dropped.clone());
        let changes = self.changes.of(FileKey::Remote(mount, identity.qid_path));
        let Some(state) = self.file(file) else { return self.clunk(fid, now) };
        state.open = Ok(OpenFid { fid, unit });
        state.identity = Some(identity);
        if let Some(job) = state.job.take() {
            let losses = state.losses.clone();
            let handle = Handle { mount, index: file.index, identity, changes, losses, dropped };
            self.done.push_back(Done::Opened(job, Ok(RemoteFile(Rc::new(handle)))));
        }
    }

    pub(super) fn not_opened(&mut self, file: FileId, ename: Ename, now: Instant) {
        let number = self.number;
        let Some(state) = self.file(file) else { return };
        state.again = (ename != enames::ECHANGED).then(|| now + PAUSE);
        state.open = Err(ename.clone());
        let Some(job) = state.job.take() else {
            tracing::warn!(mount = number, %ename, "a file could not be opened again");
            // The server has said nothing of the file, so nobody should have to ask for it first. Each
            // try takes as long as a request may.
            if ename == enames::ETIMEDOUT {
                state.again = None;
                let path = state.path.clone();
                self.start_walk(path, Then::Open(file), now);
            }
            return;
        };
        self.files.remove(file.index);
        let failure = match &*ename {
            enames::EPERM => Failure::Permission,
            enames::ENONEXIST => Failure::NotFound,
            _ => Failure::Open(ename.into_owned()),
        };
        self.done.push_back(Done::Opened(job, Err(failure)));
    }

    /// The connection is gone: what was being looked up fails.
    pub(super) fn fail_lookups(&mut self, why: &str) {
        for walk in std::mem::take(&mut self.waiting) {
            if let Then::Tell(job, _) = walk.then {
                self.done.push_back(Done::Walked(job, Walked::Error(why.to_string())));
            }
        }
    }

    /// The connection is gone: no file is open, and those that never were fail.
    pub(super) fn fail_files(&mut self, why: &str) {
        let done = &mut self.done;
        self.files.retain(|_, file| {
            file.open = Err(why.to_string().into());
            file.again = None;
            if file.synced < file.writes {
                file.lost();
            }
            let Some(job) = file.job.take() else { return true };
            done.push_back(Done::Opened(job, Err(Failure::Open(why.to_string()))));
            false
        });
    }

    pub(super) fn clunk(&mut self, fid: u32, now: Instant) {
        self.send(&Tmsg::Clunk { fid }, Asked::Clunk { fid }, now);
    }

    /// Clunks what nobody has any more.
    pub fn collect_dropped(&mut self, now: Instant) {
        let dropped = std::mem::take(&mut *self.dropped.borrow_mut());
        for index in dropped {
            let state = self.files.remove(index);
            // One that is being opened again is clunked when it is open.
            if let (Ok(open), State::Up) = (state.open, &self.state) {
                self.clunk(open.fid, now);
            }
        }
    }

    /// A write is about to be sent.
    pub(super) fn begin_write(&mut self, file: &RemoteFile) {
        if let Some(state) = self.files.get_mut(file.index()) {
            state.writes += 1;
        }
    }

    /// A sync is about to be sent: which file it is of, and the writes before it.
    pub(super) fn begin_sync(&mut self, file: &RemoteFile) -> Result<(FileId, u64), Ename> {
        let index = file.index();
        let state = self.files.get_mut(index).ok_or(enames::EHUNGUP)?;
        Ok((FileId { index, serial: state.serial }, state.writes))
    }

    /// The writes before a sync are on stable storage.
    pub(super) fn synced(&mut self, file: FileId, until: u64) {
        if let Some(state) = self.file(file) {
            state.synced = state.synced.max(until);
        }
    }

    /// The server could not sync a file: what was written to it may be lost.
    pub(super) fn sync_failed(&mut self, file: FileId) {
        if let Some(state) = self.file(file) {
            state.lost();
        }
    }

    fn file(&mut self, id: FileId) -> Option<&mut FileState> {
        self.files.get_mut(id.index).filter(|file| file.serial == id.serial)
    }

    /// How a file is open. If it is not, because it could not be opened again, that is tried once
    /// more for whoever asks next.
    pub(super) fn open_fid(&mut self, file: &RemoteFile, now: Instant) -> Result<OpenFid, Ename> {
        let index = file.index();
        let state = self.files.get_mut(index).ok_or(enames::EHUNGUP)?;
        let open = state.open.clone();
        if self.state == State::Up && state.again.take_if(|at| *at <= now).is_some() {
            let id = FileId { index, serial: state.serial };
            let path = state.path.clone();
            self.start_walk(path, Then::Open(id), now);
        }
        open
    }
}

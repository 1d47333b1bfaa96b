//! What the loop does for transfers and for control messages: reads and writes of files here and
//! elsewhere, at once where that needs no waiting, and by worker threads or other servers where it
//! does.

use std::fs::File as HostFile;
use std::io::IoSliceMut;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Instant, SystemTime};

use styx::server::{Ename, Outcome};

use super::ahead::Ahead;
use super::connection::Surroundings;
use super::links::Link;
use super::logs::{Logs, Move, Work};
use super::trace::{self, Trace};
use super::workers::{Job, NewLog, NewState, Workers};
use crate::ctl::{Finder, SaveLog};
use crate::inner::host_fs::{self, Ask, Found, HostFs, Keeper, Look, Subject};
use crate::inner::local::Root;
use crate::inner::remote::JobId;
use crate::inner::{Carrier, Device, File, Op};
use crate::integrity::log::{self, Record};
use crate::integrity::state::{Key, StateDir, StateError};
use crate::namespace::{Failure, Target, Tree, Walked};

pub(super) struct Host {
    pub root: Root,
    /// The root as a file system, if it is exported.
    pub export: Option<HostFs>,
    /// How many of its files may be open at one time.
    pub open_limit: usize,
    pub workers: Workers,
    /// Who is read ahead of.
    pub ahead: Ahead,
    /// Somebody else than the client that has its turn asks for little.
    pub has_modest_company: bool,
    /// The mounts of the name space, by number.
    pub links: Vec<Link>,
    /// When this turn of the loop began.
    pub now: Instant,
    /// Where the configuration and the logs are kept, if they are.
    pub state: Option<Arc<StateDir>>,
    pub logs: Logs<Arc<HostFile>>,
    /// The mirror whose log is being opened.
    pub new_mirror: Option<Rc<Device>>,
    /// The configuration being restored is one that was kept: its logs must be there.
    pub restoring: bool,
    pub trial: bool,
    /// Where every message is shown, if it is.
    pub trace: Option<Trace>,
}

impl Host {
    /// On trial, files are found and looked at, and opened for reading at the most.
    pub fn set_trial(&mut self, trial: bool) {
        self.trial = trial;
        self.root.set_trial(trial);
        self.links.iter_mut().for_each(|link| link.mount.set_trial(trial));
    }

    /// What had to be saved is, or is not; a new mirror gets its log.
    pub fn saved(
        &mut self,
        result: Result<Option<(HostFile, log::Found)>, StateError>,
    ) -> Result<(), Ename> {
        let mirror = self.new_mirror.take();
        let log = result.map_err(|error| {
            tracing::error!(%error, "the state can't be saved");
            Ename::from(error.to_string())
        })?;
        if let (Some(mirror), Some((file, found))) = (mirror, log) {
            let time = self.time();
            self.logs.add(mirror, Arc::new(file), &found, time);
        }
        Ok(())
    }

    /// Has what is to be done for a log done.
    pub fn work(&mut self, work: Option<Work<Arc<HostFile>>>) {
        // There are logs only where there is a state directory.
        if let (Some(work), Some(state)) = (work, self.state.clone()) {
            self.workers.submit(Job::Log(state, work));
        }
    }

    /// Whether neither a worker thread nor another server can have anything to say.
    pub fn is_alone(&self) -> bool {
        self.workers.under_way() == 0 && self.links.is_empty()
    }

    fn exported(&self) -> &HostFs {
        self.export.as_ref().expect("who attaches to what is not exported is refused")
    }
}

impl Carrier for Host {
    fn read(&mut self, file: &File, offset: u64, data: &mut [u8], op: Op) -> Outcome<usize> {
        match file {
            File::Local(file) => {
                let outcome = file.read_cached(offset, data);
                let waits = outcome.is_pending();
                if waits {
                    let (file, count) = (file.clone(), data.len());
                    self.workers.submit(Job::Read { op, file, offset, count });
                }
                self.ahead.read(file, offset, data.len(), waits);
                outcome
            }
            File::Remote(file) => {
                let mount = &mut self.links[file.mount()].mount;
                mount.read(file, offset, data.len(), op, self.now)?;
                Poll::Pending
            }
        }
    }

    fn read_scattered(&mut self, file: &File, offset: u64, places: &mut [IoSliceMut<'_>]) -> bool {
        match file {
            File::Local(file) => {
                let all = file.read_cached_scattered(offset, places);
                if all {
                    let count = places.iter().map(|place| place.len()).sum();
                    self.ahead.read(file, offset, count, false);
                }
                all
            }
            File::Remote(_) => false,
        }
    }

    fn write(&mut self, file: &File, offset: u64, data: &[u8], op: Op) -> Outcome<usize> {
        match file {
            // Into the page cache. The host makes a writer wait only where too much of that is
            // still to be written to disk, and then everyone who writes should wait.
            File::Local(file) => file.write_cached(offset, data).or_later(|| {
                let (file, data) = (file.clone(), data.to_vec());
                self.workers.submit(Job::Write { op, file, offset, data });
            }),
            File::Remote(file) => {
                let mount = &mut self.links[file.mount()].mount;
                mount.write(file, offset, data, op, self.now)?;
                Poll::Pending
            }
        }
    }

    fn write_at_once(
        &mut self,
        file: &File,
        offset: u64,
        data: &[u8],
    ) -> Option<Result<usize, Ename>> {
        match file {
            File::Local(file) => match file.write_cached(offset, data) {
                Poll::Ready(result) => Some(result),
                Poll::Pending => None,
            },
            File::Remote(_) => None,
        }
    }

    fn sync(&mut self, file: &File, op: Op) -> Outcome<()> {
        match file {
            File::Local(file) => self.workers.submit(Job::Sync { op, file: file.clone() }),
            File::Remote(file) => {
                let mount = &mut self.links[file.mount()].mount;
                mount.sync(file, op, self.now)?;
            }
        }
        Poll::Pending
    }

    fn ends_before(&mut self, file: &File, offset: u64) -> bool {
        match file {
            File::Local(file) => file.ends_before(offset),
            File::Remote(_) => false,
        }
    }

    fn record(&mut self, mirror: &Rc<Device>, op: Option<Op>) -> Outcome<()> {
        let (outcome, work) = self.logs.record(mirror, op);
        self.work(work);
        outcome
    }

    fn has_modest_company(&self) -> bool {
        self.has_modest_company
    }

    fn time(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| since.as_millis() as u64)
    }
}

impl Finder for Host {
    fn walk(&mut self, job: JobId, target: &Target, names: &[String]) -> Poll<Walked> {
        let (path, names) = (target.path.clone(), names.to_vec());
        match target.tree {
            Tree::Host => {
                let root = self.root.clone();
                self.workers.submit(Job::Walk { job, root, path, names });
            }
            Tree::Mount(number) => self.links[number].mount.walk(job, &path, &names, self.now),
            Tree::Kernel => unreachable!("our own devices are looked up where they are"),
        }
        Poll::Pending
    }

    fn open(&mut self, job: JobId, target: &Target) -> Poll<Result<File, Failure>> {
        match target.tree {
            Tree::Host => {
                let (root, path) = (self.root.clone(), target.path.clone());
                self.workers.submit(Job::Open { job, root, path });
            }
            Tree::Mount(number) => self.links[number].mount.open(job, &target.path, self.now),
            Tree::Kernel => unreachable!("our own devices are looked up where they are"),
        }
        Poll::Pending
    }

    fn remembered(&mut self, key: &Key) -> Result<Option<Record>, Ename> {
        let Some(state) = &self.state else { return Ok(None) };
        // Only while a kept configuration is restored, so nobody waits for the disk with us.
        let log = state.read_log(key).map_err(|error| Ename::from(error.to_string()))?;
        Ok(Some(log.1.record))
    }

    fn save(
        &mut self,
        job: JobId,
        text: Option<String>,
        log: Option<SaveLog<'_>>,
    ) -> Poll<Result<(), Ename>> {
        let state = self.state.clone().filter(|_| !self.trial);
        let log = match log {
            Some(SaveLog::Replace { mirror, leg, keys }) => {
                let time = self.time();
                if let Some(mut mirror) = mirror.mirror() {
                    mirror.begin_replace(leg, time);
                }
                if state.is_none() {
                    return Poll::Ready(Ok(()));
                }
                let by = Move { job, leg, keys, text: text.unwrap_or_default() };
                let (saved, work) = self.logs.replace(mirror, by);
                self.work(work);
                return saved;
            }
            Some(SaveLog::New(mirror, key)) => Some((mirror, key)),
            None => None,
        };
        let Some(state) = state else { return Poll::Ready(Ok(())) };
        self.new_mirror = log.as_ref().map(|&(mirror, _)| mirror.clone());
        let log = log.map(|(mirror, key)| NewLog {
            key,
            length: mirror.geometry.length(),
            legs: mirror.inner().len(),
            must_exist: self.restoring,
        });
        self.workers.submit(Job::Save(NewState { job, state, text, log }));
        Poll::Pending
    }
}

impl Keeper for Host {
    fn ask(&mut self, job: host_fs::JobId, ask: Ask) {
        let fs = self.exported().clone();
        self.workers.submit(Job::Export { job, fs, ask });
    }

    fn look_now(&mut self, look: &Look) -> Option<Result<Found, Ename>> {
        self.exported().look_now(look)
    }

    fn stat_now(&mut self, subject: &Subject) -> Option<Result<Vec<u8>, Ename>> {
        self.exported().stat_now(subject)
    }

    fn open_limit(&self) -> usize {
        self.open_limit
    }
}

impl Surroundings for Host {
    fn now(&self) -> Instant {
        self.now
    }

    fn wants_messages(&self) -> bool {
        trace::is_wanted(self.trace.as_ref())
    }

    fn saw_request(&mut self, connection: u64, frame: &[u8]) {
        trace::request(self.trace.as_mut(), connection, frame);
    }

    fn saw_replies(&mut self, connection: u64, bytes: &[u8]) {
        trace::replies(self.trace.as_mut(), connection, bytes);
    }
}

trait OrLater {
    /// Does `later` if this is pending.
    fn or_later(self, later: impl FnOnce()) -> Self;
}

impl<T> OrLater for Poll<T> {
    fn or_later(self, later: impl FnOnce()) -> Self {
        if self.is_pending() {
            later();
        }
        self
    }
}

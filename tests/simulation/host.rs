//! What a server asks of its surroundings, as the event loop's own host gives it: its files, the
//! directory it exports, its logs and its mounts. Some of it is done at once; the rest is a job that
//! ends when the world says so, in any order, as jobs of worker threads do.

use std::io::IoSliceMut;
use std::path::Path;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use dsfs::ctl::{Finder, SaveLog};
use dsfs::event_loop::connection::Surroundings;
use dsfs::event_loop::logs::{Logs, Move, Recorded, Work};
use dsfs::inner::host_fs::{self, Ask, Found, HostFs, Keeper, Look, Subject};
use dsfs::inner::local::Root;
use dsfs::inner::remote::JobId;
use dsfs::inner::{Carrier, Device, File, LocalFile, Op};
use dsfs::integrity::log::{Identity, Record};
use dsfs::integrity::state::{Key, StateError};
use dsfs::namespace::{Failure, Target, Tree, Walked};
use dsfs::transfer::Done;
use dsfs::tree;
use styx::server::{Ename, Outcome};

use crate::disk::Disk;
use crate::link::Link;
use crate::random::Random;

/// Milliseconds from 1970 to the beginning of a world.
pub const BEGINNING: u64 = 1_000_000_000_000;

/// How many exported files may be open at one time.
const OPEN_LIMIT: usize = 64;

/// Something that was not done at once.
pub enum Job {
    Read { op: Op, file: usize, offset: u64, count: usize },
    Write { op: Op, file: usize, offset: u64, data: Vec<u8> },
    Sync { op: Op, file: usize, until: u64 },
    Walk { job: JobId, path: Vec<String>, names: Vec<String> },
    Open { job: JobId, path: Vec<String> },
    Save { job: JobId, text: Option<String>, log: Option<(Rc<Device>, Key)> },
    Record(usize, Identity),
    Move { log: usize, keys: (Key, Key), record: Box<Record>, text: String },
    Export { job: host_fs::JobId, ask: Ask },
}

/// The surroundings of one server, from its start to its end.
pub struct Host {
    pub disk: Disk,
    pub links: Vec<Link>,
    pub jobs: Vec<Job>,
    root: Root,
    export: HostFs,
    logs: Logs<Identity>,
    /// The configuration that was saved is being restored: its logs must be there.
    pub restoring: bool,
    /// Somebody else is taken to ask for little.
    has_modest_company: bool,
    /// Of a hundred operations, so many end at once.
    at_once: usize,
    dice: Random,
    /// Milliseconds since the beginning of the world, and the same as the program has it.
    pub time: u64,
    pub now: Instant,
}

impl Host {
    pub fn new(dir: &Path, disk: Disk, links: Vec<Link>, mut dice: Random, now: Instant) -> Host {
        let root = Root::open(dir, false).expect("a directory");
        let export = HostFs::new(&root).expect("there is a /proc");
        let at_once = *dice.pick(&[0, 30, 70, 95]);
        Host {
            disk,
            links,
            jobs: Vec::new(),
            root,
            export,
            logs: Logs::default(),
            restoring: false,
            has_modest_company: false,
            at_once,
            dice,
            time: 0,
            now,
        }
    }

    fn is_late(&mut self) -> bool {
        self.dice.below(100) >= self.at_once
    }

    /// A client's turn begins.
    pub fn turn_begins(&mut self) {
        self.has_modest_company = self.dice.one_in(2);
    }

    fn place(&self, file: &LocalFile) -> usize {
        self.disk.place(file.key())
    }

    fn work(&mut self, work: Option<Work<Identity>>) {
        match work {
            Some(Work::Record { log, file, offset, bytes }) => {
                self.disk.write_log(&file, offset, &bytes);
                self.jobs.push(Job::Record(log, file));
            }
            Some(Work::Move { log, keys, record, text }) => {
                self.jobs.push(Job::Move { log, keys, record, text });
            }
            None => {}
        }
    }

    /// The server is no more: its disks, as they are found when the power is back.
    pub fn crash(mut self) -> Disk {
        for job in std::mem::take(&mut self.jobs) {
            // What had not ended may have been done, or not.
            match job {
                Job::Write { file, offset, data, .. } => {
                    let _ = self.disk.write(file, offset, &data, &mut self.dice);
                }
                Job::Save { text, log, .. } if self.dice.one_in(2) => self.save(text, log.as_ref()),
                Job::Move { keys, record, text, .. } => {
                    self.disk.move_log(&keys, &record, text, self.dice.below(4));
                }
                _ => {}
            }
        }
        self.disk.crash(&mut self.dice);
        self.disk
    }

    fn save(&mut self, text: Option<String>, log: Option<&(Rc<Device>, Key)>) {
        if let Some((device, key)) = log {
            let (length, legs) = (device.geometry.length(), device.inner().len());
            let found = self.disk.open_log(key, length, legs, self.restoring);
            let time = self.time();
            self.logs.add(device.clone(), key.identity, &found, time);
        }
        if let Some(text) = text {
            self.disk.configure(text);
        }
    }

    /// A log has something new, as in the event loop.
    fn go_on(&mut self, world: &mut tree::World, log: usize, recorded: Recorded) {
        let Recorded { ops, moved } = recorded;
        if let Some((job, result)) = moved {
            world.control.saved(self, job, result);
        }
        let work = self.logs.go_on(log);
        self.work(work);
        for (op, result) in ops {
            world.transfers.complete(self, op, result.map(|()| Done::Recorded));
        }
    }

    /// Whether a mirror's log is being written.
    pub fn is_recording(&self) -> bool {
        self.jobs.iter().any(|job| matches!(job, Job::Record(..) | Job::Move { .. }))
    }

    /// Whether something is being written.
    pub fn is_writing(&self) -> bool {
        self.jobs.iter().any(|job| matches!(job, Job::Write { .. }))
    }

    /// Carries out one of the jobs, whichever, or reads a slice of a large read.
    pub fn do_job(&mut self, world: &mut tree::World) {
        if world.transfers.has_slices() && (self.jobs.is_empty() || self.dice.one_in(2)) {
            return world.transfers.read_slice(self);
        }
        let pick = self.dice.below(self.jobs.len());
        let dice = &mut self.dice;
        let transfers = &mut world.transfers;
        match self.jobs.swap_remove(pick) {
            Job::Read { op, file, offset, count } => {
                let mut data = vec![0; count];
                let read = self.disk.read(file, offset, &mut data, dice);
                let read = read.map(|count| Done::Read(&data[..count]));
                transfers.complete(self, op, read);
            }
            Job::Write { op, file, offset, data } => {
                let wrote = self.disk.write(file, offset, &data, dice);
                transfers.complete(self, op, wrote.map(Done::Wrote));
            }
            Job::Sync { op, file, until } => {
                let synced = self.disk.sync(file, until, dice);
                transfers.complete(self, op, synced.map(|()| Done::Synced));
            }
            Job::Record(log, identity) => {
                self.disk.sync_log(&identity);
                let recorded = self.logs.recorded(log, Ok(()));
                self.go_on(world, log, recorded);
            }
            Job::Move { log, keys, record, text } => {
                let moved = match dice.one_in(8) {
                    true => Err(StateError::Foreign("no room".into())),
                    false => {
                        self.disk.move_log(&keys, &record, text, 3);
                        let found = self.disk.log(&keys.1).expect("it was made");
                        Ok((keys.1.identity, found))
                    }
                };
                let recorded = self.logs.moved(log, moved);
                self.go_on(world, log, recorded);
            }
            Job::Save { job, text, log } => {
                self.save(text, log.as_ref());
                world.control.saved(self, job, Ok(()));
            }
            Job::Walk { job, path, names } => {
                let walked = self.root.walk(&path, &names);
                world.control.walked(self, job, walked);
            }
            Job::Open { job, path } => {
                let opened = self.root.open_file(&path).map(File::Local);
                world.control.opened(self, job, opened);
            }
            Job::Export { job, ask } => {
                let told = self.export.run(ask);
                world.host_told(self, job, told);
            }
        }
    }
}

impl Carrier for Host {
    fn read(&mut self, file: &File, offset: u64, data: &mut [u8], op: Op) -> Outcome<usize> {
        let file = match file {
            File::Local(file) => self.place(file),
            File::Remote(file) => {
                let mount = &mut self.links[file.mount()].mount;
                mount.read(file, offset, data.len(), op, self.now)?;
                return Poll::Pending;
            }
        };
        if self.is_late() {
            self.jobs.push(Job::Read { op, file, offset, count: data.len() });
            return Poll::Pending;
        }
        Poll::Ready(self.disk.read(file, offset, data, &mut self.dice))
    }

    fn read_scattered(&mut self, file: &File, offset: u64, places: &mut [IoSliceMut<'_>]) -> bool {
        let File::Local(file) = file else { return false };
        let file = self.place(file);
        let mut at = offset;
        !self.is_late()
            && places.iter_mut().all(|place| {
                let read = self.disk.read(file, at, place, &mut self.dice);
                at += place.len() as u64;
                read == Ok(place.len())
            })
    }

    fn write(&mut self, file: &File, offset: u64, data: &[u8], op: Op) -> Outcome<usize> {
        let file = match file {
            File::Local(file) => self.place(file),
            File::Remote(file) => {
                let mount = &mut self.links[file.mount()].mount;
                mount.write(file, offset, data, op, self.now)?;
                return Poll::Pending;
            }
        };
        if self.is_late() {
            self.jobs.push(Job::Write { op, file, offset, data: data.to_vec() });
            return Poll::Pending;
        }
        Poll::Ready(self.disk.write(file, offset, data, &mut self.dice))
    }

    fn write_at_once(
        &mut self,
        file: &File,
        offset: u64,
        data: &[u8],
    ) -> Option<Result<usize, Ename>> {
        let File::Local(file) = file else { return None };
        let file = self.place(file);
        if self.is_late() {
            return None;
        }
        let wrote = self.disk.write(file, offset, data, &mut self.dice);
        // One that took only a part is not over.
        (wrote.is_err() || wrote == Ok(data.len())).then_some(wrote)
    }

    fn sync(&mut self, file: &File, op: Op) -> Outcome<()> {
        match file {
            File::Local(file) => {
                let file = self.place(file);
                let until = self.disk.writes(file);
                self.jobs.push(Job::Sync { op, file, until });
            }
            File::Remote(file) => self.links[file.mount()].mount.sync(file, op, self.now)?,
        }
        Poll::Pending
    }

    fn ends_before(&mut self, file: &File, offset: u64) -> bool {
        match file {
            File::Local(file) => self.disk.length(self.place(file)) < offset,
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
        BEGINNING + self.time
    }
}

impl Finder for Host {
    fn walk(&mut self, job: JobId, target: &Target, names: &[String]) -> Poll<Walked> {
        match target.tree {
            Tree::Mount(number) => {
                self.links[number].mount.walk(job, &target.path, names, self.now);
            }
            _ if self.is_late() => {
                let (path, names) = (target.path.clone(), names.to_vec());
                self.jobs.push(Job::Walk { job, path, names });
            }
            _ => return Poll::Ready(self.root.walk(&target.path, names)),
        }
        Poll::Pending
    }

    fn open(&mut self, job: JobId, target: &Target) -> Poll<Result<File, Failure>> {
        match target.tree {
            Tree::Mount(number) => self.links[number].mount.open(job, &target.path, self.now),
            _ => self.jobs.push(Job::Open { job, path: target.path.clone() }),
        }
        Poll::Pending
    }

    fn remembered(&mut self, key: &Key) -> Result<Option<Record>, Ename> {
        self.disk.log(key).map(|found| Some(found.record)).ok_or("there is no log".into())
    }

    fn save(
        &mut self,
        job: JobId,
        text: Option<String>,
        log: Option<SaveLog<'_>>,
    ) -> Poll<Result<(), Ename>> {
        let log = match log {
            Some(SaveLog::New(device, key)) => Some((device.clone(), key)),
            Some(SaveLog::Replace { mirror, leg, keys }) => {
                let time = self.time();
                mirror.mirror().expect("a mirror").begin_replace(leg, time);
                let by = Move { job, leg, keys, text: text.expect("it changes") };
                let (saved, work) = self.logs.replace(mirror, by);
                self.work(work);
                return saved;
            }
            None => None,
        };
        self.jobs.push(Job::Save { job, text, log });
        Poll::Pending
    }
}

impl Surroundings for Host {
    fn now(&self) -> Instant {
        self.now
    }
}

impl Keeper for Host {
    fn ask(&mut self, job: host_fs::JobId, ask: Ask) {
        self.jobs.push(Job::Export { job, ask });
    }

    fn look_now(&mut self, look: &Look) -> Option<Result<Found, Ename>> {
        if self.is_late() { None } else { self.export.look_now(look) }
    }

    fn stat_now(&mut self, subject: &Subject) -> Option<Result<Vec<u8>, Ename>> {
        if self.is_late() { None } else { self.export.stat_now(subject) }
    }

    fn open_limit(&self) -> usize {
        OPEN_LIMIT
    }
}

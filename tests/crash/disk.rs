//! The legs of a mirror and its log, which are stores that can lose power, and what is under way on
//! them. Time is a number.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::task::Poll;

use dsfs::ctl::{Finder, SaveLog};
use dsfs::inner::local::Root;
use dsfs::inner::remote::JobId;
use dsfs::inner::{Carrier, Device, File, FileKey, Op};
use dsfs::integrity::log::{self, Found};
use dsfs::namespace::{Failure, Target, Walked};
use dsfs::transfer::{Done, Transfers};
use dsfs::tree::Owner;
use styx::server::{Ename, Outcome};

use crate::random::Random;
use crate::store::Store;

/// What tears: a disk writes sectors of the log whole, and words of a leg, so that the test can tell
/// whose each is.
const SECTOR: usize = 512;
const WORD: usize = 8;

enum Job {
    Read { op: Op, leg: usize, offset: usize, count: usize },
    Write { op: Op, leg: usize, offset: usize, data: Vec<u8> },
    Sync { op: Op, leg: usize, until: u64 },
    Record,
}

/// All of it, and what is under way.
pub struct Disk {
    root: Root,
    numbers: Rc<RefCell<HashMap<FileKey, usize>>>,
    pub legs: Vec<Store>,
    pub log: Store,
    pub dice: Random,
    pub time: u64,
    /// Of a hundred operations, so many end at once.
    pub at_once: u64,
    /// Writes to this leg that fail from now on.
    pub failing: Option<(usize, u32)>,
    /// This leg is on a server that does not sync.
    pub refusing: Option<usize>,
    /// Bytes of legs that were read, by offset and end.
    pub reads: Vec<(usize, usize)>,
    jobs: Vec<Job>,
    mirror: Option<Rc<Device>>,
    waiting: Vec<Op>,
    recording: Vec<Op>,
    /// What the log said when the mirror was configured.
    pub found: Option<Found>,
}

impl Disk {
    pub fn new(root: Root, legs: Vec<Store>, log: Store, dice: Random, time: u64) -> Disk {
        Disk {
            root,
            numbers: Rc::default(),
            legs,
            log,
            dice,
            time,
            at_once: 0,
            failing: None,
            refusing: None,
            reads: Vec::new(),
            jobs: Vec::new(),
            mirror: None,
            waiting: Vec::new(),
            recording: Vec::new(),
            found: None,
        }
    }

    fn leg(&self, file: &File) -> usize {
        self.numbers.borrow()[&file.key()]
    }

    fn is_late(&mut self) -> bool {
        self.dice.below(100) as u64 >= self.at_once
    }

    fn do_write(&mut self, leg: usize, offset: usize, data: &[u8]) -> Result<usize, Ename> {
        if let Some((bad, left)) = &mut self.failing
            && *bad == leg
            && *left > 0
        {
            *left -= 1;
            return Err("No space left on device".into());
        }
        self.legs[leg].write(offset, data);
        Ok(data.len())
    }

    fn do_read(&mut self, leg: usize, offset: usize, data: &mut [u8]) -> usize {
        let count = data.len();
        data.copy_from_slice(&self.legs[leg].seen[offset..offset + count]);
        self.reads.push((offset, offset + count));
        count
    }

    fn begin_record(&mut self) {
        let Some(mirror) = self.mirror.clone() else { return };
        let record = mirror.mirror().and_then(|mut mirror| mirror.begin_record());
        if let Some((offset, bytes)) = record {
            self.log.write(offset as usize, &bytes);
            self.recording = std::mem::take(&mut self.waiting);
            self.jobs.push(Job::Record);
        }
    }

    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Ends one operation that is under way, whichever.
    pub fn step(&mut self, transfers: &mut Transfers<Owner>) {
        if self.jobs.is_empty() {
            return;
        }
        let pick = self.dice.below(self.jobs.len());
        match self.jobs.swap_remove(pick) {
            Job::Read { op, leg, offset, count } => {
                let mut data = vec![0; count];
                self.do_read(leg, offset, &mut data);
                transfers.complete(self, op, Ok(Done::Read(&data)));
            }
            Job::Write { op, leg, offset, data } => {
                let wrote = self.do_write(leg, offset, &data);
                transfers.complete(self, op, wrote.map(Done::Wrote));
            }
            Job::Sync { op, leg, .. } if self.refusing == Some(leg) => {
                transfers.complete(self, op, Err("permission denied".into()));
            }
            Job::Sync { op, leg, until } => {
                self.legs[leg].sync(until);
                transfers.complete(self, op, Ok(Done::Synced));
            }
            Job::Record => {
                self.log.sync(self.log.writes);
                let mirror = self.mirror.clone().expect("it has a log");
                mirror.mirror().expect("it is a mirror").end_record(true);
                let ended = std::mem::take(&mut self.recording);
                if !self.waiting.is_empty() {
                    self.begin_record();
                }
                for op in ended {
                    transfers.complete(self, op, Ok(Done::Recorded));
                }
            }
        }
    }

    /// The power goes: the legs and the log as they are found.
    pub fn crash(mut self) -> (Vec<Store>, Store, Random, u64) {
        // A write that had not ended may be there as well.
        for job in std::mem::take(&mut self.jobs) {
            if let Job::Write { leg, offset, data, .. } = job {
                self.legs[leg].write(offset, &data);
            }
        }
        let mut dice = self.dice;
        let legs = self.legs.into_iter().map(|leg| leg.crashed(WORD, &mut dice)).collect();
        let log = self.log.crashed(SECTOR, &mut dice);
        (legs, log, dice, self.time)
    }
}

impl Carrier for Disk {
    fn read(&mut self, file: &File, offset: u64, data: &mut [u8], op: Op) -> Outcome<usize> {
        let leg = self.leg(file);
        if self.is_late() {
            self.jobs.push(Job::Read { op, leg, offset: offset as usize, count: data.len() });
            return Poll::Pending;
        }
        Poll::Ready(Ok(self.do_read(leg, offset as usize, data)))
    }

    fn write(&mut self, file: &File, offset: u64, data: &[u8], op: Op) -> Outcome<usize> {
        let leg = self.leg(file);
        if self.is_late() {
            self.jobs.push(Job::Write { op, leg, offset: offset as usize, data: data.to_vec() });
            return Poll::Pending;
        }
        Poll::Ready(self.do_write(leg, offset as usize, data))
    }

    fn write_at_once(
        &mut self,
        file: &File,
        offset: u64,
        data: &[u8],
    ) -> Option<Result<usize, Ename>> {
        let leg = self.leg(file);
        (!self.is_late()).then(|| self.do_write(leg, offset as usize, data))
    }

    fn sync(&mut self, file: &File, op: Op) -> Outcome<()> {
        let leg = self.leg(file);
        self.jobs.push(Job::Sync { op, leg, until: self.legs[leg].writes });
        Poll::Pending
    }

    fn ends_before(&mut self, _: &File, _: u64) -> bool {
        false
    }

    fn record(&mut self, _: &Rc<Device>, op: Option<Op>) -> Outcome<()> {
        self.waiting.extend(op);
        self.begin_record();
        Poll::Pending
    }

    fn time(&self) -> u64 {
        self.time
    }
}

impl Finder for Disk {
    fn walk(&mut self, _: JobId, target: &Target, names: &[String]) -> Poll<Walked> {
        Poll::Ready(self.root.walk(&target.path, names))
    }

    fn open(&mut self, _: JobId, target: &Target) -> Poll<Result<File, Failure>> {
        let opened = self.root.open_file(&target.path).map(File::Local);
        if let Ok(file) = &opened {
            // The legs are opened in their order.
            let mut numbers = self.numbers.borrow_mut();
            let next = numbers.len();
            numbers.insert(file.key(), next);
        }
        Poll::Ready(opened)
    }

    fn save(
        &mut self,
        _: JobId,
        _: Option<String>,
        log: Option<SaveLog<'_>>,
    ) -> Poll<Result<(), Ename>> {
        let Some(SaveLog::New(device, _)) = log else { panic!("only a mirror is configured") };
        let found = log::decode(&self.log.seen).expect("a power cut damages no log");
        device.mirror().expect("a mirror").restore(&found, self.time);
        self.found = Some(found);
        self.mirror = Some(device.clone());
        Poll::Ready(Ok(()))
    }
}

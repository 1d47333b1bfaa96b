//! The real thing under test: the control of devices and their transfers, over real files in a
//! directory of its own. What a worker thread or another server would do is done when the test says
//! so, in any order.

use std::fs;
use std::io::IoSliceMut;
use std::rc::Rc;
use std::task::Poll;

use dsfs::ctl::{Control, Dialect, Finder, SaveLog};
use dsfs::inner::local::Root;
use dsfs::inner::remote::JobId;
use dsfs::inner::{Carrier, Device, File, Inner, Op};
use dsfs::namespace::{Failure, Table, Target, Walked, table};
use dsfs::transfer::{Ask, Direction, Done, Transfers};
use styx::server::{Ename, Outcome};

use crate::model::{Files, Kind, Node, key_hex};

/// An operation that was left pending.
enum Job {
    Read { op: Op, file: File, offset: u64, count: usize },
    Write { op: Op, file: File, offset: u64, data: Vec<u8> },
    Sync { op: Op },
}

/// The files, and what is to be done with them.
pub struct Disk {
    dir: tempfile::TempDir,
    root: Root,
    /// Leave everything pending, until [`Real::step`].
    pub late: bool,
    jobs: Vec<Job>,
}

fn local(file: &File) -> &dsfs::inner::LocalFile {
    match file {
        File::Local(file) => file,
        File::Remote(_) => unreachable!("there is no other server here"),
    }
}

impl Carrier for Disk {
    fn read(&mut self, file: &File, offset: u64, data: &mut [u8], op: Op) -> Outcome<usize> {
        if self.late {
            self.jobs.push(Job::Read { op, file: file.clone(), offset, count: data.len() });
            return Poll::Pending;
        }
        Poll::Ready(local(file).read(offset, data))
    }

    fn read_scattered(&mut self, file: &File, offset: u64, places: &mut [IoSliceMut<'_>]) -> bool {
        !self.late && local(file).read_cached_scattered(offset, places)
    }

    fn write(&mut self, file: &File, offset: u64, data: &[u8], op: Op) -> Outcome<usize> {
        if self.late {
            self.jobs.push(Job::Write { op, file: file.clone(), offset, data: data.to_vec() });
            return Poll::Pending;
        }
        Poll::Ready(local(file).write(offset, data))
    }

    fn write_at_once(
        &mut self,
        file: &File,
        offset: u64,
        data: &[u8],
    ) -> Option<Result<usize, Ename>> {
        if self.late {
            return None;
        }
        match local(file).write_cached(offset, data) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    fn sync(&mut self, _: &File, op: Op) -> Outcome<()> {
        self.jobs.push(Job::Sync { op });
        Poll::Pending
    }

    fn ends_before(&mut self, file: &File, offset: u64) -> bool {
        local(file).ends_before(offset)
    }

    fn record(&mut self, _: &Rc<Device>, _: Option<Op>) -> Outcome<()> {
        // Nothing outlives a test, so no mirror has a log.
        Poll::Ready(Ok(()))
    }

    fn time(&self) -> u64 {
        0
    }
}

impl Finder for Disk {
    fn walk(&mut self, _: JobId, target: &Target, names: &[String]) -> Poll<Walked> {
        Poll::Ready(self.root.walk(&target.path, names))
    }

    fn open(&mut self, _: JobId, target: &Target) -> Poll<Result<File, Failure>> {
        Poll::Ready(self.root.open_file(&target.path).map(File::Local))
    }

    fn save(
        &mut self,
        _: JobId,
        _: Option<String>,
        _: Option<SaveLog<'_>>,
    ) -> Poll<Result<(), Ename>> {
        Poll::Ready(Ok(()))
    }
}

/// Devices over real files.
pub struct Real {
    pub disk: Disk,
    control: Control<()>,
    transfers: Transfers<usize>,
    dialect: Dialect,
    names: usize,
}

/// What came of a transfer: a read's bytes, or how many a write took.
pub type Came = Result<Vec<u8>, Ename>;

impl Real {
    /// The files of a model, and no devices.
    pub fn new(dialect: Dialect, files: &Files) -> Real {
        let dir = tempfile::tempdir().expect("a directory");
        for (number, data) in files.iter().enumerate() {
            fs::write(dir.path().join(format!("f{number}")), data).expect("a new file");
        }
        let root = Root::open(dir.path(), false).expect("it is there");
        let text = match dialect {
            Dialect::Devds => table::DEVDS_FILE,
            Dialect::Plan9 => table::PLAN9_FILE,
        };
        let mut nothing = |_: &str| Err("no files are included".to_owned());
        let names = Table::build("default", text.as_bytes(), &|_| None, &mut nothing);
        let names = Rc::new(names.expect("the default name space is right"));
        let disk = Disk { dir, root, late: false, jobs: Vec::new() };
        let control = Control::new(dialect, names);
        Real { disk, control, transfers: Transfers::default(), dialect, names: 0 }
    }

    /// Configures a model's devices by control messages, the inner ones first: in the order of
    /// [`Node::all`], the device or file of each node.
    pub fn configure(&mut self, node: &Node) -> Vec<Option<Rc<Device>>> {
        let mut made = Vec::new();
        self.configure_named(node, &mut made);
        made
    }

    /// The name by which another device finds what a node is.
    fn configure_named(&mut self, node: &Node, made: &mut Vec<Option<Rc<Device>>>) -> String {
        if let Kind::File(number) = node.kind {
            made.push(None);
            return format!("/f{number}");
        }
        let place = made.len();
        made.push(None);
        let inner: Vec<String> =
            node.inner.iter().map(|node| self.configure_named(node, made)).collect();
        let inner = inner.join(" ");
        self.names += 1;
        let name = format!("d{}", self.names);
        let message = match node.kind {
            Kind::Mirror => format!("mirror {name} {inner}"),
            Kind::Cat => format!("cat {name} {inner}"),
            Kind::Inter => format!("inter {name} {inner}"),
            Kind::Part(start, length) => format!("part {name} {inner} {start} {length}"),
            Kind::Crypt => format!("crypt {name} {inner} {}", key_hex()),
            Kind::File(_) => unreachable!("that is no device"),
        };
        let written = self.control.write(&mut self.disk, message.as_bytes(), ());
        assert_eq!(written, Poll::Ready(Ok(())), "{message}");
        let mut table = self.control.table().iter();
        let (_, _, entry) =
            table.find(|(_, listed, _)| *listed == name).expect("it was configured");
        made[place] = Some(entry.device.clone());
        match self.dialect {
            Dialect::Devds => format!("/ds/{name}"),
            Dialect::Plan9 => format!("/dev/fs/{name}"),
        }
    }

    /// Begins a read; what came of it, if it is over.
    pub fn read(
        &mut self,
        device: &Rc<Device>,
        offset: u64,
        count: usize,
        id: usize,
    ) -> Option<Came> {
        let mut data = vec![0x55; count];
        let ask = Ask::Read(&mut data);
        let inner = Inner::Device(device.clone());
        let outcome = self.transfers.begin(&mut self.disk, &inner, offset, ask, id);
        match outcome {
            Poll::Pending => None,
            Poll::Ready(result) => Some(result.map(|count| {
                data.truncate(count);
                data
            })),
        }
    }

    /// Begins a write; how many bytes it took, if it is over.
    pub fn write(
        &mut self,
        device: &Rc<Device>,
        offset: u64,
        data: &[u8],
        id: usize,
    ) -> Option<Result<usize, Ename>> {
        let inner = Inner::Device(device.clone());
        match self.transfers.begin(&mut self.disk, &inner, offset, Ask::Write(data), id) {
            Poll::Pending => None,
            Poll::Ready(result) => Some(result),
        }
    }

    /// Each write is on stable storage before it is over, from now on.
    pub fn sync_writes(&mut self) {
        self.transfers.sync_writes();
    }

    /// The owner of `id` no longer waits; whether its transfer was dropped.
    pub fn cancel(&mut self, id: usize) -> bool {
        self.transfers.cancel(&mut self.disk, id)
    }

    /// Carries out one of the pending operations, picked by `pick`; false if there is none.
    pub fn step(&mut self, pick: usize) -> bool {
        if self.disk.jobs.is_empty() {
            return false;
        }
        let job = self.disk.jobs.swap_remove(pick % self.disk.jobs.len());
        let Real { disk, transfers, .. } = self;
        match job {
            Job::Read { op, file, offset, count } => {
                let mut data = vec![0; count];
                let result = local(&file).read(offset, &mut data);
                let done = result.map(|count| Done::Read(&data[..count]));
                transfers.complete(disk, op, done);
            }
            Job::Write { op, file, offset, data } => {
                let result = local(&file).write(offset, &data);
                transfers.complete(disk, op, result.map(Done::Wrote));
            }
            Job::Sync { op } => transfers.complete(disk, op, Ok(Done::Synced)),
        }
        true
    }

    /// The oldest pending operation, which must be a write, ends with an error.
    pub fn fail_write(&mut self) {
        let job = self.disk.jobs.remove(0);
        let Job::Write { op, .. } = job else { panic!("it is no write") };
        self.transfers.complete(&mut self.disk, op, Err("No space left on device".into()));
    }

    /// The next transfer that is over: whose it was, and what came of it.
    pub fn next_finished(&mut self) -> Option<(usize, Result<Finished, Ename>)> {
        let finished = self.transfers.next_finished()?;
        let result = finished.result.map(|count| match finished.direction {
            Direction::Read => Finished::Read(finished.data),
            _ => Finished::Wrote(count),
        });
        Some((finished.owner, result))
    }

    /// How many transfers are under way.
    pub fn under_way(&self) -> usize {
        self.transfers.len()
    }

    /// Cuts a file to this length, as anyone on the host can.
    pub fn cut(&self, number: usize, length: u64) {
        let path = self.disk.dir.path().join(format!("f{number}"));
        let file = fs::OpenOptions::new().write(true).open(path).expect("it is there");
        file.set_len(length).expect("it is cut");
    }

    /// What the files hold now.
    pub fn files(&self, count: usize) -> Files {
        let read = |number: usize| fs::read(self.disk.dir.path().join(format!("f{number}")));
        (0..count).map(|number| read(number).expect("it is there")).collect()
    }
}

/// A transfer that was pending and went well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finished {
    Read(Vec<u8>),
    Wrote(usize),
}

//! The configured devices, and the control messages under way that change them.
//!
//! A message is carried out from beginning to end before the next one begins. Finding its inner
//! files may take a while (they may be on other machines), so it is a small state machine that
//! asks a [`Finder`] and goes on when that has answered. Nothing of a refused message stays.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::task::Poll;

use styx::enames;
use styx::server::Ename;
use zeroize::Zeroizing;

use super::order::restorable;
use super::{
    Command, Config, Devices, Dialect, DiskDefaults, InterLength, Keys, Kind, OpenError, PastEnd,
    Pattern, Rules, TakenCheck, line, parse, parse_saved,
};
use crate::device::crypt::Cipher;
use crate::device::{Geometry, Slot, Table};
use crate::inner::remote::JobId;
use crate::inner::{Device, File, Inner};
use crate::integrity::state::Key;
use crate::limits;
use crate::namespace::{self, Failure, NameError, Resolver, Step, Target, Tree, Walked};

/// Finds and opens files by the name space's targets. What is pending is answered later, by
/// [`Control::walked`] and [`Control::opened`].
pub trait Finder {
    /// How far `names` go from the directory `target`.
    fn walk(&mut self, job: JobId, target: &Target, names: &[String]) -> Poll<Walked>;

    /// Opens a file for reading and writing, and takes its length.
    fn open(&mut self, job: JobId, target: &Target) -> Poll<Result<File, Failure>>;

    /// Puts on stable storage what has to be there before a message is answered: the ctl text, if
    /// it changes, and the log of a new mirror, which is given to it. Answered later by
    /// [`Control::saved`].
    fn save(
        &mut self,
        job: JobId,
        text: Option<String>,
        mirror: Option<(&Rc<Device>, Key)>,
    ) -> Poll<Result<(), Ename>>;
}

/// A configured device, as the tree shows it.
#[derive(Debug)]
pub struct Entry {
    /// How it was configured.
    pub config: Config,
    /// What carries out its transfers.
    pub device: Rc<Device>,
    /// Fids that are open on it.
    pub opens: Cell<usize>,
    /// Its last write, in seconds since 1970; 0 before.
    pub mtime: Cell<u32>,
}

impl Entry {
    /// The devices that it is made of.
    fn below(&self) -> impl Iterator<Item = &Rc<Device>> {
        self.device.inner.iter().filter_map(|inner| match inner {
            Inner::Device(device) => Some(device),
            Inner::File(_) | Inner::Ctl => None,
        })
    }
}

/// A message that is being carried out.
#[derive(Debug)]
struct Running<O> {
    owner: O,
    job: JobId,
    source: Source,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Its inner files are being found.
    Finding(Box<Finding>),
    /// The new device is there but for its being saved.
    Saving(Option<Rc<Entry>>),
}

#[derive(Debug)]
struct Finding {
    config: Config,
    found: Vec<Inner>,
    resolver: Option<Resolver>,
}

/// Where a message came from.
#[derive(Clone, Debug)]
enum Source {
    Client,
    /// A saved configuration, whose keys are these.
    Saved(Rc<Keys>),
}

/// The devices and their ctl file. `O` is who wrote a message.
#[derive(Debug)]
pub struct Control<O> {
    dialect: Dialect,
    table: Table<Rc<Entry>>,
    disk: DiskDefaults,
    names: Rc<namespace::Table>,
    running: Option<Running<O>>,
    /// Messages that wait, any of which may have a key in it.
    queue: VecDeque<(O, Source, Zeroizing<Vec<u8>>)>,
    finished: VecDeque<(O, Result<(), Ename>)>,
    jobs: u64,
    version: u32,
    /// The text of ctl, and of which version it is.
    shown: RefCell<(u32, Rc<str>)>,
    stirred: Rc<Cell<bool>>,
}

impl<O> Devices for Control<O> {
    fn is_taken(&self, dir: &str, name: &str) -> bool {
        self.table.dir(dir).is_some_and(|dir| self.table.find(dir, name).is_some())
    }

    fn is_full(&self, dir: &str) -> bool {
        let used = self.table.dir(dir).map_or(0, |dir| self.table.in_dir(dir).count());
        used >= self.dialect.rules().max_devices
    }

    fn any(&self, pattern: &Pattern) -> bool {
        self.table
            .iter()
            .any(|(_, _, entry)| pattern.matches(&entry.config.dir, &entry.config.name))
    }
}

impl<O: Copy> Control<O> {
    /// No devices yet. Inner files are looked up in `names`.
    pub fn new(dialect: Dialect, names: Rc<namespace::Table>) -> Self {
        Control {
            dialect,
            table: Table::new(dialect.rules().dir),
            disk: DiskDefaults::default(),
            names,
            running: None,
            queue: VecDeque::new(),
            finished: VecDeque::new(),
            jobs: 0,
            version: 0,
            shown: RefCell::new((0, "".into())),
            stirred: Rc::default(),
        }
    }

    /// The dialect's rules.
    pub fn rules(&self) -> &'static Rules {
        self.dialect.rules()
    }

    /// The devices.
    pub fn table(&self) -> &Table<Rc<Entry>> {
        &self.table
    }

    /// Grows with every change of the devices there are.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What a read of ctl gives. It is put together once for each version: there may be megabytes of
    /// it, and a client may read it a byte at a time.
    pub fn shown(&self) -> Rc<str> {
        let mut shown = self.shown.borrow_mut();
        if shown.0 != self.version {
            *shown = (self.version, self.text().into());
        }
        shown.1.clone()
    }

    /// The messages that would make the same devices again, by directory and
    /// slot, but each after those that it is made of.
    pub fn text(&self) -> String {
        let entries: Vec<(Slot, &Rc<Entry>)> =
            self.table.iter().map(|(slot, _, entry)| (slot, entry)).collect();
        let dirs: Vec<usize> = entries.iter().map(|(slot, _)| slot.dir).collect();
        let numbers: HashMap<*const Device, usize> = entries
            .iter()
            .enumerate()
            .map(|(number, (_, entry))| (Rc::as_ptr(&entry.device), number))
            .collect();
        let number = |device: &Rc<Device>| numbers.get(&Rc::as_ptr(device)).copied();
        let inner: Vec<Vec<usize>> =
            entries.iter().map(|(_, entry)| entry.below().filter_map(number).collect()).collect();
        let order = restorable(&dirs, &inner);
        order.into_iter().map(|number| line(self.dialect, &entries[number].1.config)).collect()
    }

    /// Whether there is a crypt device of this name.
    pub fn is_crypt(&self, dir: &str, name: &str) -> bool {
        let mut devices = self.table.iter().map(|(_, _, entry)| &entry.config);
        let named = |config: &Config| config.dir == dir && config.name == name;
        devices.any(|config| named(config) && matches!(config.kind, Kind::Crypt { .. }))
    }

    /// The crypt devices whose key is not known, by directory and name.
    pub fn without_key(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.table.iter().map(|(_, _, entry)| entry);
        let lacks_key = |entry: &&Rc<Entry>| {
            matches!(entry.config.kind, Kind::Crypt { .. }) && entry.device.cipher.is_none()
        };
        all.filter(lacks_key).map(|entry| (&entry.config.dir[..], &entry.config.name[..]))
    }

    /// Carries out one message to ctl. If it is pending, its end comes by
    /// [`next_finished`](Control::next_finished).
    pub fn write(
        &mut self,
        finder: &mut impl Finder,
        message: &[u8],
        owner: O,
    ) -> Poll<Result<(), Ename>> {
        self.submit(finder, message, owner, Source::Client)
    }

    /// Carries out one line of a saved configuration, as [`write`](Control::write) does. A `crypt` that
    /// gives no key takes its own from `keys`.
    pub fn restore(
        &mut self,
        finder: &mut impl Finder,
        message: &[u8],
        keys: &Rc<Keys>,
        owner: O,
    ) -> Poll<Result<(), Ename>> {
        self.submit(finder, message, owner, Source::Saved(keys.clone()))
    }

    fn submit(
        &mut self,
        finder: &mut impl Finder,
        message: &[u8],
        owner: O,
        source: Source,
    ) -> Poll<Result<(), Ename>> {
        if self.running.is_none() {
            return self.carry_out(finder, message, owner, &source);
        }
        if self.queue.len() >= limits::MESSAGES {
            return Poll::Ready(Err(enames::ECTLBUSY.into()));
        }
        self.queue.push_back((owner, source, message.to_vec().into()));
        Poll::Pending
    }

    /// The next message that was pending and is over.
    pub fn next_finished(&mut self) -> Option<(O, Result<(), Ename>)> {
        self.finished.pop_front()
    }

    fn carry_out(
        &mut self,
        finder: &mut impl Finder,
        message: &[u8],
        owner: O,
        source: &Source,
    ) -> Poll<Result<(), Ename>> {
        let parsed = match source {
            Source::Client => parse(self.dialect, message, self, &self.disk),
            Source::Saved(keys) => parse_saved(self.dialect, message, self, &self.disk, keys),
        };
        match parsed {
            Err(ename) => return Poll::Ready(Err(ename.into())),
            Ok(Command::Nothing) => {}
            Ok(Command::Disk(disk)) => self.disk = disk,
            Ok(Command::Clear) => {
                self.delete(&Pattern { dir: None, name: None });
                return self.save(finder, owner, source.clone(), None);
            }
            Ok(Command::Delete(pattern)) => {
                self.delete(&pattern);
                return self.save(finder, owner, source.clone(), None);
            }
            Ok(Command::Configure(config)) => {
                let finding = Finding { config, found: Vec::new(), resolver: None };
                self.begin(owner, source.clone(), Stage::Finding(Box::new(finding)));
                return self.advance(finder);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn begin(&mut self, owner: O, source: Source, stage: Stage) -> JobId {
        self.jobs += 1;
        let job = JobId(self.jobs);
        self.running = Some(Running { owner, job, source, stage });
        job
    }

    /// The devices have changed, or will by this new one: that is saved before it is answered.
    fn save(
        &mut self,
        finder: &mut impl Finder,
        owner: O,
        source: Source,
        entry: Option<Rc<Entry>>,
    ) -> Poll<Result<(), Ename>> {
        let mut text = matches!(source, Source::Client).then(|| self.text());
        let mut mirror = None;
        if let Some(entry) = &entry {
            let Config { dir, name, .. } = &entry.config;
            let line = line(self.dialect, &entry.config);
            let key = Key::new(self.rules().name, dir, name, &line);
            mirror = entry.device.is_mirror().then_some((&entry.device, key));
            if text.is_some() {
                let slot = self.table.insert(dir, name, entry.clone());
                text = Some(self.text());
                self.table.remove(slot);
            }
        }
        let job = self.begin(owner, source, Stage::Saving(entry.clone()));
        match finder.save(job, text, mirror) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => {
                self.running = None;
                Poll::Ready(result.map(|()| self.install(entry)))
            }
        }
    }

    fn install(&mut self, entry: Option<Rc<Entry>>) {
        if let Some(entry) = entry {
            let (dir, name) = (entry.config.dir.clone(), entry.config.name.clone());
            if let Some(mut mirror) = entry.device.mirror() {
                mirror.watch(self.stirred.clone());
            }
            self.table.insert(&dir, &name, entry);
            self.version += 1;
        }
    }

    /// What came of a saving that was pending.
    pub fn saved(&mut self, finder: &mut impl Finder, job: JobId, result: Result<(), Ename>) {
        let is_it = |running: &mut Running<O>| running.job == job;
        let Some(Running { owner, stage: Stage::Saving(entry), .. }) = self.running.take_if(is_it)
        else {
            return;
        };
        let result = result.map(|()| self.install(entry));
        self.finished.push_back((owner, result));
        self.begin_queued(finder);
    }

    /// Set when a mirror has something to be looked after.
    pub fn stirred(&self) -> &Rc<Cell<bool>> {
        &self.stirred
    }

    fn delete(&mut self, pattern: &Pattern) {
        for (_, _, entry) in self.table.iter() {
            if pattern.matches(&entry.config.dir, &entry.config.name) {
                entry.device.delete();
            }
        }
        self.remove_deleted();
    }

    /// Takes out the deleted devices that nobody has open and that no other device is made of. The
    /// others stay listed until then.
    fn remove_deleted(&mut self) {
        loop {
            let entries = || self.table.iter().map(|(slot, _, entry)| (slot, entry));
            let in_use: HashSet<*const Device> =
                entries().flat_map(|(_, entry)| entry.below()).map(Rc::as_ptr).collect();
            let is_over = |entry: &Entry| {
                entry.device.is_gone()
                    && entry.opens.get() == 0
                    && !in_use.contains(&Rc::as_ptr(&entry.device))
            };
            let over: Vec<Slot> =
                entries().filter(|(_, entry)| is_over(entry)).map(|(slot, _)| slot).collect();
            if over.is_empty() {
                return;
            }
            for slot in over {
                self.table.remove(slot);
                self.version += 1;
            }
        }
    }

    /// A fid that was open on a device is gone.
    pub fn closed(&mut self, entry: &Entry) {
        entry.opens.set(entry.opens.get().saturating_sub(1));
        if entry.opens.get() == 0 && entry.device.is_gone() {
            self.remove_deleted();
        }
    }

    /// A fid that was open on ctl is gone: what `disk` had set goes with it (fs(3)).
    pub fn ctl_closed(&mut self) {
        self.disk = DiskDefaults::default();
    }

    /// What came of a walk that was pending.
    pub fn walked(&mut self, finder: &mut impl Finder, job: JobId, walked: Walked) {
        let Some(finding) = self.finding(job) else { return };
        if let Some(resolver) = &mut finding.resolver {
            resolver.walked(walked);
        }
        self.go_on(finder);
    }

    /// What came of an opening that was pending.
    pub fn opened(&mut self, finder: &mut impl Finder, job: JobId, opened: Result<File, Failure>) {
        let rules = self.rules();
        let Some(finding) = self.finding(job) else { return };
        match opened {
            Ok(file) => finding.take(Inner::File(file)),
            Err(failure) => {
                let ename = finding.name_error(failure, rules);
                return self.end(finder, Err(ename));
            }
        }
        self.go_on(finder);
    }

    fn finding(&mut self, job: JobId) -> Option<&mut Finding> {
        match &mut self.running {
            Some(Running { job: other, stage: Stage::Finding(finding), .. }) if *other == job => {
                Some(finding)
            }
            _ => None,
        }
    }

    fn go_on(&mut self, finder: &mut impl Finder) {
        if let Some(Running { owner, .. }) = self.running
            && let Poll::Ready(result) = self.advance(finder)
        {
            self.finished.push_back((owner, result));
            self.begin_queued(finder);
        }
    }

    fn end(&mut self, finder: &mut impl Finder, result: Result<(), Ename>) {
        if let Some(running) = self.running.take() {
            self.finished.push_back((running.owner, result));
        }
        self.begin_queued(finder);
    }

    fn begin_queued(&mut self, finder: &mut impl Finder) {
        while self.running.is_none() {
            let Some((owner, source, message)) = self.queue.pop_front() else { return };
            if let Poll::Ready(result) = self.carry_out(finder, &message, owner, &source) {
                self.finished.push_back((owner, result));
            }
        }
    }

    /// Finds inner files until one is pending, or all are there and the device is made.
    fn advance(&mut self, finder: &mut impl Finder) -> Poll<Result<(), Ename>> {
        let Some(Running { owner, job, source, stage: Stage::Finding(mut finding) }) =
            self.running.take()
        else {
            return Poll::Pending;
        };
        loop {
            let Some(name) = finding.config.inner.get(finding.found.len()) else {
                let Finding { config, found, .. } = *finding;
                return match self.make(config, found) {
                    Ok(entry) => self.save(finder, owner, source, Some(entry)),
                    Err(ename) => Poll::Ready(Err(ename)),
                };
            };
            let resolver = finding.resolver.get_or_insert_with(|| Resolver::new(&self.names, name));
            let failure = match resolver.next() {
                Step::Failed(error) => return Poll::Ready(Err(name_text(&error, self.rules()))),
                Step::Walk { target, names } => {
                    let walked = match target.tree {
                        Tree::Kernel => {
                            let own = (finding.config.dir.as_str(), finding.config.name.as_str());
                            Poll::Ready(self.walk_kernel(&target.path, &names, own))
                        }
                        _ => finder.walk(job, &target, &names),
                    };
                    let Poll::Ready(walked) = walked else { break };
                    resolver.walked(walked);
                    continue;
                }
                Step::Found(target) if target.tree == Tree::Kernel => {
                    match self.open_kernel(&target.path) {
                        Ok(inner) => {
                            finding.take(inner);
                            continue;
                        }
                        Err(failure) => failure,
                    }
                }
                Step::Found(target) => match finder.open(job, &target) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(file)) => {
                        finding.take(Inner::File(file));
                        continue;
                    }
                    Poll::Ready(Err(failure)) => failure,
                },
            };
            return Poll::Ready(Err(finding.name_error(failure, self.rules())));
        }
        self.running = Some(Running { owner, job, source, stage: Stage::Finding(finding) });
        Poll::Pending
    }

    /// How far `names` go in the tree of our own devices, from the directory at `path`. The device
    /// that is being made, `own`, is found, so that what is told is that it can't be opened (D15).
    fn walk_kernel(&self, path: &[String], names: &[String], own: (&str, &str)) -> Walked {
        let all: Vec<&str> = path.iter().chain(names).map(String::as_str).collect();
        let (depth, directory): (usize, bool) = match all[..] {
            [] => (0, true),
            [dir, ..] if self.table.dir(dir).is_none() && dir != own.0 => (0, true),
            [_] => (1, true),
            [dir, name, ..] if self.is_file(dir, name) || (dir, name) == own => (2, false),
            [..] => (1, true),
        };
        Walked::Reached { found: depth.saturating_sub(path.len()), directory }
    }

    fn is_file(&self, dir: &str, name: &str) -> bool {
        self.rules().is_ctl(dir, name) || self.is_taken(dir, name)
    }

    fn open_kernel(&self, path: &[String]) -> Result<Inner, Failure> {
        let [dir, name] = path else { return Err(Failure::Permission) };
        if self.rules().is_ctl(dir, name) {
            return Ok(Inner::Ctl);
        }
        let slot = self.table.dir(dir).and_then(|dir| self.table.find(dir, name));
        match slot.and_then(|slot| self.table.get(slot)) {
            None => Err(Failure::NotFound),
            Some((_, entry)) if entry.device.is_gone() => {
                Err(Failure::Open(self.rules().transfers.gone.to_string()))
            }
            Some((_, entry)) => Ok(Inner::Device(entry.device.clone())),
        }
    }

    /// Makes the device: the checks that come when its inner files are open, then its lengths.
    fn make(&self, mut config: Config, inner: Vec<Inner>) -> Result<Rc<Entry>, Ename> {
        let rules = self.rules();
        if rules.taken == TakenCheck::AfterOpening && self.is_file(&config.dir, &config.name) {
            return Err(enames::EEXIST.into());
        }
        if self.table.dir(&config.dir).is_none() && self.table.dirs().count() >= rules.max_dirs {
            return Err(enames::ENOTREES.into());
        }
        let lengths: Vec<u64> = inner.iter().map(Inner::length).collect();
        let only = lengths.first().copied().unwrap_or(0);
        let mut cipher = None;
        let geometry = match &mut config.kind {
            Kind::Mirror => Geometry::mirror(&lengths),
            Kind::Cat => Geometry::cat(&lengths),
            Kind::Inter if rules.inter_length == InterLength::Sum => Geometry::inter(&lengths),
            Kind::Inter => Geometry::inter_even(&lengths),
            Kind::Part { start, .. } if rules.past_end == PastEnd::Refused && *start > only => {
                return Err(enames::EPARTSTART.into());
            }
            Kind::Part { start, length } => {
                let geometry = Geometry::part(only, *start, *length);
                (*start, *length) = ((*start).min(only), geometry.length());
                geometry
            }
            Kind::Crypt { key } => {
                // The key goes into the cipher and nowhere else.
                cipher = key.take().and_then(|key| Cipher::new(key.tweak(), key.data()));
                Geometry::crypt(only).ok_or(enames::ECRYPTSTART)?
            }
        };
        let device = Device::new(geometry, inner, &rules.transfers).with_cipher(cipher);
        if device.leaves() > limits::LEAVES || device.depth() > limits::DEPTH {
            return Err(enames::EDEEP.into());
        }
        let device = Rc::new(device);
        Ok(Rc::new(Entry { config, device, opens: Cell::new(0), mtime: Cell::new(0) }))
    }
}

impl Finding {
    fn take(&mut self, inner: Inner) {
        self.found.push(inner);
        self.resolver = None;
    }

    fn name_error(&self, failure: Failure, rules: &Rules) -> Ename {
        let name = self.config.inner.get(self.found.len()).map_or("", String::as_str);
        name_text(&NameError::new(name, failure), rules)
    }
}

fn name_text(error: &NameError, rules: &Rules) -> Ename {
    match rules.open_error {
        OpenError::NameFirst => error.devds().into(),
        OpenError::NameLast => error.plan9().into(),
    }
}

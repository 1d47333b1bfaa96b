//! The configured devices, and the control messages under way that change them.
//!
//! A message is carried out from beginning to end before the next one begins. Finding its inner
//! files may take a while (they may be on other machines), so it is a small state machine that
//! asks a [`Finder`] and goes on when that has answered. Nothing of a refused message stays.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::task::Poll;

use styx::enames;
use styx::server::Ename;
use zeroize::Zeroizing;

use super::find::{Finder, Finding, SaveLog, name_text};
use super::replace::Replacement;
use super::{
    Command, Config, Devices, Dialect, DiskDefaults, Keys, Kind, Pattern, Rules, line, parse,
    parse_saved,
};
use crate::device::{Slot, Table};
use crate::inner::remote::JobId;
use crate::inner::{Device, File, Inner};
use crate::integrity::state::Key;
use crate::limits;
use crate::namespace::{self, Failure, Resolver, Step, Tree, Walked};
use crate::observe::Counts;

/// A configured device, as the tree shows it.
#[derive(Debug)]
pub struct Entry {
    pub(super) config: RefCell<Config>,
    /// What carries out its transfers.
    pub device: Rc<Device>,
    /// Fids that are open on it.
    pub opens: Cell<usize>,
    /// Its last write, in seconds since 1970; 0 before.
    pub mtime: Cell<u32>,
    /// How many losses of what was written to it clients have been told of.
    pub told: Cell<u32>,
    /// What clients have done with it.
    pub counts: Rc<Counts>,
}

impl Entry {
    /// How it is configured.
    pub fn config(&self) -> Ref<'_, Config> {
        self.config.borrow()
    }

    /// It is configured so from now on; what it was before.
    pub(super) fn configure(&self, config: Config) -> Config {
        self.config.replace(config)
    }

    /// The devices that it is made of.
    pub(super) fn below(&self) -> Vec<Rc<Device>> {
        let device = |inner: &Inner| match inner {
            Inner::Device(device) => Some(device.clone()),
            Inner::File(_) | Inner::Ctl | Inner::Absent(_) => None,
        };
        self.device.inner().iter().filter_map(device).collect()
    }
}

/// A message that is being carried out: whose it is, and what its next answer is for.
#[derive(Debug)]
struct Running<O, T> {
    owner: O,
    job: JobId,
    what: T,
}

/// What is done when it is saved.
#[derive(Debug)]
pub(super) enum Change {
    /// Nothing: it has been done.
    None,
    /// This device is there.
    Add(Rc<Entry>),
    /// A leg becomes this.
    Replace(Replacement, Inner),
}

/// Where a message came from.
#[derive(Clone, Debug)]
enum Source {
    Client,
    /// A saved configuration, whose keys are these; if it was kept, its mirrors have logs.
    Saved(Rc<Keys>, bool),
}

/// What waits for its turn.
#[derive(Debug)]
enum Message {
    /// A control message, which may have a key in it.
    Text(Source, Zeroizing<Vec<u8>>),
    Replace(Replacement),
}

/// The devices and their ctl file. `O` is who wrote a message.
#[derive(Debug)]
pub struct Control<O> {
    dialect: Dialect,
    table: Table<Rc<Entry>>,
    disk: DiskDefaults,
    names: Rc<namespace::Table>,
    /// The message of which the inner files are being found, or else the one that is being saved.
    finding: Option<Running<O, (Source, Finding)>>,
    saving: Option<Running<O, Change>>,
    queue: VecDeque<(O, Message)>,
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
            .any(|(_, _, entry)| pattern.matches(&entry.config().dir, &entry.config().name))
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
            finding: None,
            saving: None,
            queue: VecDeque::new(),
            finished: VecDeque::new(),
            jobs: 0,
            version: 0,
            shown: RefCell::new((0, "".into())),
            stirred: Rc::default(),
        }
    }

    /// From the next message on, inner files are looked up in `names`.
    pub fn set_names(&mut self, names: Rc<namespace::Table>) {
        self.names = names;
    }

    /// The dialect's rules.
    pub fn rules(&self) -> &'static Rules {
        self.dialect.rules()
    }

    /// The devices.
    pub fn table(&self) -> &Table<Rc<Entry>> {
        &self.table
    }

    /// The dialect.
    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Grows with every change of the devices there are.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// There are other devices, or a device is made of something else.
    pub(super) fn changed(&mut self) {
        self.version += 1;
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

    /// Whether there is a crypt device of this name.
    pub fn is_crypt(&self, dir: &str, name: &str) -> bool {
        let mut devices = self.table.iter().map(|(_, _, entry)| entry.config());
        let named = |config: &Config| config.dir == dir && config.name == name;
        devices.any(|config| named(&config) && matches!(config.kind, Kind::Crypt { .. }))
    }

    /// The crypt devices whose key is not known, by directory and name.
    pub fn without_key(&self) -> impl Iterator<Item = (String, String)> {
        let all = self.table.iter().map(|(_, _, entry)| entry);
        let lacks_key = |entry: &&Rc<Entry>| {
            matches!(entry.config().kind, Kind::Crypt { .. }) && entry.device.cipher.is_none()
        };
        all.filter(lacks_key).map(|entry| (entry.config().dir.clone(), entry.config().name.clone()))
    }

    /// Carries out one message to ctl. If it is pending, its end comes by
    /// [`next_finished`](Control::next_finished).
    pub fn write(
        &mut self,
        finder: &mut impl Finder,
        message: &[u8],
        owner: O,
    ) -> Poll<Result<(), Ename>> {
        self.submit(finder, Message::Text(Source::Client, message.to_vec().into()), owner)
    }

    /// Carries out one line of a saved configuration, as [`write`](Control::write) does. A `crypt` that
    /// gives no key takes its own from `keys`. If the configuration was `kept` in the state
    /// directory, a mirror may lack legs, as long as one is there that was in service.
    pub fn restore(
        &mut self,
        finder: &mut impl Finder,
        message: &[u8],
        (keys, kept): (&Rc<Keys>, bool),
        owner: O,
    ) -> Poll<Result<(), Ename>> {
        let source = Source::Saved(keys.clone(), kept);
        self.submit(finder, Message::Text(source, message.to_vec().into()), owner)
    }

    /// Makes another file of a mirror's leg, as [`write`](Control::write) carries out a message.
    pub fn replace(
        &mut self,
        finder: &mut impl Finder,
        replacement: Replacement,
        owner: O,
    ) -> Poll<Result<(), Ename>> {
        self.submit(finder, Message::Replace(replacement), owner)
    }

    fn submit(
        &mut self,
        finder: &mut impl Finder,
        message: Message,
        owner: O,
    ) -> Poll<Result<(), Ename>> {
        if !self.is_busy() {
            return self.carry_out(finder, message, owner);
        }
        if self.queue.len() >= limits::MESSAGES {
            return Poll::Ready(Err(enames::ECTLBUSY.into()));
        }
        self.queue.push_back((owner, message));
        Poll::Pending
    }

    fn is_busy(&self) -> bool {
        self.finding.is_some() || self.saving.is_some()
    }

    /// The next message that was pending and is over.
    pub fn next_finished(&mut self) -> Option<(O, Result<(), Ename>)> {
        self.finished.pop_front()
    }

    /// Whether there is one.
    pub fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    fn carry_out(
        &mut self,
        finder: &mut impl Finder,
        message: Message,
        owner: O,
    ) -> Poll<Result<(), Ename>> {
        let (source, text) = match message {
            Message::Text(source, text) => (source, text),
            Message::Replace(replacement) => {
                let config = replacement.wanted()?;
                return self.find(finder, owner, Source::Client, config, Some(replacement));
            }
        };
        let parsed = match &source {
            Source::Client => parse(self.dialect, &text, self, &self.disk),
            Source::Saved(keys, _) => parse_saved(self.dialect, &text, self, &self.disk, keys),
        };
        match parsed {
            Err(ename) => return Poll::Ready(Err(ename.into())),
            Ok(Command::Nothing) => {}
            Ok(Command::Disk(disk)) => self.disk = disk,
            Ok(Command::Clear) => {
                self.delete(&Pattern { dir: None, name: None });
                return self.save(finder, owner, source, Change::None);
            }
            Ok(Command::Delete(pattern)) => {
                self.delete(&pattern);
                return self.save(finder, owner, source, Change::None);
            }
            Ok(Command::Configure(config)) => {
                return self.find(finder, owner, source, config, None);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Begins to find the inner files of a configuration.
    fn find(
        &mut self,
        finder: &mut impl Finder,
        owner: O,
        source: Source,
        config: Config,
        replaces: Option<Replacement>,
    ) -> Poll<Result<(), Ename>> {
        let may_lack = config.kind == Kind::Mirror && matches!(source, Source::Saved(_, true));
        let found = Vec::new();
        let names = self.names.clone();
        let finding = Finding { names, config, found, resolver: None, replaces, may_lack };
        self.jobs += 1;
        self.advance(finder, Running { owner, job: JobId(self.jobs), what: (source, finding) })
    }

    /// The devices have changed, or will by this: that is saved before it is answered.
    fn save(
        &mut self,
        finder: &mut impl Finder,
        owner: O,
        source: Source,
        change: Change,
    ) -> Poll<Result<(), Ename>> {
        let is_new = matches!(source, Source::Client);
        let (text, log) = match &change {
            Change::None => (is_new.then(|| self.kept_text()), None),
            Change::Add(entry) => {
                let (dir, name) = (entry.config().dir.clone(), entry.config().name.clone());
                let text = is_new.then(|| {
                    let slot = self.table.insert(&dir, &name, entry.clone());
                    let text = self.kept_text();
                    self.table.remove(slot);
                    text
                });
                let key = self.key(&entry.config());
                (text, entry.device.is_mirror().then_some(SaveLog::New(&entry.device, key)))
            }
            Change::Replace(replacement, inner) => {
                let (text, keys) = self.after(replacement, inner);
                let (mirror, leg) = (&replacement.entry.device, replacement.leg);
                (Some(text), Some(SaveLog::Replace { mirror, leg, keys }))
            }
        };
        self.jobs += 1;
        let job = JobId(self.jobs);
        match finder.save(job, text, log) {
            Poll::Pending => {
                self.saving = Some(Running { owner, job, what: change });
                Poll::Pending
            }
            Poll::Ready(result) => Poll::Ready(self.install(change, result)),
        }
    }

    /// What names the log of a mirror that is configured so.
    pub(super) fn key(&self, config: &Config) -> Key {
        Key::new(self.rules().name, &config.dir, &config.name, &line(self.dialect, config))
    }

    /// What was to be saved is, or is not.
    fn install(&mut self, change: Change, saved: Result<(), Ename>) -> Result<(), Ename> {
        match change {
            Change::None => {}
            Change::Add(entry) => {
                saved.clone()?;
                let (dir, name) = (entry.config().dir.clone(), entry.config().name.clone());
                if let Some(mut mirror) = entry.device.mirror() {
                    mirror.watch(self.stirred.clone());
                }
                self.table.insert(&dir, &name, entry);
                self.version += 1;
            }
            Change::Replace(replacement, inner) => {
                self.end_replace(&replacement, inner, saved.is_ok());
            }
        }
        saved
    }

    /// What came of a saving that was pending.
    pub fn saved(&mut self, finder: &mut impl Finder, job: JobId, result: Result<(), Ename>) {
        let Some(saved) = self.saving.take_if(|saving| saving.job == job) else { return };
        let result = self.install(saved.what, result);
        self.end(finder, saved.owner, result);
    }

    /// Set when a mirror has something to be looked after.
    pub fn stirred(&self) -> &Rc<Cell<bool>> {
        &self.stirred
    }

    fn delete(&mut self, pattern: &Pattern) {
        for (_, _, entry) in self.table.iter() {
            if pattern.matches(&entry.config().dir, &entry.config().name) {
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
                entries().flat_map(|(_, entry)| entry.below()).map(|d| Rc::as_ptr(&d)).collect();
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
        let Some(mut message) = self.finding.take_if(|finding| finding.job == job) else { return };
        if let Some(resolver) = &mut message.what.1.resolver {
            resolver.walked(walked);
        }
        self.go_on(finder, message);
    }

    /// What came of an opening that was pending.
    pub fn opened(&mut self, finder: &mut impl Finder, job: JobId, opened: Result<File, Failure>) {
        let Some(mut message) = self.finding.take_if(|finding| finding.job == job) else { return };
        let finding = &mut message.what.1;
        let taken = match opened {
            Ok(file) => {
                finding.take(Inner::File(file));
                Ok(())
            }
            Err(failure) => finding.lack(finding.name_error(failure, self.rules())),
        };
        match taken {
            Ok(()) => self.go_on(finder, message),
            Err(ename) => self.end(finder, message.owner, Err(ename)),
        }
    }

    fn go_on(&mut self, finder: &mut impl Finder, message: Running<O, (Source, Finding)>) {
        let owner = message.owner;
        if let Poll::Ready(result) = self.advance(finder, message) {
            self.end(finder, owner, result);
        }
    }

    fn end(&mut self, finder: &mut impl Finder, owner: O, result: Result<(), Ename>) {
        self.finished.push_back((owner, result));
        self.begin_queued(finder);
    }

    fn begin_queued(&mut self, finder: &mut impl Finder) {
        while !self.is_busy() {
            let Some((owner, message)) = self.queue.pop_front() else { return };
            if let Poll::Ready(result) = self.carry_out(finder, message, owner) {
                self.finished.push_back((owner, result));
            }
        }
    }

    /// Finds inner files until one is pending, or all are there and the device is made.
    fn advance(
        &mut self,
        finder: &mut impl Finder,
        message: Running<O, (Source, Finding)>,
    ) -> Poll<Result<(), Ename>> {
        let Running { owner, job, what: (source, mut finding) } = message;
        loop {
            let Some(name) = finding.config.inner.get(finding.found.len()) else {
                return match self.found(finder, finding)? {
                    None => Poll::Ready(Ok(())),
                    Some(change) => self.save(finder, owner, source, change),
                };
            };
            let resolver =
                finding.resolver.get_or_insert_with(|| Resolver::new(&finding.names, name));
            let failure = match resolver.next() {
                Step::Failed(error) => {
                    finding.lack(name_text(&error, self.rules()))?;
                    continue;
                }
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
            finding.lack(finding.name_error(failure, self.rules()))?;
        }
        self.finding = Some(Running { owner, job, what: (source, finding) });
        Poll::Pending
    }
}

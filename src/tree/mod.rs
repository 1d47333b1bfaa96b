//! What a client walks: the trees that an attach name chooses from, and what each request does
//! there.
//!
//! `""` and the devices' own directory name (`ds`, in dialect plan9 `fs`) are the one-level tree of
//! lab 15: `ctl`, and a file for each device. `#k` is the kernel device's own tree, with that
//! directory in it. `#U` is the root directory itself, where it is exported (`host`). `admin` is for who looks after the mirrors (`admin`).

mod admin;
mod batch;
mod devices;
mod host;
mod journal;
mod losses;
mod serve;
mod upkeep;

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use styx::Qid;
use styx::server::{DirEntries, Ename, Opened, RequestId};

use crate::ctl::{Control, Dialect, Entry, Finder};
use crate::inner::host_fs::{JobId, Keeper, Told};
use crate::inner::{Carrier, File as InnerFile, Inner, remote};
use crate::namespace;
use crate::observe;
use crate::transfer::{Direction, Done, Finished, Transfers};

pub use batch::{Batch, CarriedOut};
pub use journal::date;
pub use serve::Visit;
pub use upkeep::{Chore, Upkeep};

/// Names a client, as long as it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(pub usize);

/// Whose a request is: a client's, or our own while a saved configuration is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A request of a client.
    Client(ClientId, RequestId),
    /// The line with this number of a saved configuration.
    Saved(usize),
    /// The upkeep of mirrors.
    Upkeep(Chore),
}

/// Which tree of devices a fid was attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// The one-level tree of lab 15.
    Flat,
    /// The tree of the kernel's device.
    Kernel,
}

/// What a fid stands for.
#[derive(Clone, Debug)]
pub struct File {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Device(View, devices::Node),
    Host(host::File),
    Admin(admin::Node),
}

/// What the command line says of the trees.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which dialect is spoken.
    pub dialect: Dialect,
    /// Owner and group of every file.
    pub owner: String,
    /// Refuse everything that would change something.
    pub read_only: bool,
    /// Serve the root directory as `#U`.
    pub export: bool,
}

/// An answer to a request that had been left pending.
#[derive(Debug)]
pub struct Answered {
    /// The client.
    pub client: ClientId,
    /// Its request.
    pub request: RequestId,
    /// What is answered.
    pub answer: Result<Payload, Ename>,
}

/// The contents of an answer.
#[derive(Debug)]
pub enum Payload {
    /// To a read.
    Data(Vec<u8>),
    /// To a write: how many bytes were taken.
    Count(u32),
    /// To a wstat, a remove or a clunk.
    Done,
    /// To an attach or a step of a walk.
    File(File),
    /// To an open or a create.
    Opened(Opened<File>),
    /// To a read of a directory.
    Entries(DirEntries),
    /// To a stat.
    Stat(Vec<u8>),
}

/// A read or write of a device that was left pending.
#[derive(Debug)]
struct Waiting {
    counts: Rc<observe::Counts>,
    write: bool,
    /// The turn in which it came.
    since: Option<Instant>,
}

/// Everything that clients share.
#[derive(Debug)]
pub struct World {
    settings: Settings,
    names: Rc<namespace::Table>,
    /// The devices and their ctl.
    pub control: Control<(Owner, u32)>,
    /// Reads, writes and syncs under way.
    pub transfers: Transfers<Owner>,
    /// Reads that have been answered, and are to be carried out.
    pub batch: Batch,
    upkeep: Upkeep,
    admin: admin::Admin,
    /// What is to be said when those messages to it are over that could not end at once.
    admin_waits: Vec<(Owner, admin::Said)>,
    export: host::Export,
    /// What is counted of all that.
    pub observed: observe::Server,
    /// Reads and writes of devices that were left pending.
    waiting: HashMap<(ClientId, RequestId), Waiting>,
    /// Syncs of devices that were left pending, and what their clients were told of losses.
    syncing: HashMap<(ClientId, RequestId), losses::Told>,
    /// When the turn of the loop began.
    turn: Option<Instant>,
    /// Seconds since 1970.
    now: u32,
    /// When the directory changed last, in seconds since 1970.
    changed: (u32, u32),
}

impl World {
    /// No devices yet. Inner files are looked up in `names`; `now` is in seconds since 1970.
    pub fn new(settings: Settings, names: Rc<namespace::Table>, now: u32) -> Self {
        let control = Control::new(settings.dialect, names.clone());
        let transfers = Transfers::default();
        let export = host::Export::new(settings.read_only);
        World {
            settings,
            names,
            control,
            transfers,
            batch: Batch::default(),
            upkeep: Upkeep::default(),
            admin: admin::Admin::default(),
            admin_waits: Vec::new(),
            export,
            observed: observe::Server::new(now),
            waiting: HashMap::new(),
            syncing: HashMap::new(),
            turn: None,
            now,
            changed: (0, now),
        }
    }

    /// No devices again, as at the start.
    pub fn forget_devices(&mut self) {
        self.control = Control::new(self.settings.dialect, self.names.clone());
    }

    /// Whom the files belong to.
    pub fn owner(&self) -> &str {
        &self.settings.owner
    }

    /// The name space that inner files are looked up in.
    pub fn names(&self) -> &namespace::Table {
        &self.names
    }

    /// From the next control message on, inner files are looked up in `names`; devices that there
    /// are keep theirs.
    pub fn set_names(&mut self, names: Rc<namespace::Table>) {
        self.control.set_names(names.clone());
        self.names = names;
    }

    /// The time, in seconds since 1970.
    pub fn time(&self) -> u32 {
        self.now
    }

    /// The time is this now, in seconds since 1970.
    pub fn set_time(&mut self, now: u32) {
        self.now = now;
        if self.changed.0 != self.control.version() {
            self.changed = (self.control.version(), now);
        }
    }

    /// The next transfer that had been left pending and is over, but for those of the upkeep.
    pub fn next_finished(&mut self) -> Option<Finished<Owner>> {
        while let Some(finished) = self.transfers.next_finished() {
            let Owner::Upkeep(chore) = finished.owner else { return Some(finished) };
            self.upkeep.ended(chore, finished.result, finished.copied);
        }
        None
    }

    /// Whether a request may be over that had been left pending.
    pub fn has_answers(&self) -> bool {
        self.transfers.has_finished()
            || self.control.has_finished()
            || self.upkeep.journal.is_awaited()
            || self.export.has_answers()
    }

    /// The next request that had been left pending and is over. Lines of a saved configuration
    /// are given to `saved`.
    pub fn next_answer(
        &mut self,
        saved: &mut dyn FnMut(usize, Result<(), Ename>),
    ) -> Option<Answered> {
        while let Some(finished) = self.next_finished() {
            let Finished { owner, direction, result, data, .. } = finished;
            if let Owner::Client(client, request) = owner {
                self.waited((client, request), result.as_ref().ok().copied());
                let result = match self.syncing.remove(&(client, request)) {
                    Some(told) => told.answer(result),
                    None => result,
                };
                let answer = result.map(|count| match direction {
                    Direction::Read => Payload::Data(data),
                    Direction::Write => Payload::Count(count as u32),
                    Direction::Sync => Payload::Done,
                });
                return Some(Answered { client, request, answer });
            }
        }
        while let Some(((owner, count), result)) = self.control.next_finished() {
            let waits = self.admin_waits.iter().position(|(other, _)| *other == owner);
            if let Some((_, said)) = waits.map(|at| self.admin_waits.swap_remove(at))
                && result.is_ok()
            {
                admin::tell(self, said);
            }
            match owner {
                Owner::Client(client, request) => {
                    let answer = result.map(|()| Payload::Count(count));
                    return Some(Answered { client, request, answer });
                }
                Owner::Saved(line) => saved(line, result),
                Owner::Upkeep(_) => {}
            }
        }
        while let Some((owner, text)) = self.upkeep.journal.next() {
            if let Owner::Client(client, request) = owner {
                return Some(Answered { client, request, answer: Ok(Payload::Data(text)) });
            }
        }
        self.export.next_answer()
    }

    /// A read or write of a client is over that had been left pending: how many bytes it moved, or
    /// `None` if it failed.
    fn waited(&mut self, who: (ClientId, RequestId), result: Option<usize>) {
        if let Some(Waiting { counts, write, since }) = self.waiting.remove(&who) {
            let took = self.turn.zip(since).map(|(now, since)| now.duration_since(since));
            counts.ended_late(write, result, took.unwrap_or_default().as_nanos() as u64);
        }
    }

    /// A client, or with `None` every one, will ask for nothing more: the next of its reads that
    /// wait for something to happen ends, with nothing.
    pub fn next_released(&mut self, client: Option<ClientId>) -> Option<Answered> {
        let theirs = |owner: Owner| match owner {
            Owner::Client(other, _) => client.is_none_or(|client| client == other),
            Owner::Saved(_) | Owner::Upkeep(_) => false,
        };
        match self.upkeep.journal.next_of(theirs) {
            Some(Owner::Client(client, request)) => {
                Some(Answered { client, request, answer: Ok(Payload::Data(Vec::new())) })
            }
            _ => None,
        }
    }

    /// What came of something that was asked of another server.
    pub fn mount_did(&mut self, host: &mut (impl Carrier + Finder), done: remote::Done) {
        let World { transfers, control, .. } = self;
        match done {
            remote::Done::Read(op, result) => {
                let result = result.as_deref().map(Done::Read).map_err(Ename::clone);
                transfers.complete(host, op, result);
            }
            remote::Done::Wrote(op, result) => {
                transfers.complete(host, op, result.map(Done::Wrote));
            }
            remote::Done::Synced(op, result) => {
                transfers.complete(host, op, result.map(|()| Done::Synced));
            }
            remote::Done::Walked(job, walked) => control.walked(host, job, walked),
            remote::Done::Opened(job, opened) => {
                control.opened(host, job, opened.map(InnerFile::Remote));
            }
        }
    }

    /// What the host says to something that a [`Keeper`] was asked.
    pub fn host_told(&mut self, keeper: &mut impl Keeper, job: JobId, told: Result<Told, Ename>) {
        self.export.told(keeper, job, told);
    }

    /// Whether the host has done all that it was asked.
    pub fn host_is_idle(&self) -> bool {
        self.export.is_idle()
    }

    /// The server is about to end: files of the host that are closed from now on are put on stable
    /// storage first.
    pub fn end(&mut self) {
        self.export.end();
    }

    /// Gives back what an answer holds that nobody is there for any more.
    pub fn discard<H: Keeper>(&mut self, host: &mut H, answer: Payload) {
        if let Payload::Opened(Opened { file: File { kind: Kind::Host(file) }, .. }) = answer {
            // Nobody waits for a removal either.
            let _ = self.export.close(host, None, file);
        }
    }

    /// All that is counted, as OpenMetrics text.
    pub fn metrics(&self) -> String {
        admin::metrics(self)
    }

    fn qid(&self, file: &File) -> Qid {
        match &file.kind {
            Kind::Device(_, node) => devices::qid(self, node),
            Kind::Host(file) => file.qid,
            Kind::Admin(node) => admin::qid(self, *node),
        }
    }
}

impl Entry {
    fn inner(&self) -> Inner {
        Inner::Device(self.device.clone())
    }
}
